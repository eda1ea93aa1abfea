"""The allow list: what is kept of a picture is the consenting subject's face, nothing else.

A picture with one confident face redacts itself when the dataset says so; every other waits for a
person, who says which face is the subject's. Until then nothing of it is labelled or exported.
"""

from annotator.domain.redaction.processing import process_images, redact_image
from annotator.domain.redaction.rendition import overlap
from annotator.domain.redaction.review import (
    approve,
    get_waiting,
    list_waiting,
    open_waiting,
    reject,
)

__all__ = [
    "approve",
    "get_waiting",
    "list_waiting",
    "open_waiting",
    "overlap",
    "process_images",
    "redact_image",
    "reject",
]
