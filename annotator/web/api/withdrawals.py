"""Withdrawal by a program."""

from typing import Any

from flask import Blueprint

from annotator.domain import erasure
from annotator.models import PURPOSES
from annotator.web.api.openapi import INTEGER, STRING, many, operation, thing
from annotator.web.api.payload import payload, take
from annotator.web.security import requires, signed_in
from annotator.web.transaction import db
from annotator.web.withdrawal import EVERYTHING, purposes_of, visible_subject

blueprint = Blueprint("withdrawals", __name__)
WORDS = {"type": "string", "enum": [EVERYTHING, *PURPOSES]}


@blueprint.post("/subjects/<int:subject_id>/withdrawals")
@operation(
    "Withdraws one purpose of a person, or all: then their key is destroyed and everything gone.",
    body=thing({"purpose": WORDS}),
    answer=thing(
        {
            "subject": INTEGER,
            "purposes": many(STRING),
            "erased": {"type": "boolean"},
            "images": INTEGER,
            "votes": INTEGER,
            "exports": many(thing({"id": INTEGER, "recipient": STRING})),
            "models": many(thing({"id": INTEGER, "name": STRING})),
            "job": INTEGER,
        }
    ),
)
@requires("curator")
def create(subject_id: int) -> dict[str, Any]:
    """Withdraws."""
    subject = visible_subject(subject_id)
    chosen = purposes_of(take(payload(), "purpose", str))
    done = erasure.withdraw_purposes(db(), subject=subject, purposes=chosen, by=signed_in())
    found = done.consequences
    return {
        "subject": subject.id,
        "purposes": list(found.purposes),
        "erased": found.everything,
        "images": found.images,
        "votes": found.votes,
        "exports": [{"id": one.id, "recipient": one.recipient} for one in found.exports],
        "models": [{"id": one.id, "name": one.name} for one in found.models],
        "job": done.job.id,
    }
