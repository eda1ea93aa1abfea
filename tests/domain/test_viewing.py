"""The door to pixels: who may look at what."""

import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from annotator.core.errors import Busy, ConsentMissing, Forbidden, KeyDestroyed, NotFound
from annotator.domain import accounts, consent, erasure, labelling, viewing
from annotator.domain.erasure import steps
from annotator.models import Dataset, Subject, Task, User
from tests.factories import make_dataset, make_open_task, make_subject, make_user
from tests.fakes import FakeVault, FakeWork


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


# Keys that are renewed while somebody looks


@pytest.fixture
def admin(session: Session) -> User:
    return make_user(session, "admin")


@pytest.fixture
def reader(session: Session, engine: Engine, task: Task, admin: User) -> Iterator[Session]:
    """Somebody whose transaction began to read before the keys were renewed."""
    session.commit()
    with Session(engine) as reading:
        assert reading.get_one(Task, task.id).face.subject.key_epoch == 1
        yield reading


def test_a_look_that_began_before_keys_were_renewed_gets_the_picture(
    reader: Session, work: FakeWork, vault: FakeVault, task: Task, admin: User
) -> None:
    erasure.renew_epoch(work)
    assert vault.epochs == {2}
    assert look(reader, vault, task, admin).startswith(b"\x89PNG")
    face = reader.get_one(Task, task.id).face
    own = viewing.open_own(reader, vault=vault, subject=face.subject, image=face.image)
    assert own is not None
    assert own.startswith(b"\x89PNG")


def test_a_look_that_began_before_a_withdrawal_gets_nothing(
    *,
    reader: Session,
    session: Session,
    work: FakeWork,
    vault: FakeVault,
    task: Task,
    admin: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps, "SHORT", 0.01)
    monkeypatch.setattr(steps, "LONG", 0.01)
    face = reader.get_one(Task, task.id).face
    subject = session.get_one(Subject, face.subject_id)
    done = erasure.withdraw_subject(session, subject=subject, by=None)
    session.commit()
    with pytest.raises(Busy):  # the look itself keeps the journal from being cut
        erasure.finish_withdrawal(work, **done.job.arguments)
    assert vault.epochs == {2}
    with pytest.raises(KeyDestroyed):
        look(reader, vault, task, admin)
    with pytest.raises(KeyDestroyed):
        viewing.open_own(reader, vault=vault, subject=face.subject, image=face.image)
