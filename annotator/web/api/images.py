"""Pictures come in by a program."""

from typing import Any

from flask import Blueprint, request

from annotator.core.errors import InvalidInput
from annotator.web import intake as door
from annotator.web.api.openapi import BOOLEAN, INTEGER, STRING, many, nullable, operation, thing
from annotator.web.security import current_dataset, requires
from annotator.web.transaction import db

blueprint = Blueprint("images", __name__)
YES, NO = frozenset({"true", "1", "on"}), frozenset({"", "false", "0", "off"})

FORM = thing(
    {"file": many({"type": "string", "format": "binary"}), "subject": STRING},
    {"cropped": BOOLEAN},
)
FILE = thing({"file": STRING}, {"id": INTEGER, "new": BOOLEAN, "error": STRING})


@blueprint.post("/datasets/<int:dataset_id>/images")
@operation(
    "Takes pictures of one person in; the job looks at them. 'subject' is a code or an id. "
    "A file that is refused stops no other: 'files' says what became of each.",
    form=FORM,
    answer=thing({"images": many(INTEGER), "job": nullable(INTEGER), "files": many(FILE)}),
    status=202,
)
@requires("curator")
def create(dataset_id: int) -> tuple[dict[str, Any], int]:
    """Takes pictures in."""
    files = request.files.getlist("file")  # read the body before the database is asked to wait
    dataset = current_dataset(dataset_id)
    subject = door.find_subject(dataset, request.form.get("subject", ""))
    cropped = _flag(request.form.get("cropped", ""))
    outcomes = door.take_files(dataset, subject, cropped=cropped)
    taken = [outcome.image for outcome in outcomes if outcome.image is not None]
    if not taken and len(files) == 1:
        raise outcomes[0].refusal or InvalidInput(outcomes[0].error)
    job = door.start_job(dataset, taken)
    db().flush()
    answer = {
        "images": taken,
        "job": job.id if job else None,
        "files": [door.as_json(outcome) for outcome in outcomes],
    }
    return answer, 202


def _flag(text: str) -> bool:
    text = text.strip().lower()
    if text not in YES | NO:
        raise InvalidInput("'cropped' must be true or false.")
    return text in YES
