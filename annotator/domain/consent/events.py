"""What people agreed to and took back. Events are added, never changed."""

import datetime as dt
from collections.abc import Collection, Iterable

from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput
from annotator.domain import audit
from annotator.domain.consent.gate import check_purposes, given_purposes
from annotator.models import EXPRESSIONS, ConsentEvent, Notice, Subject

MAX_YEARS = 10


def record_consent(
    session: Session,
    *,
    subject: Subject,
    purposes: Iterable[str],
    notice: Notice,
    expression: str,
    expires_at: dt.datetime,
    at: dt.datetime | None = None,
    by: int | None = None,
) -> list[ConsentEvent]:
    """Writes down that a person agreed to some purposes.

    Args:
        session: the open transaction.
        subject: who agreed.
        purposes: each on its own; see ``PURPOSES``.
        notice: what they were told.
        expression: how they said it; see ``EXPRESSIONS``.
        expires_at: when it ends on its own; at most ten years ahead.
        at: when they said it; now when omitted.
        by: who recorded it.

    Raises:
        InvalidInput: an unknown purpose or expression, one that the notice does not tell of, or
            an end that is past or too far.
        Conflict: they withdrew everything; that is final.
    """
    at = at or now()
    chosen = list(dict.fromkeys(purposes))
    check_purposes(chosen)
    if subject.withdrawn_at is not None:
        raise Conflict("This person withdrew everything and was erased; add them anew.")
    check_terms(purposes=chosen, notice=notice, expression=expression, at=at, expires_at=expires_at)
    before = given_purposes(session, subject=subject, at=at)
    events = [
        ConsentEvent(
            subject_id=subject.id,
            purpose=purpose,
            kind="renewed" if purpose in before else "given",
            notice_id=notice.id,
            expression=expression,
            at=at,
            expires_at=expires_at,
            recorded_by=by,
        )
        for purpose in chosen
    ]
    session.add_all(events)
    session.flush()
    audit.append(
        session,
        action="consent.given",
        actor=audit.actor_of(by),
        subject=subject,
        purposes=chosen,
        notice=notice.id,
        digest=notice.digest,
    )
    return events


def withdraw_purposes(
    session: Session, *, subject: Subject, purposes: Iterable[str], by: int | None = None
) -> None:
    """Writes down that a person takes back some purposes; takes effect with the commit.

    Withdrawing ``store`` is more than this: see ``annotator.domain.erasure``.
    """
    chosen = list(dict.fromkeys(purposes))
    check_purposes(chosen)
    moment = now()
    session.add_all(
        ConsentEvent(
            subject_id=subject.id, purpose=purpose, kind="withdrawn", at=moment, recorded_by=by
        )
        for purpose in chosen
    )
    session.flush()
    audit.append(
        session,
        action="consent.withdrawn",
        actor=audit.actor_of(by),
        subject=subject,
        purposes=chosen,
    )


def check_terms(
    *,
    purposes: Collection[str],
    notice: Notice,
    expression: str,
    at: dt.datetime,
    expires_at: dt.datetime,
) -> None:
    """Refuses a consent that could not have been given like this.

    Raises:
        InvalidInput: with the first thing that is wrong.
    """
    if expression not in EXPRESSIONS:
        raise InvalidInput(f"Consent is expressed as one of {', '.join(EXPRESSIONS)}.")
    if not set(purposes) <= set(notice.purposes):
        raise InvalidInput("The notice does not tell of all these purposes.")
    if at > now() + dt.timedelta(minutes=5):  # clocks differ a little
        raise InvalidInput("Consent cannot have been given in the future.")
    if not at < expires_at <= at + dt.timedelta(days=366 * MAX_YEARS):
        raise InvalidInput(f"Consent must end after it begins and within {MAX_YEARS} years.")
