"""What people agreed to and took back. Events are added, never changed."""

import datetime as dt
from collections.abc import Collection, Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput
from annotator.domain import audit
from annotator.domain.consent.gate import GRANTING, check_purposes
from annotator.domain.consent.statements import Statement, check_speaker, write_statement
from annotator.domain.ports import Vault
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
    statement: Statement | None = None,
    vault: Vault | None = None,
    actor: str | None = None,
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
        statement: who spoke, and the evidence; by default the person, without any.
        vault: seals a statement's name, note and scan; needed when there are any.
        actor: how the log names who did it; ``by`` when omitted.

    Raises:
        InvalidInput: an unknown purpose or expression, one that the notice does not tell of, an
            end that is past or too far, or somebody who may not speak for this person.
        Conflict: they withdrew everything; that is final.
    """
    at = at or now()
    chosen = list(dict.fromkeys(purposes))
    check_purposes(chosen)
    if subject.withdrawn_at is not None:
        raise Conflict("This person withdrew everything and was erased; add them anew.")
    check_terms(purposes=chosen, notice=notice, expression=expression, at=at, expires_at=expires_at)
    said = statement or Statement()
    check_speaker(subject=subject, statement=said, at=at)
    row = write_statement(session, vault=vault, subject=subject, statement=said, notice=notice)
    before = _standing_words(session, subject)
    events = [
        ConsentEvent(
            subject_id=subject.id,
            purpose=purpose,
            kind="renewed" if before.get(purpose) in GRANTING else "given",
            notice_id=notice.id,
            expression=expression,
            at=at,
            expires_at=expires_at,
            party=said.party,
            statement_id=row.id,
            recorded_by=by,
        )
        for purpose in chosen
    ]
    session.add_all(events)
    session.flush()
    audit.append(
        session,
        action="consent.given",
        actor=actor or audit.actor_of(by),
        subject=subject,
        purposes=chosen,
        notice=notice.id,
        digest=notice.digest,
    )
    return events


def withdraw_purposes(
    session: Session,
    *,
    subject: Subject,
    purposes: Iterable[str],
    by: int | None = None,
    actor: str | None = None,
) -> None:
    """Writes down that a person takes back some purposes; takes effect with the commit.

    Whoever says it, it counts: a minor's own no is a no. Withdrawing ``store`` is more than this:
    see ``annotator.domain.erasure``.

    Args:
        session: the open transaction.
        subject: who takes back.
        purposes: each on its own; see ``PURPOSES``.
        by: who recorded it.
        actor: how the log names whoever did it; by default what ``by`` says.
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
        actor=actor or audit.actor_of(by),
        subject=subject,
        purposes=chosen,
    )


def expire_purposes(
    session: Session, *, subject: Subject, purposes: Iterable[str], at: dt.datetime
) -> None:
    """Writes down that consent to some purposes ended by itself; the gate said so before."""
    chosen = list(dict.fromkeys(purposes))
    check_purposes(chosen)
    session.add_all(
        ConsentEvent(subject_id=subject.id, purpose=purpose, kind="expired", at=at)
        for purpose in chosen
    )
    session.flush()
    audit.append(
        session, action="consent.expired", actor="worker", subject=subject, purposes=chosen
    )


def _standing_words(session: Session, subject: Subject) -> dict[str, str]:
    """The kind of the newest event on each purpose, whether or not it still counts."""
    rows = session.execute(
        select(ConsentEvent.purpose, ConsentEvent.kind)
        .where(ConsentEvent.subject_id == subject.id)
        .order_by(ConsentEvent.at, ConsentEvent.id)
    )
    return dict(rows.all())


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
