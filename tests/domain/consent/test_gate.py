"""The gate against an oracle that reads the history as a person would, and against itself."""

import dataclasses
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from annotator.core.db import Base
from annotator.core.errors import ConsentMissing
from annotator.domain import consent
from annotator.models import EVENT_KINDS, PARTIES, PURPOSES, Subject
from tests.domain.consent.histories import (
    SHORT,
    UNKNOWN,
    VERSIONS,
    Asked,
    History,
    Said,
    at_hour,
    open_memory,
    oracle,
    write,
)

said = st.builds(
    Said,
    purpose=st.sampled_from(PURPOSES[:3]),
    kind=st.sampled_from(EVENT_KINDS),
    hour=st.integers(0, SHORT),
    lasts=st.integers(1, SHORT),
    party=st.sampled_from(PARTIES),
    version=st.sampled_from((0, *VERSIONS)),
)
asked = st.builds(
    Asked,
    purpose=st.sampled_from(PURPOSES[:3]),
    version=st.sampled_from(VERSIONS),
    hour=st.integers(0, SHORT),
)
histories = st.builds(
    History,
    said=st.lists(said, max_size=12).map(tuple),
    asked=st.lists(asked, max_size=2, unique_by=lambda a: (a.purpose, a.version)).map(tuple),
    majority=st.none() | st.integers(0, SHORT),
    erased=st.sampled_from([False, False, True]),
)


@pytest.fixture(scope="module")
def memory() -> Iterator[Session]:
    with open_memory() as session:
        yield session


def check(session: Session, subject: Subject, history: History, purpose: str, hour: int) -> None:
    at = at_hour(hour)
    event = consent.allowed(session, subject=subject, purpose=purpose, at=at)
    assert (event is not None) == oracle(history, purpose, hour), (history, purpose, hour)
    if event is not None:
        assert (event.subject_id, event.purpose) == (subject.id, purpose)
    in_a_query = select(Subject.id).where(Subject.id == subject.id, consent.allowing(purpose, at))
    assert (session.scalar(in_a_query) is not None) == (event is not None)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    history=histories,
    purpose=st.sampled_from([*PURPOSES[:4], UNKNOWN]),
    hour=st.integers(0, 2 * SHORT),
)
def test_the_gate_says_what_a_person_would_say(
    memory: Session, history: History, purpose: str, hour: int
) -> None:
    check(memory, write(memory, history), history, purpose, hour)


class Life(RuleBasedStateMachine):
    """One person's consents over time, step by step: given, taken back, ended, grown up, renewed.

    After every step the gate must say what the oracle says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.engine = create_engine("sqlite://")
        Base.metadata.create_all(self.engine)
        self.session = Session(self.engine)
        self.history, self.hour = History(), 0

    @initialize(majority=st.none() | st.integers(1, SHORT))
    def is_born(self, majority: int | None) -> None:
        self.history = History(majority=majority)

    @rule(
        purpose=st.sampled_from(PURPOSES[:2]),
        party=st.sampled_from(PARTIES),
        lasts=st.integers(1, SHORT),
        version=st.sampled_from(VERSIONS),
    )
    def agrees(self, purpose: str, party: str, lasts: int, version: int) -> None:
        self._say(Said(purpose, "given", self.hour, lasts, party, version))

    @rule(purpose=st.sampled_from(PURPOSES[:2]), kind=st.sampled_from(["withdrawn", "expired"]))
    def takes_back(self, purpose: str, kind: str) -> None:
        self._say(Said(purpose, kind, self.hour, None))

    @rule(purpose=st.sampled_from(PURPOSES[:2]), version=st.sampled_from(VERSIONS))
    def is_asked_anew(self, purpose: str, version: int) -> None:
        known = {(ask.purpose, ask.version) for ask in self.history.asked}
        if (purpose, version) not in known:
            ask = Asked(purpose, version, self.hour)
            self.history = dataclasses.replace(self.history, asked=(*self.history.asked, ask))

    @rule(hours=st.integers(1, 2))
    def waits(self, hours: int) -> None:
        self.hour += hours

    @precondition(lambda self: len(self.history.said) > 3)
    @rule()
    def is_erased(self) -> None:
        self.history = dataclasses.replace(self.history, erased=True)

    @invariant()
    def gate_and_oracle_agree(self) -> None:
        self.session.rollback()
        subject = write(self.session, self.history)
        for purpose in PURPOSES[:2]:
            check(self.session, subject, self.history, purpose, self.hour)

    def teardown(self) -> None:
        self.session.close()
        self.engine.dispose()

    def _say(self, event: Said) -> None:
        self.history = dataclasses.replace(self.history, said=(*self.history.said, event))


Life.TestCase.settings = settings(max_examples=10, stateful_step_count=12, deadline=None)
test_a_life_of_consents = Life.TestCase


def test_nothing_is_allowed_without_a_word(memory: Session) -> None:
    subject = write(memory, History())
    assert consent.given_purposes(memory, subject=subject) == {}


@pytest.mark.parametrize(
    ("erased", "sentence"),
    [(False, "does not agree to training on their pictures"), (True, "withdrew everything")],
)
def test_a_refusal_says_what_to_do(memory: Session, sentence: str, *, erased: bool) -> None:
    subject = write(memory, History(erased=erased))
    with pytest.raises(ConsentMissing, match=sentence):
        consent.require(memory, subject=subject, purpose="train")
