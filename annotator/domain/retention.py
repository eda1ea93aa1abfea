"""Time: what ends by itself is closed, and what was kept long enough is erased.

The gate needs none of this: it stops at the very moment at which a consent ends. The sweep writes
the end down, takes back what rests on it, and erases people whose consent to ``store`` has been
over for the dataset's days of grace, or whose pictures have reached its limit.

The grace counts from the end that the person was told, whenever a sweep notices it: what they were
promised is a day, and a worker that stood still must not move it.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.domain import audit, consent, erasure, jobs
from annotator.models import ConsentEvent, Dataset, Image, Job, Subject

KIND = "expire"
ACTOR = "worker"


@dataclass(frozen=True, slots=True)
class Ending:
    """What ends for one person, or has ended.

    Attributes:
        subject: who.
        ends: the moment at which each purpose ends by itself, by purpose.
        why: ``expiry``, or ``majority`` when a guardian's word ends because a minor grows up.
    """

    subject: Subject
    ends: dict[str, dt.datetime]
    why: str


@dataclass(frozen=True, slots=True)
class Due:
    """What a sweep would do for one person.

    Attributes:
        subject_id: who.
        ended: purposes that ended, and when each did.
        erase: ``grace`` or ``retention`` when everything goes, else empty.
    """

    subject_id: int
    ended: dict[str, dt.datetime]
    erase: str


def list_endings(
    session: Session, *, dataset: Dataset, at: dt.datetime | None = None, days: int = 90
) -> list[Ending]:
    """What ends by itself in some days, soonest first; what has ended already is not in it."""
    moment = at or now()
    found: dict[int, Ending] = {}
    for subject, event in _standing_events(session, dataset.id):
        end, why = _end_of(subject, event)
        if end is None or not moment < end <= moment + dt.timedelta(days=days):
            continue
        known = found.setdefault(subject.id, Ending(subject, {}, why))
        known.ends[event.purpose] = end
    return sorted(found.values(), key=lambda ending: (min(ending.ends.values()), ending.subject.id))


def list_endings_of(
    session: Session, *, subject: Subject, at: dt.datetime | None = None
) -> dict[str, tuple[dt.datetime, str]]:
    """When each purpose that one person agreed to ends by itself, and why; only what is to come."""
    moment = at or now()
    found = {}
    for _, event in _standing_events(session, subject_id=subject.id):
        end, why = _end_of(subject, event)
        if end is not None and end > moment:
            found[event.purpose] = (end, why)
    return found


def find_due(session: Session, *, at: dt.datetime | None = None) -> list[Due]:
    """Everybody for whom a sweep has something to do now; changes nothing."""
    moment = at or now()
    ended: dict[int, dict[str, dt.datetime]] = {}
    for subject, event in _standing_events(session):
        end, _ = _end_of(subject, event)
        if end is not None and end <= moment:
            ended.setdefault(subject.id, {})[event.purpose] = end
    reasons = {**_find_over_grace(session, ended, moment), **_find_over_limit(session, moment)}
    everybody = sorted({*ended, *reasons})
    return [Due(number, ended.get(number, {}), reasons.get(number, "")) for number in everybody]


def sweep_consents(work: jobs.Work) -> dict[str, int]:
    """Job ``expire``: one transaction for each person. Run twice, the second finds nothing.

    Returns:
        ``expired`` purposes, and people ``erased``.
    """
    moment = now()
    with work.transaction() as session:
        due = find_due(session, at=moment)
    counts = {"expired": 0, "erased": 0}
    for done, each in enumerate(due, start=1):
        with work.transaction() as session:
            for name, count in close_due(session, due=each, at=moment).items():
                counts[name] += count
        work.report(done, len(due))
    return counts


def close_due(session: Session, *, due: Due, at: dt.datetime) -> dict[str, int]:
    """Does for one person what a sweep found, unless they said something since."""
    again = {
        each.subject_id: each for each in find_due_of(session, subject_id=due.subject_id, at=at)
    }
    still = again.get(due.subject_id)
    if still is None:
        return {"expired": 0, "erased": 0}
    subject = session.get_one(Subject, still.subject_id)
    if still.ended:
        consent.expire_purposes(session, subject=subject, ended=still.ended)
    if still.erase:
        audit.append(
            session, action="retention.reached", actor=ACTOR, subject=subject, why=still.erase
        )
        erasure.withdraw_subject(session, subject=subject, by=None, actor=ACTOR, told=True)
    else:
        _close(session, subject, tuple(still.ended))
    return {"expired": len(still.ended), "erased": int(bool(still.erase))}


def find_due_of(session: Session, *, subject_id: int, at: dt.datetime) -> Iterator[Due]:
    """What ``find_due`` says of one person, asked again inside the transaction that acts on it."""
    ended = {}
    for subject, event in _standing_events(session, subject_id=subject_id):
        end, _ = _end_of(subject, event)
        if end is not None and end <= at:
            ended[event.purpose] = end
    known = {subject_id: ended} if ended else {}
    grace = _find_over_grace(session, known, at, subject_id=subject_id)
    limit = _find_over_limit(session, at, subject_id=subject_id)
    erase = {**grace, **limit}.get(subject_id, "")
    if ended or erase:
        yield Due(subject_id, ended, erase)


def start_daily_sweep(session: Session, *, at: dt.datetime | None = None) -> Job | None:
    """Has the worker sweep when the last time is a day ago; the first time at once."""
    return jobs.start_daily(session, kind=KIND, arguments={}, at=at)


def _close(session: Session, subject: Subject, purposes: tuple[str, ...]) -> None:
    if "store" in purposes:  # the rest waits for the days of grace
        erasure.end_use(session, subject=subject)
    others = [purpose for purpose in purposes if purpose != "store"]
    if others:
        erasure.withdraw_purposes(
            session, subject=subject, purposes=others, by=None, actor=ACTOR, told=True
        )


def _standing_events(
    session: Session, dataset_id: int | None = None, *, subject_id: int | None = None
) -> list[tuple[Subject, ConsentEvent]]:
    """The newest event on each purpose of everybody who has not withdrawn, if it says yes."""
    place = (
        func.row_number()
        .over(
            partition_by=(ConsentEvent.subject_id, ConsentEvent.purpose),
            order_by=(ConsentEvent.at.desc(), ConsentEvent.id.desc()),
        )
        .label("place")
    )
    newest = select(ConsentEvent.id, place)
    if subject_id is not None:
        newest = newest.where(ConsentEvent.subject_id == subject_id)
    ranked = newest.subquery()
    query = (
        select(Subject, ConsentEvent)
        .join(ConsentEvent, ConsentEvent.subject_id == Subject.id)
        .join(ranked, (ranked.c.id == ConsentEvent.id) & (ranked.c.place == 1))
        .where(Subject.withdrawn_at.is_(None), ConsentEvent.kind.in_(consent.GRANTING))
        .order_by(Subject.id, ConsentEvent.id)
    )
    if dataset_id is not None:
        query = query.where(Subject.dataset_id == dataset_id)
    return [(subject, event) for subject, event in session.execute(query)]


def _end_of(subject: Subject, event: ConsentEvent) -> tuple[dt.datetime | None, str]:
    """When a yes ends by itself, and why."""
    grown = subject.majority_at if event.party == "guardian" else None
    if grown is not None and (event.expires_at is None or grown < event.expires_at):
        return grown, "majority"
    return event.expires_at, "expiry"


def _find_over_grace(
    session: Session,
    ended: dict[int, dict[str, dt.datetime]],
    at: dt.datetime,
    *,
    subject_id: int | None = None,
) -> dict[int, str]:
    """People whose consent to ``store`` has been over for their dataset's days of grace."""
    over = {number: ends["store"] for number, ends in ended.items() if "store" in ends}
    newest = (
        select(func.max(ConsentEvent.at))
        .where(ConsentEvent.subject_id == Subject.id, ConsentEvent.purpose == "store")
        .correlate(Subject)
        .scalar_subquery()
    )
    query = (
        select(Subject.id, ConsentEvent.at)
        .join(ConsentEvent, ConsentEvent.subject_id == Subject.id)
        .where(
            Subject.withdrawn_at.is_(None),
            ConsentEvent.purpose == "store",
            ConsentEvent.kind == "expired",
            ConsentEvent.at == newest,
        )
    )
    if subject_id is not None:
        query = query.where(Subject.id == subject_id)
    over |= dict(session.execute(query).all())
    rules = (
        select(Subject.id, Dataset.grace_days)
        .join(Dataset, Dataset.id == Subject.dataset_id)
        .where(Subject.withdrawn_at.is_(None))
    )
    if subject_id is not None:
        rules = rules.where(Subject.id == subject_id)
    days = dict(session.execute(rules).all()) if over else {}
    return {
        number: "grace"
        for number, end in over.items()
        if end + dt.timedelta(days=days[number]) <= at
    }


def _find_over_limit(
    session: Session, at: dt.datetime, *, subject_id: int | None = None
) -> dict[int, str]:
    """People whose first picture came in longer ago than their dataset keeps pictures."""
    first = func.min(Image.received_at)
    query = (
        select(Subject.id, Dataset.retention_days, first)
        .join(Image, Image.subject_id == Subject.id)
        .join(Dataset, Dataset.id == Subject.dataset_id)
        .where(Subject.withdrawn_at.is_(None), Dataset.retention_days.is_not(None))
        .group_by(Subject.id, Dataset.retention_days)
    )
    if subject_id is not None:
        query = query.where(Subject.id == subject_id)
    return {
        number: "retention"
        for number, days, received in session.execute(query)
        if received + dt.timedelta(days=days or 0) <= at
    }
