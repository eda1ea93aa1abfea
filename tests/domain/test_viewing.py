"""The door to pixels: who may look at what."""

import uuid

import pytest
from sqlalchemy.orm import Session

from annotator.core.errors import ConsentMissing, Forbidden, KeyDestroyed, NotFound
from annotator.domain import accounts, consent, labelling, viewing
from annotator.models import Dataset, Subject, Task, User
from tests.factories import make_dataset, make_open_task, make_subject, make_user
from tests.fakes import FakeVault


@pytest.fixture
def dataset(session: Session) -> Dataset:
    return make_dataset(session, votes_per_face=1)


@pytest.fixture
def subject(session: Session, vault: FakeVault, dataset: Dataset) -> Subject:
    return make_subject(session, vault, dataset)


@pytest.fixture
def task(session: Session, vault: FakeVault, dataset: Dataset, subject: Subject) -> Task:
    return make_open_task(session, vault, dataset, subject)


@pytest.fixture
def ann(session: Session, dataset: Dataset) -> User:
    user = make_user(session)
    accounts.add_member(session, user=user, dataset=dataset, by=None)
    return user


def look(session: Session, vault: FakeVault, task: Task, user: User) -> bytes:
    return viewing.open_crop(session, vault=vault, face_id=task.face_id, user=user)


def test_who_holds_a_face_sees_it(
    session: Session, vault: FakeVault, dataset: Dataset, task: Task, ann: User
) -> None:
    with pytest.raises(Forbidden):
        look(session, vault, task, ann)
    labelling.lease_tasks(session, dataset=dataset, user=ann, n=1)
    assert look(session, vault, task, ann).startswith(b"\x89PNG")


def test_who_voted_or_skipped_still_sees_it(
    session: Session, vault: FakeVault, dataset: Dataset, task: Task, ann: User
) -> None:
    labelling.lease_tasks(session, dataset=dataset, user=ann, n=1)
    labelling.skip(session, user=ann, task_id=task.id)
    assert look(session, vault, task, ann)
    labelling.unskip(session, user=ann, task_id=task.id)
    labelling.annotate(
        session, user=ann, client_id=str(uuid.uuid4()), task_id=task.id, label="fear"
    )
    assert look(session, vault, task, ann)


def test_a_reviewer_needs_no_lease_but_membership(
    session: Session, vault: FakeVault, dataset: Dataset, task: Task
) -> None:
    reviewer = make_user(session, "reviewer")
    with pytest.raises(NotFound):
        look(session, vault, task, reviewer)
    accounts.add_member(session, user=reviewer, dataset=dataset, by=None)
    assert look(session, vault, task, reviewer)


def test_a_face_that_does_not_exist(session: Session, vault: FakeVault, ann: User) -> None:
    with pytest.raises(NotFound):
        viewing.open_crop(session, vault=vault, face_id=999, user=ann)


@pytest.mark.parametrize("purpose", ["label", "store"])
def test_a_withdrawal_between_lease_and_look_is_refused(
    session: Session,
    vault: FakeVault,
    dataset: Dataset,
    subject: Subject,
    task: Task,
    *,
    purpose: str,
) -> None:
    admin = make_user(session, "admin")
    labelling.lease_tasks(session, dataset=dataset, user=admin, n=1)
    assert look(session, vault, task, admin)
    consent.withdraw_purposes(session, subject=subject, purposes=[purpose])
    with pytest.raises(ConsentMissing):
        look(session, vault, task, admin)


def test_without_a_key_nothing_opens(
    session: Session, vault: FakeVault, subject: Subject, task: Task
) -> None:
    subject.wrapped_key = None
    with pytest.raises(KeyDestroyed):
        look(session, vault, task, make_user(session, "admin"))
