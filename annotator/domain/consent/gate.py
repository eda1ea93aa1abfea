"""The one gate: ``allowed``. It denies by default."""

import datetime as dt
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session, aliased

from annotator.core.db import now
from annotator.core.errors import ConsentMissing, InvalidInput
from annotator.models import PURPOSES, ConsentEvent, Notice, Renewal, Subject

GRANTING = ("given", "renewed")
Moment = dt.datetime | ColumnElement[dt.datetime]  # a parameter, where many moments are asked about

# What each purpose allows, as the end of "agrees to ...".
USES = {
    "store": "keeping their pictures",
    "label": "showing their pictures to annotators",
    "prelabel": "a model looking at their pictures",
    "train": "training on their pictures",
    "export_pseudonymised": "sharing their pseudonymised pictures",
    "export_anonymised": "sharing averages of their pictures",
    "publish_weights": "publishing a model that learned from them",
}


def allowed(
    session: Session, *, subject: Subject, purpose: str, at: dt.datetime | None = None
) -> ConsentEvent | None:
    """The one gate. Asks whether a purpose is allowed for a person at a moment.

    Args:
        session: the open transaction.
        subject: whose pixels are wanted.
        purpose: what for; an unknown one is never allowed.
        at: the moment; now when omitted.

    Returns:
        The consent event that allows it, or ``None``. The newest event on the purpose decides;
        nothing is allowed without ``store``, nor after an erasure, nor by the word of somebody who
        may not speak (any more), nor under a notice that was replaced by one that needs renewal.
    """
    at = at or now()
    if subject.withdrawn_at is not None or purpose not in PURPOSES:
        return None
    event = None
    for needed in dict.fromkeys(("store", purpose)):
        event = _granting(session, subject, needed, at)
        if event is None:
            return None
    return event


def require(
    session: Session, *, subject: Subject, purpose: str, at: dt.datetime | None = None
) -> ConsentEvent:
    """Like ``allowed``, but refuses.

    Raises:
        ConsentMissing: with a sentence that says whose consent to what is missing.
    """
    event = allowed(session, subject=subject, purpose=purpose, at=at)
    if event is None:
        if subject.withdrawn_at is not None:
            raise ConsentMissing(f"{subject.code} withdrew everything and was erased.")
        raise ConsentMissing(
            f"{subject.code} does not agree to {USES.get(purpose, 'this')}, or no longer: record "
            "their consent on their page first."
        )
    return event


def given_purposes(
    session: Session, *, subject: Subject, at: dt.datetime | None = None
) -> dict[str, ConsentEvent]:
    """Every purpose that is allowed at a moment, with the event that allows it."""
    found = ((p, allowed(session, subject=subject, purpose=p, at=at)) for p in PURPOSES)
    return {purpose: event for purpose, event in found if event is not None}


def outdated_at(session: Session, *, event: ConsentEvent) -> dt.datetime | None:
    """Since when a yes does not count any more because a later notice asks anew."""
    told = 0 if event.notice is None else event.notice.version
    return (
        None
        if event.kind not in GRANTING
        else session.scalar(
            select(func.min(Renewal.at))
            .join(Subject, Subject.dataset_id == Renewal.dataset_id)
            .where(
                Subject.id == event.subject_id,
                Renewal.purpose == event.purpose,
                Renewal.version > told,
            )
        )
    )


def allowing(purpose: str, at: Moment) -> ColumnElement[bool]:
    """The gate as a condition on ``Subject`` for queries over many people.

    Must say the same as ``allowed``; a property test compares the two.
    """
    if purpose not in PURPOSES:
        return Subject.id.is_(None)
    condition: ColumnElement[bool] = Subject.withdrawn_at.is_(None)
    for name in dict.fromkeys(("store", purpose)):
        condition = condition & _standing(name, at)
    return condition


def check_purposes(purposes: Iterable[str]) -> None:
    """Refuses a purpose that we do not know.

    Raises:
        InvalidInput: with the names that we do know.
    """
    unknown = sorted(set(purposes) - set(PURPOSES))
    if unknown:
        raise InvalidInput(f"There is no purpose '{unknown[0]}'; there are {', '.join(PURPOSES)}.")


def _granting(
    session: Session, subject: Subject, purpose: str, at: dt.datetime
) -> ConsentEvent | None:
    row = session.execute(
        select(ConsentEvent, _outdated(ConsentEvent, Subject.dataset_id, purpose, at))
        .join(Subject, Subject.id == ConsentEvent.subject_id)
        .where(
            ConsentEvent.subject_id == subject.id,
            ConsentEvent.purpose == purpose,
            ConsentEvent.at <= at,
        )
        .order_by(ConsentEvent.at.desc(), ConsentEvent.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    newest, outdated = row
    if newest.kind not in GRANTING or outdated:
        return None
    if newest.expires_at is None or newest.expires_at <= at:
        return None
    return newest if _may_speak(newest, subject.majority_at, at) else None


def _may_speak(event: ConsentEvent, majority_at: dt.datetime | None, at: dt.datetime) -> bool:
    """A guardian's word counts until majority, a minor's own from then on."""
    if majority_at is None:
        return True
    if event.party == "guardian":
        return at < majority_at
    return event.at >= majority_at


def _standing(purpose: str, at: Moment) -> ColumnElement[bool]:
    event, later = aliased(ConsentEvent), aliased(ConsentEvent)
    newer = select(later.id).where(
        later.subject_id == event.subject_id,
        later.purpose == purpose,
        later.at <= at,
        (later.at > event.at) | ((later.at == event.at) & (later.id > event.id)),
    )
    speaks = or_(
        Subject.majority_at.is_(None),
        and_(event.party == "guardian", Subject.majority_at > at),
        and_(event.party != "guardian", Subject.majority_at <= event.at),
    )
    return (
        select(event.id)
        .where(
            event.subject_id == Subject.id,
            event.purpose == purpose,
            event.at <= at,
            event.kind.in_(GRANTING),
            event.expires_at > at,
            speaks,
            ~_outdated(event, Subject.dataset_id, purpose, at),
            ~newer.exists(),
        )
        .exists()
    )


def _outdated(event: Any, dataset_id: Any, purpose: str, at: Moment) -> ColumnElement[bool]:
    """Whether a later notice asks everybody anew about this purpose."""
    # SQLAlchemy looks one select up on its own; these are two and three deep.
    told = (
        select(Notice.version)
        .where(Notice.id == event.notice_id)
        .correlate(event)
        .scalar_subquery()
    )
    return (
        select(Renewal.id)
        .where(
            Renewal.dataset_id == dataset_id,
            Renewal.purpose == purpose,
            Renewal.at <= at,
            Renewal.version > func.coalesce(told, 0),
        )
        .correlate(event, Subject)
        .exists()
    )
