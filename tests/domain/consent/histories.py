"""Consent histories in hours from a start, their rows, and what a person would say of them."""

import datetime as dt
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from annotator.core.db import Base
from annotator.models import PURPOSES, ConsentEvent, Dataset, Notice, Renewal, Subject

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SHORT = 6  # a history of few hours and purposes meets itself often
UNKNOWN = "dance"
VERSIONS = (1, 2, 3)
_numbers = itertools.count(1)


def at_hour(hour: int) -> dt.datetime:
    return START + dt.timedelta(hours=hour)


@dataclass(frozen=True)
class Said:
    """One event."""

    purpose: str
    kind: str
    hour: int
    lasts: int | None = 3
    party: str = "subject"
    version: int = 0  # of the notice; 0: none is known


@dataclass(frozen=True)
class Asked:
    """From an hour on, a purpose needs a notice of at least a version."""

    purpose: str
    version: int
    hour: int


@dataclass(frozen=True)
class History:
    """One person's, with what their dataset asks anew."""

    said: tuple[Said, ...] = ()
    asked: tuple[Asked, ...] = ()
    majority: int | None = None
    erased: bool = False


def oracle(history: History, purpose: str, hour: int) -> bool:
    """What a person would say: look at the last word on the purpose, and on keeping."""
    if history.erased or purpose not in PURPOSES:
        return False
    return all(counts(history, needed, hour) for needed in {purpose, "store"})


def counts(history: History, purpose: str, hour: int) -> bool:
    """Whether the last word on one purpose is a yes that holds."""
    last = None
    for event in history.said:  # in the order in which they were written down
        if (
            event.purpose == purpose
            and event.hour <= hour
            and (last is None or event.hour >= last.hour)
        ):
            last = event
    if last is None or last.kind in {"withdrawn", "expired"}:
        return False
    ended = last.lasts is None or last.hour + last.lasts <= hour
    return not (
        ended or speaks_in_vain(last, history.majority, hour) or is_old(history, last, hour)
    )


def speaks_in_vain(event: Said, majority: int | None, hour: int) -> bool:
    """A guardian for somebody who has grown up since, or a minor who spoke alone."""
    if majority is None:
        return False
    return hour >= majority if event.party == "guardian" else event.hour < majority


def is_old(history: History, event: Said, hour: int) -> bool:
    """Said under a notice that was replaced by one that asks anew."""
    return any(
        ask.purpose == event.purpose and ask.hour <= hour and event.version < ask.version
        for ask in history.asked
    )


@contextmanager
def open_memory() -> Iterator[Session]:
    """A database in memory with one dataset and a notice of every version."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


def write_dataset(session: Session, asked: tuple[Asked, ...]) -> tuple[Dataset, dict[int, int]]:
    """A dataset that asks anew; answers it and the ids of its notices by version."""
    dataset = Dataset(name=f"Study {next(_numbers)}")
    session.add(dataset)
    session.flush()
    notices = [
        Notice(dataset_id=dataset.id, version=version, text="x", digest="0" * 64, purposes=[])
        for version in VERSIONS
    ]
    session.add_all(notices)
    session.add_all(
        Renewal(
            dataset_id=dataset.id, purpose=ask.purpose, version=ask.version, at=at_hour(ask.hour)
        )
        for ask in dict.fromkeys(asked)
    )
    session.flush()
    return dataset, {notice.version: notice.id for notice in notices}


def write(session: Session, history: History) -> Subject:
    """The rows of a history, in a dataset of its own."""
    dataset, notices = write_dataset(session, history.asked)
    number = next(_numbers)
    subject = Subject(uid=str(number), dataset_id=dataset.id, code=str(number))
    subject.withdrawn_at = START if history.erased else None
    subject.majority_at = None if history.majority is None else at_hour(history.majority)
    session.add(subject)
    session.flush()
    session.add_all(
        ConsentEvent(
            subject_id=subject.id,
            purpose=event.purpose,
            kind=event.kind,
            at=at_hour(event.hour),
            expires_at=None if event.lasts is None else at_hour(event.hour + event.lasts),
            party=event.party,
            notice_id=notices.get(event.version),
        )
        for event in history.said
    )
    session.flush()
    return subject
