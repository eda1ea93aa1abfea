"""Votes, undo, skips."""

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.core.errors import Conflict, ConsentMissing, InvalidInput, NotFound
from annotator.domain import consent, labelling
from annotator.models import Annotation, Dataset, Lease, Skip, Task, User
from tests.factories import make_model, make_open_task, make_prediction, make_subject, make_user
from tests.fakes import FakeVault


@pytest.fixture
def task(session: Session, dataset: Dataset, tasks: list[Task], ann: User) -> Task:
    """A face that Ann holds."""
    return labelling.lease_tasks(session, dataset=dataset, user=ann, n=1)[0].task


def vote(session: Session, user: User, task: Task, **more: Any) -> Annotation:
    more.setdefault("client_id", str(uuid.uuid4()))
    more.setdefault("label", "fear")
    return labelling.annotate(session, user=user, task_id=task.id, **more)


def test_a_vote_is_written_down_whole(session: Session, task: Task, ann: User) -> None:
    given = vote(
        session,
        ann,
        task,
        label="fear",
        second_label="surprise",
        intensity=4,
        valence=-0.75,
        arousal=1,
        flags=["poor_quality", "occluded"],
        duration_ms=1234,
    )
    session.expire(given)
    assert (given.label, given.second_label, given.intensity) == ("fear", "surprise", 4)
    assert (given.valence, given.arousal, given.duration_ms) == (-0.75, 1.0, 1234)
    assert given.flags == ["occluded", "poor_quality"]
    assert (given.rater, given.user_id, given.mode) == (str(ann.id), ann.id, "focus")
    assert (given.prelabel, given.prelabel_shown) == (None, False)
    assert (task.given, task.free, task.state) == (1, 1, "open")
    assert session.scalar(select(func.count()).select_from(Lease)) == 0


def test_a_task_is_done_at_its_last_vote(
    session: Session, dataset: Dataset, task: Task, ann: User, bob: User
) -> None:
    labelling.lease_tasks(session, dataset=dataset, user=bob, n=5)
    vote(session, ann, task)
    vote(session, bob, task)
    assert (task.given, task.free, task.state) == (2, 0, "done")


def test_a_repeated_id_is_one_vote(session: Session, task: Task, ann: User) -> None:
    client_id = str(uuid.uuid4())
    first = vote(session, ann, task, client_id=client_id)
    again = vote(session, ann, task, client_id=client_id.upper(), label="anger")
    assert again is first
    assert again.label == "fear"
    assert task.given == 1


def test_an_id_belongs_to_one_person(
    session: Session, dataset: Dataset, task: Task, ann: User, bob: User
) -> None:
    client_id = str(uuid.uuid4())
    vote(session, ann, task, client_id=client_id)
    labelling.lease_tasks(session, dataset=dataset, user=bob, n=1)
    with pytest.raises(Conflict, match="another vote"):
        vote(session, bob, task, client_id=client_id)


def test_one_vote_a_person_and_face(session: Session, task: Task, ann: User) -> None:
    vote(session, ann, task)
    with pytest.raises(Conflict, match="already"):
        vote(session, ann, task)


def test_a_vote_needs_a_lease(session: Session, task: Task, bob: User) -> None:
    with pytest.raises(Conflict, match="not lent"):
        vote(session, bob, task)


def test_a_vote_needs_membership(session: Session, task: Task) -> None:
    with pytest.raises(NotFound):
        vote(session, make_user(session), task)


def test_a_vote_passes_the_gate(
    session: Session, vault: FakeVault, dataset: Dataset, ann: User
) -> None:
    subject = make_subject(session, vault, dataset)
    task = make_open_task(session, vault, dataset, subject)
    labelling.lease_tasks(session, dataset=dataset, user=ann, n=1)
    consent.withdraw_purposes(session, subject=subject, purposes=["label"])
    with pytest.raises(ConsentMissing):
        vote(session, ann, task)
    assert task.given == 0


@pytest.mark.parametrize(
    "bad",
    [
        {"client_id": "1"},
        {"client_id": 7},
        {"label": "joy"},
        {"label": ["fear"]},
        {"second_label": "joy"},
        {"second_label": "fear"},
        {"intensity": 0},
        {"intensity": 6},
        {"intensity": 2.5},
        {"intensity": True},
        {"valence": 1.01},
        {"valence": float("nan")},
        {"arousal": "much"},
        {"flags": ["sleepy"]},
        {"flags": "occluded"},
        {"mode": "import"},
        {"mode": "turbo"},
        {"duration_ms": -1},
        {"duration_ms": 10**9},
        {"duration_ms": float("inf")},
        {"page": ""},
        {"page": "x" * 37},
        {"page": 3},
    ],
)
def test_bad_values_are_refused_in_one_sentence(
    session: Session, task: Task, ann: User, bad: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        vote(session, ann, task, **bad)
    assert refused.value.message.endswith((".", ". "))
    assert session.scalar(select(func.count()).select_from(Annotation)) == 0
    assert (task.given, task.free) == (0, 1)


def test_what_was_shown_is_what_the_server_sent(
    session: Session, vault: FakeVault, dataset: Dataset, tasks: list[Task], ann: User
) -> None:
    model = make_model(session)
    for task, probability in zip(tasks[:3], (0.9, 0.9, 0.1), strict=True):
        make_prediction(session, vault, task.face, model, label="anger", probability=probability)
    labelling.lease_tasks(session, dataset=dataset, user=ann, n=5)
    model.state = "retired"  # what was shown stays what was shown
    shown = vote(session, ann, tasks[0])
    hidden = vote(session, ann, tasks[1], prelabel_shown=False)
    claimed = vote(session, ann, tasks[2], prelabel_shown=True)
    assert (shown.prelabel_shown, shown.prelabel, shown.prelabel_probability, shown.model_id) == (
        (True, "anger", 0.9, model.id)
    )
    assert (hidden.prelabel_shown, hidden.prelabel) == (False, "anger")
    assert (claimed.prelabel_shown, claimed.prelabel, claimed.model_id) == (False, None, None)


def test_undo_reopens_and_lends_the_face_again(
    session: Session,
    vault: FakeVault,
    dataset: Dataset,
    tasks: list[Task],
    hire: Callable[..., User],
) -> None:
    ann, bob = hire(), hire()
    model = make_model(session)
    make_prediction(session, vault, tasks[0].face, model, label="anger", probability=0.9)
    for user in (ann, bob):
        labelling.lease_tasks(session, dataset=dataset, user=user, n=5)
    first = vote(session, ann, tasks[0])
    vote(session, bob, tasks[0])
    for _ in range(2):  # twice is once
        labelling.take_back(session, user=ann, client_id=first.client_id)
    assert (tasks[0].given, tasks[0].free, tasks[0].state) == (1, 0, "open")
    assert first.taken_back_at is not None
    again = vote(session, ann, tasks[0], label="sadness")
    assert (again.prelabel, again.prelabel_shown) == ("anger", True)
    assert (tasks[0].given, tasks[0].state) == (2, "done")
    repeated = vote(session, ann, tasks[0], client_id=first.client_id)
    assert repeated is first
    assert tasks[0].given == 2


def test_only_ones_own_vote_is_undone(session: Session, task: Task, ann: User, bob: User) -> None:
    given = vote(session, ann, task)
    with pytest.raises(NotFound):
        labelling.take_back(session, user=bob, client_id=given.client_id)
    with pytest.raises(NotFound):
        labelling.take_back(session, user=ann, client_id=str(uuid.uuid4()))


def test_a_skip_is_no_vote_and_can_be_undone(
    session: Session, dataset: Dataset, tasks: list[Task], ann: User
) -> None:
    held = labelling.lease_tasks(session, dataset=dataset, user=ann, n=5)
    task = held[0].task
    for _ in range(2):  # twice is once
        labelling.skip(session, user=ann, task_id=task.id)
    assert (task.given, task.free) == (0, 2)
    assert task.id not in {
        item.task.id for item in labelling.lease_tasks(session, dataset=dataset, user=ann, n=5)
    }
    for _ in range(2):
        labelling.unskip(session, user=ann, task_id=task.id)
    assert task.free == 1
    assert labelling.lease_tasks(session, dataset=dataset, user=ann, n=5)[0].task.id == task.id
    assert session.scalar(select(func.count()).select_from(Skip)) == 0


def test_a_skip_cannot_be_undone_when_others_took_the_place(
    session: Session, dataset: Dataset, tasks: list[Task], hire: Callable[..., User]
) -> None:
    first, second, third = hire(), hire(), hire()
    (lent,) = labelling.lease_tasks(session, dataset=dataset, user=first, n=1)
    labelling.skip(session, user=first, task_id=lent.task.id)
    for user in (second, third):
        labelling.lease_tasks(session, dataset=dataset, user=user, n=5)
    with pytest.raises(Conflict):
        labelling.unskip(session, user=first, task_id=lent.task.id)


def test_own_counts(session: Session, dataset: Dataset, tasks: list[Task], ann: User) -> None:
    labelling.lease_tasks(session, dataset=dataset, user=ann, n=5)
    vote(session, ann, tasks[0]).created_at -= dt.timedelta(days=2)
    vote(session, ann, tasks[1])
    undone = vote(session, ann, tasks[2])
    labelling.take_back(session, user=ann, client_id=undone.client_id)
    assert labelling.count_own(session, user=ann, dataset=dataset) == labelling.Own(1, 2)
