"""Opening tasks, importing votes, decisions."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.core.errors import ConsentMissing, Forbidden, InvalidInput, NotFound
from annotator.domain import consent, labelling
from annotator.models import Annotation, AuditEntry, Dataset, Review, Task, User
from tests.factories import make_dataset, make_face, make_open_task, make_subject, make_user
from tests.fakes import FakeVault


def test_opening_a_task_twice_is_once(session: Session, vault: FakeVault, dataset: Dataset) -> None:
    subject = make_subject(session, vault, dataset)
    face = make_face(session, vault, subject, votes=None)
    first = labelling.open_task(session, face=face, dataset=dataset)
    assert labelling.open_task(session, face=face, dataset=dataset) is first
    assert (first.wanted, first.free, first.given, first.state) == (2, 2, 0, "open")


def test_order_and_blindness_follow_from_the_seed(session: Session, vault: FakeVault) -> None:
    subject_of = {
        seed: make_dataset(session, name=f"seed {seed}", seed=seed, blind_share=0.3)
        for seed in (1, 2)
    }
    drawn = {}
    for seed, dataset in subject_of.items():
        subject = make_subject(session, vault, dataset)
        faces = [make_face(session, vault, subject, votes=None) for _ in range(200)]
        made = [labelling.open_task(session, face=face, dataset=dataset) for face in faces]
        drawn[seed] = [task.rank for task in made]
        again = labelling.tasks._draw(seed, "rank", faces[0].id)
        assert again == made[0].rank
        assert 0.2 < sum(task.blind for task in made) / 200 < 0.4
        assert all(0 <= task.rank < 1 for task in made)
    assert drawn[1] != drawn[2]


def test_imported_votes_count_once(session: Session, tasks: list[Task]) -> None:
    task = tasks[0]
    assert labelling.import_votes(session, task=task, votes=["fear", "", "anger"]) == 2
    assert labelling.import_votes(session, task=task, votes=["fear", "", "anger"]) == 0
    assert (task.given, task.free, task.state) == (2, 0, "done")
    raters = session.scalars(select(Annotation.rater).order_by(Annotation.rater)).all()
    assert raters == ["import-0", "import-2"]


def test_more_imported_votes_than_wanted_leave_nothing_free(
    session: Session, tasks: list[Task]
) -> None:
    labelling.import_votes(session, task=tasks[0], votes=["fear"] * 7)
    assert (tasks[0].given, tasks[0].free, tasks[0].state) == (7, 0, "done")


def test_an_imported_label_that_does_not_exist_is_refused(
    session: Session, tasks: list[Task]
) -> None:
    with pytest.raises(InvalidInput, match="no label 'joy'"):
        labelling.import_votes(session, task=tasks[0], votes=["joy"])


def test_decisions_add_up_and_are_logged(
    session: Session, tasks: list[Task], hire: Callable[..., User]
) -> None:
    reviewer = hire("reviewer")
    for label in ("fear", "surprise"):
        labelling.review(session, user=reviewer, task_id=tasks[0].id, label=label, comment=" why ")
    assert session.scalars(select(Review.label).order_by(Review.id)).all() == ["fear", "surprise"]
    logged = select(func.count()).where(AuditEntry.action == "review.added")
    assert session.scalar(logged) == 2


def test_who_may_decide(
    session: Session, vault: FakeVault, dataset: Dataset, tasks: list[Task], ann: User
) -> None:
    with pytest.raises(Forbidden):
        labelling.review(session, user=ann, task_id=tasks[0].id, label="fear")
    with pytest.raises(NotFound):
        labelling.review(
            session, user=make_user(session, "reviewer"), task_id=tasks[0].id, label="fear"
        )


@pytest.mark.parametrize(("label", "comment"), [("joy", ""), ("fear", "x" * 2001)])
def test_bad_decisions_are_refused(
    session: Session, tasks: list[Any], hire: Callable[..., User], label: str, comment: str
) -> None:
    with pytest.raises(InvalidInput):
        labelling.review(
            session, user=hire("reviewer"), task_id=tasks[0].id, label=label, comment=comment
        )


def test_a_decision_passes_the_gate(
    session: Session, vault: FakeVault, dataset: Dataset, hire: Callable[..., User]
) -> None:
    subject = make_subject(session, vault, dataset)
    task = make_open_task(session, vault, dataset, subject)
    consent.withdraw_purposes(session, subject=subject, purposes=["label"])
    with pytest.raises(ConsentMissing):
        labelling.review(session, user=hire("reviewer"), task_id=task.id, label="fear")
