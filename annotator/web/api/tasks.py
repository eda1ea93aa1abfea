"""Faces lent to people, their crops, and skips."""

from typing import Any

from flask import Blueprint, Response, request, url_for

from annotator.domain import consent, labelling, viewing
from annotator.domain.labelling import Leased
from annotator.web import looks
from annotator.web.api.openapi import (
    INTEGER,
    LABEL,
    NUMBER,
    STRING,
    Schema,
    many,
    nullable,
    operation,
    thing,
)
from annotator.web.api.payload import payload, take
from annotator.web.security import current_dataset, requires, signed_in
from annotator.web.transaction import db, reading, toolbox

blueprint = Blueprint("tasks", __name__)
MODE: Schema = {"type": "string", "enum": ["focus", "sweep", "map", "review"]}
REQUEST = thing({}, {"n": INTEGER, "mode": MODE})
PRELABEL = thing({"label": LABEL, "probability": NUMBER, "model": STRING})
TASK = thing({"id": INTEGER, "face": INTEGER, "crop": STRING, "prelabel": nullable(PRELABEL)})
STATE = thing({"id": INTEGER, "state": STRING})
DEFAULT_N = 20


@blueprint.post("/datasets/<int:dataset_id>/tasks/lease")
@operation(
    "Lends faces to the caller: first those that they hold already, then new ones.",
    body=REQUEST,
    answer=thing({"tasks": many(TASK), "no_prelabels": nullable(STRING)}),
)
@requires("annotator")
def lease(dataset_id: int) -> dict[str, Any]:
    """Lends ``n`` faces."""
    body = payload()
    n, mode = take(body, "n", int, DEFAULT_N), take(body, "mode", str, "focus")
    leased = labelling.lease_tasks(
        db(),
        dataset=current_dataset(dataset_id),
        user=signed_in(),
        n=n,
        mode=mode,
        seconds=toolbox().settings.lease_seconds,
    )
    return {
        "tasks": [describe(item) for item in leased],
        "no_prelabels": consent.inference_forbidden(db()),  # why, where no model may look
    }


def describe(leased: Leased) -> dict[str, Any]:
    """A lease as JSON."""
    suggestion = leased.prelabel
    return {
        "id": leased.task.id,
        "face": leased.face.id,
        "crop": url_for("api.tasks.crop", face_id=leased.face.id),
        "prelabel": suggestion
        and {
            "label": suggestion.label,
            "probability": suggestion.probability,
            "model": suggestion.model,
        },
    }


@blueprint.get("/faces/<int:face_id>/crop")
@operation("The crop of a face as PNG, for those it was lent to.", content="image/png")
@requires("annotator")
def crop(face_id: int) -> Response:
    """Opens a crop."""
    data = viewing.open_crop(reading(), vault=toolbox().vault, face_id=face_id, user=signed_in())
    looks.count_look(face_id, seen=request.args.get("seen", ""))
    return Response(data, mimetype="image/png")


@blueprint.post("/tasks/<int:task_id>/skip")
@operation("Passes over a face: no vote, and not shown to the caller again.", answer=STATE)
@requires("annotator")
def skip(task_id: int) -> dict[str, Any]:
    """Passes over a face."""
    labelling.skip(db(), user=signed_in(), task_id=task_id)
    return {"id": task_id, "state": "skipped"}


@blueprint.delete("/tasks/<int:task_id>/skip")
@operation("Undoes a skip: the face is lent to the caller again.", answer=STATE)
@requires("annotator")
def unskip(task_id: int) -> dict[str, Any]:
    """Undoes a skip."""
    seconds = toolbox().settings.lease_seconds
    labelling.unskip(db(), user=signed_in(), task_id=task_id, seconds=seconds)
    return {"id": task_id, "state": "open"}
