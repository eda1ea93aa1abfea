"""What is left of a withdrawal is done by the worker, whatever went wrong before."""

import datetime as dt
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Busy, Cancelled, KeyDestroyed, StorageFull
from annotator.domain import consent, erasure, jobs
from annotator.domain.erasure import keys, steps
from annotator.models import AuditEntry, Dataset, Erasure, Job, Subject
from tests.factories import make_dataset, make_face, make_subject
from tests.fakes import FakeTools, FakeVault, FakeWork, WritingWork

PEOPLE = 5


@pytest.fixture
def dataset(session: Session, vault: FakeVault) -> Dataset:
    return make_dataset(session)


@pytest.fixture
def people(session: Session, vault: FakeVault, dataset: Dataset) -> list[Subject]:
    subjects = [make_subject(session, vault, dataset) for _ in range(PEOPLE)]
    for subject in subjects:
        make_face(session, vault, subject)
    session.commit()
    return subjects


def withdraw(session: Session, subject: Subject, *purposes: str) -> dict[str, Any]:
    """Answers the job's arguments."""
    done = erasure.withdraw_purposes(
        session, subject=subject, purposes=purposes or ("store",), by=None
    )
    session.commit()
    return dict(done.job.arguments)


def failing(call: Any, times: int) -> Any:
    """Says so often that the disk is full, then does it."""
    left = [StorageFull()] * times

    def fail(*arguments: Any, **more: Any) -> Any:
        if left:
            raise left.pop()
        return call(*arguments, **more)

    return fail


def test_a_withdrawal_is_seen_until_it_is_finished(
    session: Session, work: FakeWork, dataset: Dataset, people: list[Subject]
) -> None:
    arguments = withdraw(session, people[0])
    (seen,) = erasure.list_withdrawals(session)
    assert (seen.subject_id, seen.dataset_id, seen.step) == (people[0].id, dataset.id, "note")
    assert (seen.attempts, seen.error, seen.retry_at) == (0, None, None)
    assert "store" in seen.purposes
    assert now() - seen.since < dt.timedelta(minutes=1)
    session.commit()
    erasure.finish_withdrawal(work, **arguments)
    assert erasure.list_withdrawals(session) == []
    entry = session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc()).limit(1)).one()
    assert (entry.action, entry.actor) == ("erasure.finished", "worker")
    assert entry.details == {"epoch": 1}  # and nobody's number


def test_the_ledger_knows_who_when_and_which_epoch(
    session: Session, work: FakeWork, people: list[Subject]
) -> None:
    arguments = withdraw(session, people[0])
    erasure.finish_withdrawal(work, **arguments)
    erasure.finish_withdrawal(work, **arguments)
    at = session.scalars(select(Erasure.created_at)).one().isoformat()
    (first, second) = work.tools.ledger.read()
    assert first["what"], second["what"] == ("withdrawn", "destroyed")
    assert {(line["subject"], line["at"], line["epoch"]) for line in (first, second)} == {
        (people[0].uid, at, 1)
    }


def test_a_purpose_taken_back_is_told_to_the_ledger_and_destroys_no_key(
    session: Session, work: FakeWork, vault: FakeVault, people: list[Subject]
) -> None:
    erasure.finish_withdrawal(work, **withdraw(session, people[0], "label", "train"))
    (line,) = work.tools.ledger.read()
    assert (line["purposes"], line["epoch"]) == (["label", "train"], None)
    assert vault.epochs == {1}
    assert erasure.list_withdrawals(session) == []


def test_whoever_did_it_is_named_in_the_log(session: Session, people: list[Subject]) -> None:
    erasure.withdraw_purposes(
        session, subject=people[0], purposes=["train"], by=None, actor="subject"
    )
    erasure.withdraw_subject(session, subject=people[0], by=None, actor="subject")
    session.commit()
    actors = {
        entry.action: entry.actor
        for entry in session.scalars(select(AuditEntry))
        if entry.action in {"consent.withdrawn", "subject.erased"}
    }
    assert actors == {"consent.withdrawn": "subject", "subject.erased": "subject"}


@pytest.mark.parametrize("step", ["ledger", "blobs", "journal", "epoch"])
def test_what_failed_is_done_by_the_next_attempt(
    *,
    session: Session,
    work: FakeWork,
    vault: FakeVault,
    people: list[Subject],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    targets: dict[str, tuple[Any, str]] = {
        "ledger": (work.tools.ledger, "append"),
        "blobs": (vault, "delete_blob"),
        "journal": (steps, "empty_journal"),
        "epoch": (vault, "rotate"),
    }
    arguments = withdraw(session, people[0])
    target, name = targets[step]
    times = 4 if step == "blobs" else 2  # two of them, in two steps
    monkeypatch.setattr(target, name, failing(getattr(target, name), times=times))
    with pytest.raises(StorageFull):
        erasure.finish_withdrawal(work, **arguments)
    session.rollback()
    (seen,) = erasure.list_withdrawals(session)
    assert (seen.attempts, seen.step) == (1, "epoch" if step == "epoch" else "close")
    if step != "epoch":  # what can be done is done: the key is dead all the same
        assert vault.epochs == {2}
    session.commit()
    monkeypatch.undo()
    erasure.finish_withdrawal(work, **arguments)
    assert erasure.list_withdrawals(session) == []
    assert vault.epochs == {2}
    assert not [blob for blob, (bound, _) in vault.blobs.items() if bound[0] == people[0].uid]
    assert len(work.tools.ledger.read()) == 2


def test_one_blob_that_does_not_go_keeps_no_other(
    session: Session,
    work: FakeWork,
    vault: FakeVault,
    people: list[Subject],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = withdraw(session, people[0])
    first, *rest = session.scalars(select(Erasure.blobs)).one()
    session.commit()
    delete = vault.delete_blob

    def stubborn(blob: str) -> None:
        if blob == first:
            raise StorageFull
        delete(blob)

    monkeypatch.setattr(vault, "delete_blob", stubborn)
    with pytest.raises(StorageFull):
        erasure.finish_withdrawal(work, **arguments)
    assert rest
    assert not set(rest) & set(vault.blobs)
    assert session.scalars(select(Erasure.blobs)).one() == [first]
    session.commit()
    monkeypatch.undo()
    erasure.finish_withdrawal(work, **arguments)
    assert first not in vault.blobs
    session.expire_all()
    assert session.scalars(select(Erasure.blobs)).one() == []


# Taken up again


@pytest.mark.parametrize("state", ["failed", "cancelled", "done"])
def test_a_job_that_ended_without_the_withdrawal_is_followed_by_another(
    session: Session, people: list[Subject], state: str
) -> None:
    withdraw(session, people[0])
    job = session.scalars(select(Job).where(Job.kind == "erase")).one()
    assert erasure.resume_withdrawals(session) == []  # it waits still
    job.state, job.error = state, "The disk is full." if state == "failed" else None
    session.commit()
    (again,) = erasure.resume_withdrawals(session)
    session.commit()
    assert (again.kind, again.state) == ("erase", "queued")
    assert again.arguments == job.arguments
    assert erasure.resume_withdrawals(session) == []
    (seen,) = erasure.list_withdrawals(session)
    assert seen.error == job.error


def test_it_rests_longer_after_every_failure(
    session: Session,
    work: FakeWork,
    vault: FakeVault,
    people: list[Subject],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = withdraw(session, people[0])
    monkeypatch.setattr(vault, "rotate", failing(vault.rotate, times=99))
    pauses = []
    for _ in range(3):
        with pytest.raises(StorageFull):
            erasure.finish_withdrawal(work, **arguments)
        session.rollback()
        job = session.scalars(select(Job).order_by(Job.id.desc()).limit(1)).one()
        job.state = "failed"
        (seen,) = erasure.list_withdrawals(session)
        assert seen.retry_at is not None
        pauses.append((seen.retry_at - now()).total_seconds())
        assert erasure.resume_withdrawals(session) == []
        assert len(erasure.resume_withdrawals(session, at=seen.retry_at)) == 1
        session.commit()
    assert [round(pause, -1) for pause in pauses] == [10, 20, 40]
    assert erasure.progress.pause_after(50) == dt.timedelta(minutes=30)


def test_a_cancelled_one_goes_on(
    session: Session, work: FakeWork, vault: FakeVault, people: list[Subject]
) -> None:
    arguments = withdraw(session, people[0])
    work.cancel_at = 1
    with pytest.raises(Cancelled):
        erasure.finish_withdrawal(work, **arguments)
    work.cancel_at = None
    erasure.finish_withdrawal(work, **arguments)
    assert vault.epochs == {3}  # an epoch that was begun is never gone on with


# Several at once


def test_two_withdrawals_share_one_epoch_when_both_came_before_it(
    session: Session, work: FakeWork, vault: FakeVault, people: list[Subject]
) -> None:
    both = [withdraw(session, people[number]) for number in (0, 1)]
    for arguments in both:
        erasure.finish_withdrawal(work, **arguments)
    assert vault.epochs == {2}
    assert erasure.list_withdrawals(session) == []
    subjects = [line["subject"] for line in work.tools.ledger.read() if line["what"] == "destroyed"]
    assert subjects == [people[0].uid, people[1].uid]


def test_one_that_comes_while_keys_are_renewed_gets_an_epoch_of_its_own(
    session: Session,
    work: FakeWork,
    vault: FakeVault,
    people: list[Subject],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A key that was wrapped under the new epoch already has to die with it."""
    monkeypatch.setattr(keys, "BATCH", 2)
    first, late = withdraw(session, people[0]), list[dict[str, Any]]()

    def withdraw_meanwhile(done: int, total: int) -> None:
        if not late:
            session.rollback()
            subject = session.get_one(Subject, people[1].id, populate_existing=True)
            assert subject.key_epoch == 2
            late.append(withdraw(session, subject))

    monkeypatch.setattr(work, "report", withdraw_meanwhile)
    erasure.finish_withdrawal(work, **first)
    assert vault.epochs == {2}
    assert session.get_one(Erasure, late[0]["erasure_id"]).epoch == 2
    session.commit()
    erasure.finish_withdrawal(work, **late[0])
    assert vault.epochs == {3}
    with Session(work.engine) as fresh:
        assert set(fresh.scalars(select(Subject.key_epoch))) == {None, 3}


def test_two_workers_at_once_do_no_harm(
    session: Session, engine: Engine, tools: FakeTools, people: list[Subject]
) -> None:
    both = [withdraw(session, people[number]) for number in (0, 1)]
    failures: list[Exception] = []

    def finish(arguments: dict[str, Any]) -> None:
        try:
            erasure.finish_withdrawal(WritingWork(engine, tools), **arguments)
        except Exception as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=finish, args=(each,)) for each in (*both, *both)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert erasure.list_withdrawals(session) == []
    finished = select(AuditEntry).where(AuditEntry.action == "erasure.finished")
    assert len(session.scalars(finished).all()) == len(both)
    (epoch,) = tools.vault.epochs
    assert set(session.scalars(select(Subject.key_epoch))) == {None, epoch}


def test_a_slow_worker_takes_no_step_back(
    session: Session,
    work: FakeWork,
    vault: FakeVault,
    people: list[Subject],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = withdraw(session, people[0])
    append, begun = work.tools.ledger.append, list[int]()

    def overtaken(record: Any) -> None:
        begun.append(1)
        if len(begun) == 1:  # the other one does all of it while this one notes
            erasure.finish_withdrawal(work, **arguments)
        append(record)

    monkeypatch.setattr(work.tools.ledger, "append", overtaken)
    erasure.finish_withdrawal(work, **arguments)
    finished = select(AuditEntry).where(AuditEntry.action == "erasure.finished")
    assert len(session.scalars(finished).all()) == 1
    assert session.scalars(select(Erasure.step)).one() == "done"
    assert vault.epochs == {2}


def test_a_key_that_does_not_open_stops_nobody_s_withdrawal(
    session: Session, work: FakeWork, vault: FakeVault, people: list[Subject]
) -> None:
    people[1].wrapped_key = b"damaged"
    session.commit()
    erasure.finish_withdrawal(work, **withdraw(session, people[0]))
    assert vault.epochs == {2}
    entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "keys.renewed")).one()
    assert entry.details == {"epoch": 2, "keys": PEOPLE - 2, "damaged": 1}
    with pytest.raises(KeyDestroyed):
        vault._check(people[1].uid, consent.key_of(vault, people[1]))


def test_keys_in_another_place_of_the_row_die_and_are_renewed_too() -> None:
    assert keys.PLACES[0] == ("wrapped_key", "key_epoch", "key_version")
    named = {column.name for column in Subject.__table__.columns}
    for place in keys.PLACES:
        assert {place.wrapped, place.epoch, place.version} <= named
    assert {name for name in named if "wrapped" in name} == {p.wrapped for p in keys.PLACES}


# The journal


@contextmanager
def looking(path: str) -> Iterator[None]:
    """Somebody who looks at the old state."""
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM subjects").fetchone()
        yield


def test_a_reader_delays_the_end_but_not_the_epoch(
    *,
    session: Session,
    work: FakeWork,
    vault: FakeVault,
    people: list[Subject],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps, "SHORT", 0.05)
    monkeypatch.setattr(steps, "LONG", 0.05)
    path = str(tmp_path / "test.sqlite")
    with looking(path):
        arguments = withdraw(session, people[0])
        with pytest.raises(Busy, match="tried again"):
            erasure.finish_withdrawal(work, **arguments)
        assert vault.epochs == {2}
        session.rollback()
        assert erasure.list_withdrawals(session)[0].step == "close"
        session.commit()
    erasure.finish_withdrawal(work, **arguments)
    assert erasure.list_withdrawals(session) == []


def test_the_journal_is_empty_when_it_is_done(
    session: Session, work: FakeWork, people: list[Subject], tmp_path: Path
) -> None:
    wrapped = bytes(people[0].wrapped_key or b"")
    path = tmp_path / "test.sqlite"
    log = path.with_name("test.sqlite-wal")
    assert wrapped in log.read_bytes() + path.read_bytes()
    erasure.finish_withdrawal(work, **withdraw(session, people[0]))
    assert wrapped not in log.read_bytes() + path.read_bytes()


def test_its_job_cannot_be_lost(session: Session, people: list[Subject]) -> None:
    """A worker that dies again and again is given up; the withdrawal is not."""
    withdraw(session, people[0])
    for _ in range(jobs.MAX_ATTEMPTS):
        job = session.scalars(select(Job).where(Job.state == "queued")).one()
        assert jobs.claim(session, job_id=job.id)
        job.heartbeat_at = now() - dt.timedelta(hours=1)
        session.flush()
        jobs.requeue_dead(session, silent_for=dt.timedelta(seconds=1))
    assert session.scalars(select(Job.state).where(Job.kind == "erase")).all() == ["failed"]
    assert len(erasure.resume_withdrawals(session)) == 1
