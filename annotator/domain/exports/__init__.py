"""Training sets that leave: who may be in them, how they are split, packed, signed and fetched."""

from annotator.domain.exports.building import build_export
from annotator.domain.exports.contents import pseudonym
from annotator.domain.exports.delivery import (
    ARCHIVE,
    check_deliverable,
    check_place,
    describe_archive,
    disallowed,
    list_withdrawn,
    open_archive,
    read_archive,
    write_export,
)
from annotator.domain.exports.requests import (
    AVAILABLE_FORMATS,
    AVAILABLE_TIERS,
    Wish,
    find_export,
    get_export,
    list_exports,
    list_files,
    preview_export,
    request_export,
)
from annotator.domain.exports.selection import PURPOSES_OF, REASONS, Candidate, Selection
from annotator.domain.exports.splits import SPLITS

__all__ = [
    "ARCHIVE",
    "AVAILABLE_FORMATS",
    "AVAILABLE_TIERS",
    "PURPOSES_OF",
    "REASONS",
    "SPLITS",
    "Candidate",
    "Selection",
    "Wish",
    "build_export",
    "check_deliverable",
    "check_place",
    "describe_archive",
    "disallowed",
    "find_export",
    "get_export",
    "list_exports",
    "list_files",
    "list_withdrawn",
    "open_archive",
    "preview_export",
    "pseudonym",
    "read_archive",
    "request_export",
    "write_export",
]
