"""Who withdraws does not wait for a training that began before."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from annotator import worker
from annotator.bootstrap import Toolbox
from annotator.cli.installing import install
from annotator.core.config import Settings
from annotator.domain import erasure, jobs
from annotator.models import Job, Subject
from tests.factories import make_dataset, make_face, make_subject
from tests.installation import wait_for


class Queue:
    """Wakes the one worker there is, in turn."""

    def __init__(self) -> None:
        self.woken: list[int] = []

    def wake(self, job_id: int) -> None:
        self.woken.append(job_id)


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Toolbox]:
    settings = Settings(data=tmp_path / "data", job_heartbeat_seconds=0.2)
    tools, _ = install(settings, context="research")
    tools.queue = Queue()
    with tools.transaction() as session:
        dataset = make_dataset(session)
        for _ in range(2):
            make_face(session, tools.vault, make_subject(session, tools.vault, dataset))
    yield tools
    tools.engine.dispose()


def state(tools: Toolbox, kind: str) -> str | None:
    with tools.sessions() as session:
        return session.scalar(select(Job.state).where(Job.kind == kind).order_by(Job.id.desc()))


def test_a_withdrawal_is_done_while_a_training_runs(
    tools: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end, stopping = threading.Event(), threading.Event()

    def train(work: jobs.Work, **_: Any) -> None:
        while not may_end.is_set():
            work.report(1, 1000)
            time.sleep(0.02)

    monkeypatch.setattr(worker, "KINDS", {**worker.KINDS, "train": train})
    with tools.transaction() as session:
        training = jobs.enqueue(session, kind="train", arguments={}).id
        waiting = jobs.enqueue(session, kind="checkpoint", arguments={}).id
    pool = threading.Thread(target=worker.run_job, args=(tools, training))
    before = set(threading.enumerate())
    pool.start()
    try:
        wait_for(lambda: state(tools, "train") == "running")
        with tools.transaction() as session:
            subject = session.get_one(Subject, 1)
            erasure.withdraw_subject(session, subject=subject, by=None)
        worker._start_duties(tools, stopping)
        wait_for(lambda: state(tools, "erase") == "done", 20)
        assert state(tools, "train") == "running"
        assert state(tools, "checkpoint") == "queued"  # what is not urgent waits for its turn
        assert waiting in tools.queue.woken
        with tools.sessions() as session:
            assert erasure.list_withdrawals(session) == []
        assert tools.vault.epochs == (2,)
    finally:
        may_end.set()
        stopping.set()
        for thread in set(threading.enumerate()) - before:
            thread.join()
    assert state(tools, "train") == "done"


def test_what_is_urgent_is_a_kind_of_job_that_there_is() -> None:
    assert {"erase"} == worker.URGENT
    assert worker.KINDS.keys() >= worker.URGENT
