"""A consent record that another installation wrote, taken in: the person and what they said.

What comes in allows here what it allowed there, and nothing more: every event keeps its moment, its
end and who spoke; every notice keeps its exact text. Evidence is not in a record, so it stays where
it was given; ``expression`` says ``imported``.
"""

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput
from annotator.domain import audit
from annotator.domain.consent.events import check_terms
from annotator.domain.consent.gate import GRANTING
from annotator.domain.consent.notices import keep_foreign_notice
from annotator.domain.consent.reading import RecordedEvent, read_record
from annotator.domain.consent.statements import Statement, write_statement
from annotator.domain.consent.subjects import create_subject
from annotator.domain.ports import Vault
from annotator.models import ASSENTS, PURPOSES, ConsentEvent, Dataset, Notice, Subject

IMPORTED = "imported"
LONGEST_CODE, LONGEST_NAME = 80, 200
MOST_EVENTS = 10_000
CLOCKS_DIFFER = dt.timedelta(minutes=5)
UNREADABLE = "The record does not say whom it is about as Annotator writes it; ask for it again."


@dataclass(frozen=True, slots=True)
class _Person:
    """Who a record is about."""

    uid: str
    code: str
    name: str
    guardian: str
    majority_at: dt.datetime | None


def import_record(
    session: Session,
    *,
    vault: Vault,
    dataset: Dataset,
    document: Mapping[str, Any],
    code: str = "",
    by: int | None = None,
) -> Subject:
    """Adds a person with the consents that their record tells of.

    Args:
        session: the open transaction; nothing is kept of it when this refuses.
        vault: makes their key, and seals their name and who speaks for them.
        dataset: where their pictures will go.
        document: parsed JSON that ``describe_record`` wrote, here or elsewhere.
        code: how staff call them here; as in the record when empty.
        by: who brought it.

    Raises:
        InvalidInput: no such record, a text that is not what its SHA-256 says, an event in
            the future, or one that nobody could have said.
        Conflict: they withdrew, they are here already, or the code is taken.
    """
    events = sorted(read_record(document), key=lambda event: event.at)  # stable: as they were told
    person = _read_person(document)
    _check_events(events)
    known = session.scalar(select(Subject).where(Subject.uid == person.uid))
    if known is not None and known.withdrawn_at is not None:
        raise Conflict("This person withdrew everything here; ask them for a new consent instead.")
    if known is not None:
        raise Conflict(f"This record is here already: it is the person '{known.code}'.")
    notices = _match_notices(session, dataset, document, events, by)
    subject = create_subject(
        session,
        vault=vault,
        dataset=dataset,
        code=code or person.code,
        name=person.name,
        majority_at=person.majority_at,
        guardian_name=person.guardian,
        uid=person.uid,
        by=by,
    )
    for event in events:
        _write_event(session, event, vault=vault, subject=subject, notices=notices, by=by)
    _end_outdated(session, subject, events)
    audit.append(
        session,
        action="consent.imported",
        actor=audit.actor_of(by),
        subject=subject,
        purposes=[name for name in PURPOSES if any(event.purpose == name for event in events)],
        events=len(events),
    )
    return subject


def _read_person(document: Mapping[str, Any]) -> _Person:
    told = document["dpv:hasDataSubject"]
    guardian = document.get("dpv:hasEntity") or {}
    try:
        uid = uuid.UUID(str(document["dct:identifier"]).removeprefix("urn:uuid:")).hex
        code, name = str(told["dct:identifier"]), str(told.get("dpv:hasName", ""))
        speaks = str(guardian.get("dpv:hasName", ""))
        grown = told.get("annotator:majority")
        majority = None if grown is None else dt.datetime.fromisoformat(grown)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(UNREADABLE) from error
    minor = "dpv:Child" in told.get("@type", ())
    if minor != (majority is not None) or (majority is not None and majority.tzinfo is None):
        raise InvalidInput("The record is of a minor and does not say from when they speak alone.")
    if len(code) > LONGEST_CODE or max(len(name), len(speaks)) > LONGEST_NAME:
        raise InvalidInput(UNREADABLE)
    return _Person(uid, code, name, speaks, majority)


def _check_events(events: Sequence[RecordedEvent]) -> None:
    """Refuses what cannot have been said, and a person who took everything back."""
    if not 0 < len(events) <= MOST_EVENTS:
        raise InvalidInput("The record tells of no consent; there is nothing to import.")
    latest = now() + CLOCKS_DIFFER
    for event in events:
        if max(event.at, event.outdated_at or event.at) > latest:
            raise InvalidInput("The record tells of something in the future; look at its clock.")
        if event.assent is not None and event.assent not in ASSENTS:
            raise InvalidInput(f"A minor's own word is one of {', '.join(ASSENTS)}.")
        if event.kind in GRANTING and (event.notice is None or event.expires_at is None):
            raise InvalidInput("A consent in the record lacks its notice or its end.")
    store = [event.kind for event in events if event.purpose == "store"]
    if store and store[-1] == "withdrawn":
        raise Conflict("This person withdrew; their record gives no right to anything.")


def _match_notices(
    session: Session,
    dataset: Dataset,
    document: Mapping[str, Any],
    events: Sequence[RecordedEvent],
    by: int | None,
) -> dict[str, Notice]:
    """The notices of the record by SHA-256: the same text here, or a foreign one that is kept."""
    found = {}
    told = document["dpv:hasNotice"]
    for each in told if isinstance(told, list) else [told]:
        digest = each["schema:sha256"]
        said = {event.purpose for event in events if event.notice == digest}
        purposes = each.get("annotator:purposes") or sorted(said)
        if not isinstance(purposes, list) or not said <= set(purposes):
            raise InvalidInput("A notice in the record does not tell of what was agreed under it.")
        found[digest] = keep_foreign_notice(
            session,
            dataset=dataset,
            text=str(each["dct:description"]),
            digest=str(digest),
            purposes=[str(purpose) for purpose in purposes],
            locale=str(each["dct:language"]),
            by=by,
        )
    return found


def _write_event(
    session: Session,
    event: RecordedEvent,
    *,
    vault: Vault,
    subject: Subject,
    notices: Mapping[str, Notice],
    by: int | None,
) -> None:
    row = ConsentEvent(
        subject_id=subject.id,
        purpose=event.purpose,
        kind=event.kind,
        at=event.at,
        party=event.party,
        recorded_by=by,
    )
    if event.kind in GRANTING:
        assert event.notice is not None
        assert event.expires_at is not None
        notice = notices[event.notice]
        check_terms(
            purposes=[event.purpose],
            notice=notice,
            expression=IMPORTED,
            at=event.at,
            expires_at=event.expires_at,
        )
        said = Statement(party=event.party, assent=event.assent, locale=event.locale or "")
        statement = write_statement(
            session, vault=vault, subject=subject, statement=said, notice=notice
        )
        row.notice_id, row.statement_id = notice.id, statement.id
        row.expires_at, row.expression = event.expires_at, IMPORTED
    session.add(row)
    session.flush()


def _end_outdated(session: Session, subject: Subject, events: Sequence[RecordedEvent]) -> None:
    """What a later notice of the other installation ended there, ends here at the same moment."""
    for event in events:
        end = event.outdated_at
        later = (
            other
            for other in events
            if other.purpose == event.purpose and end is not None and event.at < other.at <= end
        )
        if end is not None and next(later, None) is None:
            session.add(
                ConsentEvent(subject_id=subject.id, purpose=event.purpose, kind="expired", at=end)
            )
    session.flush()
