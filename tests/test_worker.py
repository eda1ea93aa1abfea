"""What becomes of jobs: done, failed, cancelled, interrupted, lost."""

import datetime as dt
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from annotator import worker
from annotator.bootstrap import Toolbox
from annotator.core.config import Settings
from annotator.core.db import Base, now
from annotator.core.errors import Conflict, SyncFailed
from annotator.domain import jobs, retention
from annotator.models import Installation, Job


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Toolbox]:
    box = Toolbox(Settings(data=tmp_path))
    box.queue = SilentQueue()
    Base.metadata.create_all(box.engine)
    yield box
    box.engine.dispose()


class SilentQueue:
    def __init__(self) -> None:
        self.woken: list[int] = []

    def wake(self, job_id: int) -> None:
        self.woken.append(job_id)


def start(tools: Toolbox, monkeypatch: pytest.MonkeyPatch, function: Any) -> int:
    monkeypatch.setattr(worker, "KINDS", {"probe": function})
    with tools.transaction() as session:
        return jobs.enqueue(session, kind="probe", arguments={"times": 3}).id


def read(tools: Toolbox, job_id: int) -> Job:
    with tools.sessions() as session:
        return jobs.get_job(session, job_id=job_id)


def test_a_worker_is_woken_once_the_row_is_committed(tools: Toolbox) -> None:
    with tools.transaction() as session:
        job = jobs.enqueue(session, kind="probe", arguments={})
        assert tools.queue.woken == []
    assert tools.queue.woken == [job.id]


def test_a_rolled_back_job_wakes_nobody(tools: Toolbox) -> None:
    def fail() -> None:
        with tools.transaction() as session:
            jobs.enqueue(session, kind="probe", arguments={})
            raise Conflict

    with pytest.raises(Conflict):
        fail()
    assert tools.queue.woken == []
    with tools.sessions() as session:
        assert jobs.list_jobs(session) == []


def test_a_job_runs_to_its_end(tools: Toolbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(work: jobs.Work, *, times: int) -> dict[str, int]:
        for step in range(times):
            work.report(step + 1, times)
        return {"steps": times}

    job_id = start(tools, monkeypatch, probe)
    seen: list[tuple[int, int]] = []
    assert worker.run_job(tools, job_id, on_report=lambda done, total: seen.append((done, total)))
    job = read(tools, job_id)
    assert (job.state, job.done, job.total, job.result) == ("done", 3, 3, {"steps": 3})
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_job_runs_once(tools: Toolbox, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    job_id = start(tools, monkeypatch, lambda _work, **_: runs.append(1))
    assert worker.run_job(tools, job_id)
    assert not worker.run_job(tools, job_id)
    assert runs == [1]


def test_our_own_sentence_reaches_the_row(tools: Toolbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(_work: jobs.Work, **_: Any) -> None:
        raise Conflict("There is no cat.")

    job_id = start(tools, monkeypatch, probe)
    worker.run_job(tools, job_id)
    job = read(tools, job_id)
    assert (job.state, job.error) == ("failed", "There is no cat.")


def test_a_surprise_is_told_without_its_details(
    tools: Toolbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def probe(_work: jobs.Work, **_: Any) -> None:
        raise ZeroDivisionError("secret path /root")

    job_id = start(tools, monkeypatch, probe)
    worker.run_job(tools, job_id)
    job = read(tools, job_id)
    assert job.state == "failed"
    assert "secret" not in (job.error or "")
    assert "secret path" in caplog.text


def test_a_cancelled_job_stops_at_its_next_step(
    tools: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []

    def probe(work: jobs.Work, *, times: int) -> None:
        for step in range(times):
            steps.append(step)
            with work.transaction() as session:
                jobs.request_cancel(session, job_id=work.job_id)
            monkeypatch.setattr(worker, "REPORT_SECONDS", 0)
            work.report(step + 1, times)

    job_id = start(tools, monkeypatch, probe)
    worker.run_job(tools, job_id)
    assert read(tools, job_id).state == "cancelled"
    assert steps == [0]


def test_a_waiting_job_is_cancelled_at_once(
    tools: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = start(tools, monkeypatch, lambda _work, **_: None)
    with tools.transaction() as session:
        jobs.request_cancel(session, job_id=job_id)
    assert read(tools, job_id).state == "cancelled"
    assert not worker.run_job(tools, job_id)
    with pytest.raises(Conflict), tools.transaction() as session:
        jobs.request_cancel(session, job_id=job_id)


def test_a_worker_that_is_asked_to_stop_puts_its_job_back(
    tools: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping = threading.Event()

    def probe(work: jobs.Work, *, times: int) -> None:
        stopping.set()
        work.report(1, times)

    job_id = start(tools, monkeypatch, probe)
    worker.run_job(tools, job_id, stopping=stopping)
    job = read(tools, job_id)
    assert (job.state, job.attempts) == ("queued", 0)


def make_dead(tools: Toolbox, job_id: int, attempts: int) -> None:
    with tools.transaction() as session:
        jobs.claim(session, job_id=job_id)
        job = session.get_one(Job, job_id)
        job.attempts = attempts
        job.heartbeat_at = now() - dt.timedelta(hours=1)


def test_the_job_of_a_dead_worker_is_found(tools: Toolbox, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = start(tools, monkeypatch, lambda _work, **_: None)
    make_dead(tools, job_id, attempts=1)
    assert worker.sweep_jobs(tools) == [job_id]
    assert worker.run_job(tools, job_id)
    assert read(tools, job_id).state == "done"


def test_a_job_that_kills_its_workers_is_given_up(
    tools: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = start(tools, monkeypatch, lambda _work, **_: None)
    make_dead(tools, job_id, attempts=jobs.MAX_ATTEMPTS)
    assert worker.sweep_jobs(tools) == []
    job = read(tools, job_id)
    assert job.state == "failed"
    assert "died 3 times" in (job.error or "")


def test_a_job_with_a_heart_is_left_alone(tools: Toolbox, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def probe(_work: jobs.Work, **_: Any) -> None:
        found.extend(worker.sweep_jobs(tools))

    job_id = start(tools, monkeypatch, probe)
    worker.run_job(tools, job_id)
    assert found == []
    assert read(tools, job_id).state == "done"


def test_a_lost_job_cannot_be_ended_by_its_old_worker(
    tools: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probe(work: jobs.Work, **_: Any) -> None:
        with work.transaction() as session:
            session.get_one(Job, work.job_id).state = "queued"  # what the sweeper does

    job_id = start(tools, monkeypatch, probe)
    worker.run_job(tools, job_id)
    assert read(tools, job_id).state == "queued"


def test_a_failed_fsync_leaves_the_job_to_the_next_worker(
    tools: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(work: Any, times: int) -> None:
        raise SyncFailed

    job_id = start(tools, monkeypatch, fail)
    with pytest.raises(SyncFailed):
        worker.run_job(tools, job_id)
    assert read(tools, job_id).state == "running"  # as that of a worker that was killed


def sqlite_error(code: int) -> DBAPIError:
    cause = sqlite3.OperationalError("disk I/O error")
    cause.sqlite_errorcode = code
    return DBAPIError("COMMIT", None, cause)


def test_a_failed_fsync_of_the_database_counts_as_one(
    tools: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(work: Any, times: int) -> None:
        raise sqlite_error(sqlite3.SQLITE_IOERR_FSYNC)

    job_id = start(tools, monkeypatch, fail)
    with pytest.raises(SyncFailed):
        worker.run_job(tools, job_id)
    assert not worker.is_sync_failure(sqlite_error(sqlite3.SQLITE_IOERR_READ))


def test_a_heartbeat_that_could_not_be_synced_ends_the_job(
    tools: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work_on(work: Any, times: int) -> None:
        def beat() -> None:
            raise sqlite_error(sqlite3.SQLITE_IOERR_FSYNC)

        monkeypatch.setattr(work, "beat", beat)
        with work.heart(0.01):
            while True:
                time.sleep(0.02)
                work._told = time.monotonic()  # not yet time to beat by itself
                work.report(0, 1)

    job_id = start(tools, monkeypatch, work_on)
    with pytest.raises(SyncFailed):
        worker.run_job(tools, job_id)


def test_the_closing_of_consents_is_planned_once_a_day_and_done(tools: Toolbox) -> None:
    with tools.transaction() as session:
        session.add(Installation(install="test", context="research"))
    for _ in range(3):  # a worker looks every few seconds
        worker.sweep_jobs(tools)
    with tools.sessions() as session:
        (planned,) = [job.id for job in jobs.list_jobs(session) if job.kind == retention.KIND]
    assert worker.run_job(tools, planned)
    assert read(tools, planned).result == {"expired": 0, "erased": 0}
    worker.sweep_jobs(tools)
    with tools.transaction() as session:
        again = [job for job in jobs.list_jobs(session) if job.kind == retention.KIND]
        assert [job.id for job in again] == [planned]
        again[0].created_at = now() - 1.01 * jobs.DAY
    worker.sweep_jobs(tools)
    with tools.sessions() as session:
        kinds = [job.kind for job in jobs.list_jobs(session)]
    assert kinds.count(retention.KIND) == 2
