"""Votes: many at once, and one taken back."""

import math
from typing import Any

from flask import Blueprint

from annotator.core.errors import AnnotatorError, InvalidInput
from annotator.domain import labelling
from annotator.models import FLAGS, User
from annotator.web.api.openapi import (
    BOOLEAN,
    INTEGER,
    LABEL,
    NUMBER,
    STRING,
    Schema,
    many,
    operation,
    thing,
)
from annotator.web.api.payload import payload_list, take
from annotator.web.api.tasks import MODE
from annotator.web.security import requires, signed_in
from annotator.web.transaction import db, toolbox

blueprint = Blueprint("annotations", __name__)
MAX_VOTES = 200  # in one request
SERVER_FAULT = 500  # from here on it is our fault, and the whole request fails

UUID: Schema = {"type": "string", "format": "uuid"}
VOTE = thing(
    {"id": UUID, "task": INTEGER, "label": LABEL},
    {
        "second_label": LABEL,
        "intensity": {"type": "integer", "minimum": 1, "maximum": 5},
        "valence": {"type": "number", "minimum": -1, "maximum": 1},
        "arousal": {"type": "number", "minimum": -1, "maximum": 1},
        "flags": many({"type": "string", "enum": list(FLAGS)}),
        "mode": MODE,
        "prelabel_shown": BOOLEAN,
        "duration_ms": NUMBER,
        "page": STRING,
    },
)
STATE = thing(
    {"id": STRING, "state": {"type": "string", "enum": ["stored", "taken_back", "refused"]}},
    {"code": STRING, "detail": STRING},
)


@blueprint.post("/annotations")
@operation(
    "Votes. Each is stored or refused on its own; a repeated id answers the same, counts once.",
    body=many(VOTE),
    answer=many(STATE),
)
@requires("annotator")
def create() -> list[dict[str, Any]]:
    """Stores votes; a bad one does not lose the others."""
    votes = payload_list()
    if len(votes) > MAX_VOTES:
        raise InvalidInput(f"Send at most {MAX_VOTES} votes at once.")
    user = signed_in()
    # In the order of their tasks, so that two requests never wait for each other.
    order = sorted(range(len(votes)), key=lambda at: (str(votes[at].get("task")).zfill(20), at))
    answers = {at: _store(user, votes[at]) for at in order}
    return [answers[at] for at in range(len(votes))]


def _store(user: User, vote: dict[str, Any]) -> dict[str, Any]:
    client_id = vote.get("id")
    try:
        stored = labelling.annotate(
            db(),
            user=user,
            client_id=take(vote, "id", str),
            task_id=take(vote, "task", int),
            label=take(vote, "label", str),
            second_label=vote.get("second_label"),
            intensity=vote.get("intensity"),
            valence=vote.get("valence"),
            arousal=vote.get("arousal"),
            flags=take(vote, "flags", list, []),
            mode=take(vote, "mode", str, "focus"),
            prelabel_shown=take(vote, "prelabel_shown", bool, default=True),
            duration_ms=_milliseconds(vote),
            page=vote.get("page"),
        )
    except AnnotatorError as error:
        if error.status >= SERVER_FAULT:
            raise
        refusal = {"state": "refused", "code": error.code, "detail": error.message}
        return {"id": client_id, **refusal}
    return {"id": client_id, "state": "stored" if stored.taken_back_at is None else "taken_back"}


def _milliseconds(vote: dict[str, Any]) -> int | None:
    value = vote.get("duration_ms")
    return round(value) if isinstance(value, float) and math.isfinite(value) else value


@blueprint.delete("/annotations/<annotation_id>")
@operation("Takes the caller's own vote back; the face is lent to them again.", answer=STATE)
@requires("annotator")
def delete(annotation_id: str) -> dict[str, Any]:
    """Takes a vote back."""
    seconds = toolbox().settings.lease_seconds
    labelling.take_back(db(), user=signed_in(), client_id=annotation_id, seconds=seconds)
    return {"id": annotation_id, "state": "taken_back"}
