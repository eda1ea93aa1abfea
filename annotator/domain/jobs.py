"""Long work. The row is the truth; the broker only wakes a worker.

A worker claims a job, keeps its heart beating, and ends it. A job whose heart stopped is put back
and run again, so every job function must give the same result when it is run twice.
"""

import datetime as dt
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, NotFound
from annotator.domain.ports import Tools
from annotator.models import Installation, Job

MAX_ATTEMPTS = 3
ENDED = ("done", "failed", "cancelled")
DAY = dt.timedelta(days=1)


class Work(Protocol):
    """What a job function is given by the door that runs it."""

    @property
    def tools(self) -> Tools:
        """The instruments."""

    @property
    def job_id(self) -> int:
        """The job's number."""

    def transaction(self) -> AbstractContextManager[Session]:
        """Opens one transaction, committed when the block ends well."""

    def report(self, done: int, total: int) -> None:
        """Tells how far it is.

        Raises:
            Cancelled: a person stopped the job.
        """


def enqueue(
    session: Session,
    *,
    kind: str,
    arguments: dict[str, Any],
    dataset_id: int | None = None,
    created_by: int | None = None,
) -> Job:
    """Writes a job down. The door wakes a worker once the transaction is committed.

    Args:
        session: the open transaction.
        kind: a name that ``annotator.worker`` knows.
        arguments: ids and other primitives.
        dataset_id: the dataset it belongs to, for those who may see it.
        created_by: the person who asked for it.
    """
    job = Job(kind=kind, arguments=arguments, dataset_id=dataset_id, created_by=created_by)
    session.add(job)
    session.flush()
    session.info.setdefault("jobs", []).append(job.id)
    return job


def start_daily(
    session: Session,
    *,
    kind: str,
    arguments: dict[str, Any],
    rest: dt.timedelta = dt.timedelta(),
    at: dt.datetime | None = None,
) -> Job | None:
    """Writes a job down when the last of its kind is a day old, however that one ended.

    Args:
        session: the open transaction.
        kind: a name that ``annotator.worker`` knows.
        arguments: ids and other primitives.
        rest: how long a new installation is left alone before the first.
        at: the present moment.
    """
    at = at or now()
    # The lock keeps two workers from starting one each.
    made = session.scalar(select(Installation.created_at).with_for_update())
    last = session.scalar(select(func.max(Job.created_at)).where(Job.kind == kind))
    if made is None or at < (last + DAY if last else made + rest):
        return None
    return enqueue(session, kind=kind, arguments=arguments)


def get_job(session: Session, *, job_id: int) -> Job:
    """Finds a job.

    Raises:
        NotFound: there is none with this number.
    """
    job = session.get(Job, job_id)
    if job is None:
        raise NotFound("There is no such job.")
    return job


def claim(session: Session, *, job_id: int) -> Job | None:
    """Takes a queued job for this worker; ``None`` when somebody else was faster or it ended."""
    moment = now()
    taken = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state == "queued")
        .values(
            state="running",
            started_at=moment,
            heartbeat_at=moment,
            attempts=Job.attempts + 1,
            error=None,
        )
        .returning(Job.id)
    ).scalar_one_or_none()
    return None if taken is None else session.get(Job, taken, populate_existing=True)


def beat(session: Session, *, job_id: int, done: int | None, total: int | None) -> bool:
    """Keeps a running job alive and writes its progress.

    Returns:
        Whether it should go on: false when it was cancelled or taken away.
    """
    values: dict[str, Any] = {"heartbeat_at": now()}
    if total is not None:
        values |= {"done": done or 0, "total": total}
    row = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state == "running")
        .values(**values)
        .returning(Job.cancel_requested)
    ).scalar_one_or_none()
    return row is False


def finish(
    session: Session,
    *,
    job_id: int,
    state: str = "done",
    error: str | None = None,
    result: dict[str, Any] | None = None,
) -> None:
    """Ends a running job."""
    values: dict[str, Any] = {"state": state, "error": error, "finished_at": now()}
    if result is not None:
        values["result"] = result
    session.execute(update(Job).where(Job.id == job_id, Job.state == "running").values(**values))


def put_back(session: Session, *, job_id: int) -> None:
    """Returns a running job to the queue, as if it had not been tried."""
    session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state == "running")
        .values(state="queued", attempts=Job.attempts - 1)
    )


def requeue_dead(session: Session, *, silent_for: dt.timedelta) -> list[int]:
    """Puts jobs back whose worker died; gives up on one that has killed too many workers.

    Returns:
        Every job that waits, those put back among them: the wake-up call of any may be lost, and
        one call too many does no harm.
    """
    limit = now() - silent_for
    dead = session.scalars(
        select(Job).where(Job.state == "running", Job.heartbeat_at < limit).with_for_update()
    )
    for job in dead:
        if job.attempts >= MAX_ATTEMPTS:
            job.state, job.finished_at = "failed", now()
            job.error = f"The worker died {job.attempts} times while doing this."
        else:
            job.state = "queued"
    session.flush()
    return list(session.scalars(select(Job.id).where(Job.state == "queued").order_by(Job.id)))


def request_cancel(session: Session, *, job_id: int) -> Job:
    """Stops a job: at once when it waits, at its next step when it runs.

    Raises:
        Conflict: it has ended already.
    """
    job = get_job(session, job_id=job_id)
    if job.state in ENDED:
        raise Conflict("This job has ended already.")
    if job.state == "queued":
        job.state, job.finished_at = "cancelled", now()
    job.cancel_requested = True
    return job


def list_jobs(
    session: Session, *, dataset_ids: list[int] | None = None, limit: int = 50
) -> list[Job]:
    """The newest jobs first; those of some datasets, or all."""
    query = select(Job).order_by(Job.id.desc()).limit(limit)
    if dataset_ids is not None:
        query = query.where(Job.dataset_id.in_(dataset_ids))
    return list(session.scalars(query))
