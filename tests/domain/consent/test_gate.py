"""The gate against an oracle that reads the history as a person would, and against itself."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from annotator.core.db import Base
from annotator.core.errors import ConsentMissing
from annotator.domain import consent
from annotator.models import EVENT_KINDS, PURPOSES, ConsentEvent, Dataset, Subject

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
SHORT = 6  # a history of few hours and purposes meets itself often


@dataclass(frozen=True)
class Said:
    """One event, in hours from the start."""

    purpose: str
    kind: str
    hour: int
    lasts: int


said = st.builds(
    Said,
    purpose=st.sampled_from(PURPOSES[:3]),
    kind=st.sampled_from(EVENT_KINDS),
    hour=st.integers(0, SHORT),
    lasts=st.integers(1, SHORT),
)


def oracle(history: list[Said], purpose: str, hour: int, *, erased: bool) -> bool:
    """What a person would say: look at the last word on the purpose, and on keeping."""
    if erased or purpose not in PURPOSES:
        return False
    for needed in {purpose, "store"}:
        last = None
        for event in history:  # in the order in which they were written down
            if event.purpose != needed or event.hour > hour:
                continue
            if last is None or event.hour >= last.hour:
                last = event
        if last is None or last.kind in {"withdrawn", "expired"}:
            return False
        if last.hour + last.lasts <= hour:
            return False
    return True


@pytest.fixture(scope="module")
def memory() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Dataset(name="Pilot"))
        session.flush()
        yield session
    engine.dispose()


def write(session: Session, history: list[Said], *, erased: bool) -> Subject:
    count = len(session.scalars(select(Subject.id)).all())
    subject = Subject(uid=str(count), dataset_id=1, code=str(count))
    subject.withdrawn_at = START if erased else None
    session.add(subject)
    session.flush()
    session.add_all(
        ConsentEvent(
            subject_id=subject.id,
            purpose=event.purpose,
            kind=event.kind,
            at=START + dt.timedelta(hours=event.hour),
            expires_at=(
                START + dt.timedelta(hours=event.hour + event.lasts)
                if event.kind in {"given", "renewed"}
                else None
            ),
        )
        for event in history
    )
    session.flush()
    return subject


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    history=st.lists(said, max_size=12),
    purpose=st.sampled_from([*PURPOSES[:4], "dance"]),
    hour=st.integers(0, 2 * SHORT),
    erased=st.booleans(),
)
def test_the_gate_says_what_a_person_would_say(
    memory: Session, history: list[Said], purpose: str, hour: int, *, erased: bool
) -> None:
    subject = write(memory, history, erased=erased)
    at = START + dt.timedelta(hours=hour)
    event = consent.allowed(memory, subject=subject, purpose=purpose, at=at)
    assert (event is not None) == oracle(history, purpose, hour, erased=erased)
    if event is not None:
        assert (event.subject_id, event.purpose) == (subject.id, purpose)
    in_a_query = select(Subject.id).where(Subject.id == subject.id, consent.allowing(purpose, at))
    assert (memory.scalar(in_a_query) is not None) == (event is not None)


def test_nothing_is_allowed_without_a_word(memory: Session) -> None:
    subject = write(memory, [], erased=False)
    assert consent.given_purposes(memory, subject=subject) == {}


@pytest.mark.parametrize(
    ("erased", "sentence"),
    [(False, "does not agree to training on their pictures"), (True, "withdrew everything")],
)
def test_a_refusal_says_what_to_do(memory: Session, sentence: str, *, erased: bool) -> None:
    subject = write(memory, [], erased=erased)
    with pytest.raises(ConsentMissing, match=sentence):
        consent.require(memory, subject=subject, purpose="train")
