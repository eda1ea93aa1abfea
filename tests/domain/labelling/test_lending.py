"""Leases: who gets which face, for how long, and with which suggestion."""

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, func, select, text
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput, NotFound
from annotator.domain import consent, labelling
from annotator.models import AuditEntry, Dataset, Installation, Lease, Task, User
from tests.factories import (
    make_model,
    make_open_task,
    make_prediction,
    make_subject,
    make_user,
)
from tests.fakes import FakeVault

LATER = dt.timedelta(seconds=901)


def lease(session: Session, dataset: Dataset, user: User, n: int = 5, **more: Any) -> list[int]:
    leased = labelling.lease_tasks(session, dataset=dataset, user=user, n=n, **more)
    return [item.task.id for item in leased]


def vote(session: Session, user: User, task_id: int, **more: Any) -> str:
    client_id = str(uuid.uuid4())
    more.setdefault("label", "fear")
    labelling.annotate(session, user=user, client_id=client_id, task_id=task_id, **more)
    return client_id


def test_faces_come_in_order_and_renewing_gives_the_same(
    session: Session, dataset: Dataset, tasks: list[Task], ann: User
) -> None:
    order = [task.id for task in sorted(tasks, key=lambda task: task.rank)]
    assert lease(session, dataset, ann, 2) == order[:2]
    assert lease(session, dataset, ann, 2) == order[:2]
    assert lease(session, dataset, ann, 4) == order[:4]
    assert [item.task.id for item in labelling.list_held(session, dataset=dataset, user=ann)] == (
        order[:4]
    )


def test_the_last_vote_is_held_by_one_person(
    session: Session, dataset: Dataset, tasks: list[Task], hire: Callable[..., User]
) -> None:
    for task in tasks[1:]:
        session.delete(task)
    first, second, third = hire(), hire(), hire()
    assert lease(session, dataset, first) == lease(session, dataset, second) == [tasks[0].id]
    assert lease(session, dataset, third) == []


def test_nobody_gets_a_face_twice(
    session: Session, dataset: Dataset, tasks: list[Task], ann: User
) -> None:
    for task_id in lease(session, dataset, ann):
        vote(session, ann, task_id)
    assert lease(session, dataset, ann) == []
    assert {task.state for task in tasks} == {"open"}


def test_an_expired_lease_goes_to_somebody_else(
    session: Session, dataset: Dataset, tasks: list[Task], hire: Callable[..., User]
) -> None:
    first, second, third = hire(), hire(), hire()
    for user in (first, second):
        lease(session, dataset, user)
    assert lease(session, dataset, third) == []
    assert len(lease(session, dataset, third, at=now() + LATER)) == 5
    assert session.scalar(select(func.count()).where(Lease.held)) == 5


def test_a_late_vote_counts_while_its_place_is_free(
    session: Session, dataset: Dataset, tasks: list[Task], hire: Callable[..., User]
) -> None:
    first, second, third, fourth = hire(), hire(), hire(), hire()
    for user in (first, second):
        lease(session, dataset, user)
    late = now() + LATER
    lease(session, dataset, third, at=late)  # gives back everything, takes one place a face
    vote(session, first, tasks[0].id, at=late)
    with pytest.raises(Conflict, match="ran out"):
        vote(session, second, tasks[0].id, at=late)
    session.refresh(tasks[0])
    assert (tasks[0].given, tasks[0].free) == (1, 0)
    assert tasks[0].id not in lease(session, dataset, fourth, at=late)


def test_the_order_wraps_round_for_what_others_left(
    session: Session, dataset: Dataset, tasks: list[Task], hire: Callable[..., User]
) -> None:
    users = [hire() for _ in range(3)]
    first = lease(session, dataset, users[0], 1)
    lease(session, dataset, users[1], 1)
    assert first[0] not in lease(session, dataset, users[2], 5)
    labelling.skip(session, user=users[1], task_id=first[0])
    assert lease(session, dataset, users[2], 5)[-1] == first[0]


def test_a_face_held_from_another_mode_comes_last(
    session: Session, dataset: Dataset, tasks: list[Task], ann: User
) -> None:
    swept = lease(session, dataset, ann, 2, mode="sweep")
    found = lease(session, dataset, ann, 5, mode="focus")
    assert found[3:] == swept
    assert len(set(found)) == 5


def test_a_suggestion_is_shown_and_remembered(
    session: Session, vault: FakeVault, dataset: Dataset, tasks: list[Task], ann: User
) -> None:
    model = make_model(session)
    make_prediction(session, vault, tasks[0].face, model, label="anger", probability=0.81)
    leased = labelling.lease_tasks(session, dataset=dataset, user=ann, n=5)
    said = {item.task.id: item.prelabel for item in leased}[tasks[0].id]
    assert said == labelling.Prelabel("anger", 0.81, model.name, model.id)
    again = labelling.lease_tasks(session, dataset=dataset, user=ann, n=5)
    assert {item.task.id: item.prelabel for item in again}[tasks[0].id] == said


@pytest.mark.parametrize("why", ["blind", "unsure", "consent", "retired", "workplace"])
def test_no_suggestion_when_it_must_not_be_shown(
    session: Session, vault: FakeVault, dataset: Dataset, ann: User, why: str
) -> None:
    subject = make_subject(session, vault, dataset)
    task = make_open_task(session, vault, dataset, subject)
    model = make_model(session, "retired" if why == "retired" else "current")
    make_prediction(
        session, vault, task.face, model, label="anger", probability=0.4 if why == "unsure" else 0.9
    )
    task.blind = why == "blind"
    if why == "consent":
        consent.withdraw_purposes(session, subject=subject, purposes=["prelabel"])
    if why == "workplace":
        session.add(Installation(install="test", context="workplace"))
        session.flush()
    (leased,) = labelling.lease_tasks(session, dataset=dataset, user=ann, n=1)
    assert leased.prelabel is None


def test_a_suggestion_goes_when_its_consent_goes(
    session: Session, vault: FakeVault, dataset: Dataset, ann: User
) -> None:
    subject = make_subject(session, vault, dataset)
    task = make_open_task(session, vault, dataset, subject)
    make_prediction(session, vault, task.face, make_model(session))
    assert labelling.lease_tasks(session, dataset=dataset, user=ann, n=1)[0].prelabel
    consent.withdraw_purposes(session, subject=subject, purposes=["prelabel"])
    assert labelling.lease_tasks(session, dataset=dataset, user=ann, n=1)[0].prelabel is None


@pytest.mark.parametrize("purpose", ["label", "store"])
def test_only_those_who_consent_are_lent(
    session: Session, vault: FakeVault, dataset: Dataset, ann: User, purpose: str
) -> None:
    subject = make_subject(session, vault, dataset)
    task = make_open_task(session, vault, dataset, subject)
    assert lease(session, dataset, ann) == [task.id]
    consent.withdraw_purposes(session, subject=subject, purposes=[purpose])
    assert lease(session, dataset, ann) == []


def test_lending_is_logged_once_a_batch(
    session: Session, dataset: Dataset, tasks: list[Task], ann: User
) -> None:
    lease(session, dataset, ann, 3)
    lease(session, dataset, ann, 3)
    (entry,) = session.scalars(select(AuditEntry).where(AuditEntry.action == "faces.lent"))
    assert entry.details == {"dataset": dataset.id, "mode": "focus", "faces": 3}


@pytest.mark.parametrize(("n", "mode"), [(0, "focus"), (201, "focus"), (1, "import"), (1, "x")])
def test_bad_requests_are_refused(
    session: Session, dataset: Dataset, ann: User, n: int, mode: str
) -> None:
    with pytest.raises(InvalidInput):
        lease(session, dataset, ann, n, mode=mode)


def test_strangers_get_nothing(session: Session, dataset: Dataset, tasks: list[Task]) -> None:
    with pytest.raises(NotFound):
        lease(session, dataset, make_user(session))


def test_a_lease_walks_the_index_and_sorts_nothing(
    session: Session, dataset: Dataset, tasks: list[Task], ann: User
) -> None:
    statements = []

    def remember(*call: Any) -> None:
        _, _, statement, parameters, *_ = call
        if "tasks.free > 0" in statement and "LIMIT" in statement:
            statements.append((statement, parameters))

    event.listen(session.get_bind(), "before_cursor_execute", remember)
    lease(session, dataset, ann, 3)
    assert statements
    for statement, parameters in statements:
        cursor = session.connection().connection.cursor()
        plan = [row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        assert any("ix_tasks_free" in step for step in plan), plan
        assert not any("TEMP B-TREE" in step or step.startswith("SCAN") for step in plan), plan


def test_giving_back_reads_only_what_expired(session: Session) -> None:
    plan = session.execute(
        text(
            "EXPLAIN QUERY PLAN SELECT id FROM leases WHERE held = 1 AND expires_at <= '2026' "
            "ORDER BY expires_at LIMIT 200"
        )
    )
    assert all("ix_leases_held" in row[3] for row in plan)
