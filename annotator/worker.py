"""One Celery worker: takes a job's number, runs the job's function, writes down how it ended.

A failed fsync ends the process at once, as a power cut would: what was written before may be lost,
so nothing is written on top. Whoever supervises it starts it again; the sweep puts its job back.
"""

import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn

from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.bootstrap.queue import QUEUE, TASK, make_celery
from annotator.core.db import explain
from annotator.core.errors import AnnotatorError, Cancelled, SyncFailed
from annotator.domain import (
    audit,
    curation,
    erasure,
    exports,
    jobs,
    keys,
    labelling,
    prediction,
    redaction,
    retention,
    training,
    upkeep,
)

log = logging.getLogger(__name__)

KINDS: Mapping[str, Callable[..., dict[str, Any] | None]] = {
    "intake": redaction.process_images,
    "redact": redaction.redact_image,
    "tasks": labelling.open_tasks,
    "predict": prediction.predict_faces,
    "cluster": curation.cluster_faces,
    "export": exports.build_export,
    "train": training.train_model,
    "erase": erasure.finish_withdrawal,
    "renew_epoch": erasure.renew_epoch,
    "sweep_blobs": upkeep.sweep_storage,
    "checkpoint": audit.checkpoint_log,
    "expire": retention.sweep_consents,
    "rekey_subject": keys.rekey_subject,
}
URGENT = frozenset({"erase"})
# What begins by itself when its time has come; each looks whether it has.
DUE: Sequence[Callable[[Session], object]] = (
    erasure.resume_withdrawals,
    retention.start_daily_sweep,
    upkeep.start_daily_sweep,
)
SILENT_BEATS = 3  # a worker whose heart missed this many beats is dead
REPORT_SECONDS = 0.5  # progress is written at most this often
UNEXPECTED = "Something unexpected went wrong; the worker's log has the details."


class Interrupted(Exception):
    """The worker is asked to stop; its job goes back to the queue."""


class Running:
    """A job in this worker: see ``annotator.domain.jobs.Work``."""

    def __init__(
        self,
        tools: Toolbox,
        job_id: int,
        stopping: threading.Event,
        on_report: Callable[[int, int], None] | None = None,
    ) -> None:
        self.tools = tools
        self.job_id = job_id
        self._stopping = stopping
        self._on_report = on_report
        self._told = 0.0
        self._progress: tuple[int | None, int | None] = (None, None)
        self._gone = threading.Event()
        self._broken = threading.Event()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """One transaction that writes."""
        with self.tools.transaction() as session:
            yield session

    def report(self, done: int, total: int) -> None:
        """Writes progress down, seldom enough not to be the work itself."""
        self._progress = (done, total)
        if self._on_report is not None:
            self._on_report(done, total)
        if done == total or time.monotonic() - self._told >= REPORT_SECONDS:
            self._told = time.monotonic()
            self.beat()
        if self._broken.is_set():
            raise SyncFailed
        if self._stopping.is_set():
            raise Interrupted
        if self._gone.is_set():
            raise Cancelled

    def beat(self) -> None:
        """One heartbeat; learns whether somebody cancelled the job."""
        done, total = self._progress
        with self.tools.transaction() as session:
            if not jobs.beat(session, job_id=self.job_id, done=done, total=total):
                self._gone.set()

    @contextmanager
    def heart(self, seconds: float) -> Iterator[None]:
        """Beats in the background as long as the block runs."""
        stopped = threading.Event()

        def run() -> None:
            while not stopped.wait(seconds):
                try:
                    self.beat()
                except Exception as failure:
                    # The next beat may succeed; if none does, the job is found dead.
                    if is_sync_failure(failure):
                        self._broken.set()
                    log.exception("a heartbeat of job %d failed", self.job_id)

        thread = threading.Thread(target=run, name=f"heart-{self.job_id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()


def run_job(
    tools: Toolbox,
    job_id: int,
    *,
    stopping: threading.Event | None = None,
    on_report: Callable[[int, int], None] | None = None,
) -> bool:
    """Runs a queued job to its end.

    Args:
        tools: the instruments.
        job_id: which one.
        stopping: set from outside when this process should end soon.
        on_report: is told every progress, done and total.

    Returns:
        False when there was nothing to do: the job is not queued (any more).

    Raises:
        SyncFailed: an fsync failed; the job is left as that of a dead worker.
    """
    with tools.transaction() as session:
        job = jobs.claim(session, job_id=job_id)
        if job is None:
            return False
        kind, arguments = job.kind, dict(job.arguments)
    running = Running(tools, job_id, stopping or threading.Event(), on_report)
    state, error, result = "done", None, None
    try:
        with running.heart(tools.settings.job_heartbeat_seconds):
            result = KINDS[kind](running, **arguments)
    except Interrupted:
        with tools.transaction() as session:
            jobs.put_back(session, job_id=job_id)
        return True
    except SyncFailed:
        raise
    except Cancelled:
        state = "cancelled"
    except AnnotatorError as failure:
        state, error = "failed", failure.message
    except Exception as failure:
        log.exception("job %d (%s) failed", job_id, kind)
        known = explain(failure)
        if isinstance(known, SyncFailed):
            raise known from failure
        state, error = "failed", known.message if known else UNEXPECTED
    with tools.transaction() as session:
        jobs.finish(session, job_id=job_id, state=state, error=error, result=result)
    return True


def is_sync_failure(failure: Exception) -> bool:
    """Whether it says that an fsync failed, of the vault or of the database."""
    return isinstance(failure, SyncFailed) or isinstance(explain(failure), SyncFailed)


def stop_at_once() -> NoReturn:
    """Ends this process without another write."""
    log.critical("an fsync failed: this worker stops; check the disk")
    logging.shutdown()
    os._exit(1)


def sweep_jobs(tools: Toolbox) -> list[int]:
    """Puts jobs of dead workers back and starts what is due; returns all jobs that wait."""
    silent = timedelta(seconds=SILENT_BEATS * tools.settings.job_heartbeat_seconds)
    with tools.transaction() as session:
        for start in DUE:
            start(session)
        return jobs.requeue_dead(session, silent_for=silent)


def is_urgent(tools: Toolbox, job_id: int) -> bool:
    """Whether a waiting job must not wait for a long one, such as a training, to end."""
    with tools.sessions() as session:
        return jobs.get_job(session, job_id=job_id).kind in URGENT


def serve(tools: Toolbox) -> None:
    """Works until the process is asked to stop."""
    app = make_celery(tools.settings)
    stopping = threading.Event()

    @app.task(name=TASK)  # type: ignore[untyped-decorator]
    def run(job_id: int) -> None:
        if stopping.is_set():
            return
        try:
            run_job(tools, job_id, stopping=stopping)
        except Exception as failure:
            if is_sync_failure(failure):
                stop_at_once()
            raise
        if tools.broken:  # where it was noticed, an answer could still be given without the disk
            stop_at_once()

    previous: dict[int, Any] = {}

    def stop(number: int, frame: Any) -> None:
        # Celery's own handler waits for the task; the event makes the task end at its next step.
        stopping.set()
        previous[number](number, frame)

    def start_sweeping(**_: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            previous[number] = signal.getsignal(number)
            signal.signal(number, stop)
        _start_duties(tools, stopping)

    from celery.platforms import SecurityWarning  # noqa: PLC0415 - see bootstrap.queue
    from celery.signals import worker_ready  # noqa: PLC0415 - likewise

    # It warns of pickled messages from strangers; ours are numbers in JSON.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    worker_ready.connect(start_sweeping, weak=False)
    app.worker_main(
        [
            "--quiet",
            "worker",
            "--pool=solo",
            f"--queues={QUEUE}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel=WARNING",
        ]
    )


def _start_duties(tools: Toolbox, stopping: threading.Event) -> None:
    """What a worker does besides the jobs that it is woken for, each in a thread of its own."""
    duties = (
        (
            partial(_wake_waiting, tools, stopping),
            SILENT_BEATS * tools.settings.job_heartbeat_seconds,
            "looking for lost jobs failed",
        ),
        (partial(_sign_log, tools), tools.settings.checkpoint_seconds, "signing the log failed"),
    )
    for step, every, trouble in duties:
        named = {"every": every, "stopping": stopping, "trouble": trouble}
        threading.Thread(target=_repeat, args=(step,), kwargs=named, daemon=True).start()


def _repeat(
    step: Callable[[], None], *, every: float, stopping: threading.Event, trouble: str
) -> None:
    """Does something again and again, whatever went wrong: it may be over the next time."""
    while True:
        try:
            step()
        except Exception as failure:
            log.exception(trouble)
            if is_sync_failure(failure):
                stop_at_once()
        if stopping.wait(every):
            return


def _wake_waiting(tools: Toolbox, stopping: threading.Event) -> None:
    """Finds jobs whose worker died or whose wake-up call was lost, also those from before."""
    for job_id in sweep_jobs(tools):
        if is_urgent(tools, job_id):
            run_job(tools, job_id, stopping=stopping)
        else:
            tools.queue.wake(job_id)


def _sign_log(tools: Toolbox) -> None:
    """Signs the log, and hands what was signed to the witness."""
    done = audit.mirror_log(tools.transaction, tools=tools)
    if done.problem:
        log.warning("the witness lacks a checkpoint: %s", done.problem)


if __name__ == "__main__":
    sys.exit("Start the worker with: python3 manage.py worker")
