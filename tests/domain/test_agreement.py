"""Agreement against a published example and by hand."""

import secrets
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from annotator.domain import agreement, consent
from annotator.models import Annotation, Dataset, Review
from tests.factories import make_dataset, make_face, make_subject, make_user
from tests.fakes import FakeVault

# Krippendorff 2011, section C: four observers, twelve units, missing data; alpha is 0.743.
OBSERVERS = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
UNITS = [Counter(row[unit] for row in OBSERVERS if row[unit] != ".") for unit in range(12)]
COUNTS = st.dictionaries(st.sampled_from("abc"), st.integers(1, 5), min_size=1)


def test_alpha_of_the_published_example() -> None:
    assert agreement.alpha_nominal(UNITS) == pytest.approx(0.743, abs=0.0005)


def test_percent_agreement_by_hand() -> None:
    units = [{"a": 3}, {"a": 2, "b": 1}, {"a": 1, "b": 1, "c": 1}, {"a": 1}]
    assert agreement.percent_agreement(units) == pytest.approx((1 + 1 / 3 + 0) / 3)


def test_figures_that_are_not_defined() -> None:
    assert agreement.percent_agreement([{"a": 1}]) is None
    assert agreement.alpha_nominal([{"a": 1}, {"b": 1}]) is None
    assert agreement.alpha_nominal([{"a": 3}, {"a": 2}]) is None


@given(st.lists(COUNTS, max_size=8))
def test_alpha_never_passes_one(units: list[dict[str, int]]) -> None:
    alpha = agreement.alpha_nominal(units)
    assert alpha is None or alpha <= 1


def test_two_labels_have_the_same_alpha_as_either_alone() -> None:
    units = [{"a": 2, "b": 1}, {"b": 3}, {"a": 3}]
    assert agreement.alpha_of("a", units) == pytest.approx(agreement.alpha_nominal(units))


@pytest.mark.parametrize(
    ("votes", "label"),
    [({}, None), ({"a": 2, "b": 2}, None), ({"a": 2, "b": 1}, "a"), ({"b": 1}, "b")],
)
def test_majority(votes: dict[str, int], label: str | None) -> None:
    assert agreement.majority(votes) == label


def test_soft_labels_sum_to_one() -> None:
    assert agreement.soften({"a": 3, "b": 1}) == {"a": 0.75, "b": 0.25}
    assert agreement.soften({}) == {}


def test_distribution_keeps_the_order_of_the_labels() -> None:
    assert list(agreement.distribution(["fear", "neutral", "fear"]).items()) == [
        ("neutral", 1),
        ("fear", 2),
    ]


@pytest.fixture
def dataset(session: Session, vault: FakeVault) -> Dataset:
    return make_dataset(session)


def test_figures_leave_out_votes_that_saw_a_suggestion(
    session: Session, vault: FakeVault, dataset: Dataset
) -> None:
    subject = make_subject(session, vault, dataset)
    make_face(session, vault, subject, {"fear": 2, "anger": 1})
    before = agreement.measure(session, dataset=dataset)
    assert (before.faces, before.votes, before.unaided) == (1, 3, False)
    helped = make_face(session, vault, subject, {"fear": 1})
    task_id = next(iter(agreement.count_votes(session, dataset=dataset).keys() - {1}))
    for _ in range(2):
        user = make_user(session)
        session.add(
            Annotation(
                client_id=secrets.token_hex(16),
                task_id=task_id,
                user_id=user.id,
                rater=str(user.id),
                label="fear",
                mode="focus",
                prelabel_shown=True,
            )
        )
    session.flush()
    after = agreement.measure(session, dataset=dataset)
    assert helped.id
    assert (after.faces, after.votes, after.unaided) == (1, 3, True)
    assert (after.percent, after.alpha) == (before.percent, before.alpha)
    assert list(after.classes) == ["anger", "fear"]


def test_disagreements_come_worst_first_and_a_decision_ends_them(
    session: Session, vault: FakeVault, dataset: Dataset
) -> None:
    subject = make_subject(session, vault, dataset)
    for votes in ({"fear": 3}, {"fear": 2, "anger": 1}, {"fear": 1, "anger": 1, "sadness": 1}):
        make_face(session, vault, subject, votes)
    found = agreement.list_disagreements(session, dataset=dataset)
    assert [item.votes for item in found] == [
        {"sadness": 1, "anger": 1, "fear": 1},
        {"fear": 2, "anger": 1},
    ]
    assert [round(item.share, 2) for item in found] == [0.33, 0.67]
    reviewer = make_user(session, "reviewer")
    session.add(Review(task_id=found[0].task.id, user_id=reviewer.id, label="fear"))
    session.flush()
    waiting = agreement.list_disagreements(session, dataset=dataset)
    assert [item.task.id for item in waiting] == [found[1].task.id]
    every = agreement.list_disagreements(session, dataset=dataset, undecided=False)
    assert every[0].decision is not None
    only = agreement.list_disagreements(session, dataset=dataset, label="sadness", undecided=False)
    assert [item.task.id for item in only] == [found[0].task.id]


def test_who_may_not_be_shown_is_not_listed(
    session: Session, vault: FakeVault, dataset: Dataset
) -> None:
    subject = make_subject(session, vault, dataset)
    make_face(session, vault, subject, {"fear": 2, "anger": 1})
    consent.withdraw_purposes(session, subject=subject, purposes=["label"])
    assert agreement.list_disagreements(session, dataset=dataset) == []
