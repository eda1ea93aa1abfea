"""People in the pictures and what they agree to."""

import datetime as dt
from typing import Any

from flask import Blueprint

from annotator.core.errors import InvalidInput
from annotator.domain import consent
from annotator.models import EXPRESSIONS, PURPOSES, Subject
from annotator.web.api.openapi import INTEGER, STRING, many, operation, thing
from annotator.web.api.payload import payload, take
from annotator.web.security import current_dataset, requires, signed_in
from annotator.web.transaction import db, toolbox

blueprint = Blueprint("subjects", __name__)
MOST_EVENTS = 50
LONGEST = {"code": 80, "name": 200, "contact": 300, "group": 80}

EVENT = thing(
    {
        "purposes": many({"type": "string", "enum": list(PURPOSES)}),
        "expression": {"type": "string", "enum": list(EXPRESSIONS)},
        "expires": {"type": "string", "format": "date-time"},
    },
    {"at": {"type": "string", "format": "date-time"}},
)
NEW = thing({"consents": many(EVENT)}, dict.fromkeys(LONGEST, STRING))


@blueprint.post("/datasets/<int:dataset_id>/subjects")
@operation(
    "Records a person and what they agree to, under the notice in force.",
    body=NEW,
    answer=thing({"id": INTEGER, "code": STRING}),
    status=201,
)
@requires("curator")
def create(dataset_id: int) -> tuple[dict[str, Any], int]:
    """Records a person with consent events."""
    dataset = current_dataset(dataset_id)
    body = payload()
    events = take(body, "consents", list)
    if len(events) > MOST_EVENTS or not all(isinstance(event, dict) for event in events):
        raise InvalidInput(f"'consents' must be a list of at most {MOST_EVENTS} objects.")
    notice = consent.current_notice(db(), dataset=dataset) if events else None
    subject = consent.create_subject(
        db(),
        vault=toolbox().vault,
        dataset=dataset,
        code=_text(body, "code"),
        name=_text(body, "name"),
        contact=_text(body, "contact"),
        group=_text(body, "group"),
        by=signed_in().id,
    )
    for event in events:
        assert notice is not None
        consent.record_consent(
            db(), subject=subject, notice=notice, **_read_event(event), by=signed_in().id
        )
    return _answer(subject), 201


def _answer(subject: Subject) -> dict[str, Any]:
    return {"id": subject.id, "code": subject.code}


def _text(body: dict[str, Any], name: str) -> str:
    text = take(body, name, str, "").strip()
    if len(text) > LONGEST[name]:
        raise InvalidInput(f"'{name}' may have {LONGEST[name]} letters.")
    return text


def _read_event(event: dict[str, Any]) -> dict[str, Any]:
    purposes = take(event, "purposes", list)
    if not purposes or not all(isinstance(purpose, str) for purpose in purposes):
        raise InvalidInput("'purposes' must be a list of names, at least one.")
    at = take(event, "at", str, "")
    return {
        "purposes": purposes,
        "expression": take(event, "expression", str),
        "expires_at": _moment(take(event, "expires", str), "expires"),
        "at": _moment(at, "at") if at else None,
    }


def _moment(text: str, name: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
        return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            f"'{name}' must be a date or a moment, such as 2029-11-23T00:00:00Z."
        ) from error
