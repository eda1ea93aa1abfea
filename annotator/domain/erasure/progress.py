"""Withdrawals that are not finished yet: seen by people, and taken up again by workers."""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.domain import jobs
from annotator.models import Erasure, Job, Subject

FIRST_PAUSE = dt.timedelta(seconds=10)  # after a failure; twice as long after each further one
LONGEST_PAUSE = dt.timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Pending:
    """A withdrawal on its way. It is in force already; only remains are still being destroyed.

    Attributes:
        id: its number.
        subject_id: who withdrew.
        dataset_id: the dataset that they are in.
        purposes: what they took back; with ``store`` it is everything.
        step: what is done next: ``note`` (tell the ledger), ``blobs`` (delete sealed bytes),
            ``journal`` (empty the database's journal), ``epoch`` (renew everybody else's keys),
            ``close`` (journal and ledger once more).
        since: when they withdrew.
        attempts: how often it was begun.
        error: why it failed last; ``None`` when it did not.
        retry_at: when it is tried again, should the attempt that runs fail or have failed.
    """

    id: int
    subject_id: int
    dataset_id: int
    purposes: tuple[str, ...]
    step: str
    since: dt.datetime
    attempts: int
    error: str | None
    retry_at: dt.datetime | None


def list_withdrawals(session: Session) -> list[Pending]:
    """Every withdrawal that is not finished, the oldest first."""
    rows = session.execute(
        select(Erasure, Subject.dataset_id, Job.error)
        .join(Subject, Subject.id == Erasure.subject_id)
        .outerjoin(Job, Job.id == Erasure.job_id)
        .where(Erasure.finished_at.is_(None))
        .order_by(Erasure.id)
    )
    return [
        Pending(
            id=row.id,
            subject_id=row.subject_id,
            dataset_id=dataset_id,
            purposes=tuple(row.purposes),
            step=row.step,
            since=row.created_at,
            attempts=row.attempts,
            error=failure or row.error,
            retry_at=row.retry_at,
        )
        for row, dataset_id, failure in rows
    ]


def resume_withdrawals(session: Session, *, at: dt.datetime | None = None) -> list[Job]:
    """Starts a job for every unfinished withdrawal that has none and whose pause is over.

    A job may have failed, been cancelled, or been given up after its worker died again and again;
    a withdrawal is never given up.

    Args:
        session: the open transaction.
        at: the present moment.
    """
    at = at or now()
    alive = select(Job.id).where(Job.id == Erasure.job_id, Job.state.not_in(jobs.ENDED))
    waiting = session.scalars(
        select(Erasure)
        .where(
            Erasure.finished_at.is_(None),
            or_(Erasure.retry_at.is_(None), Erasure.retry_at <= at),
            ~alive.exists(),
        )
        .order_by(Erasure.id)
        .with_for_update(skip_locked=True)
    )
    started = []
    for erasure in waiting:
        if erasure.job_id is not None:
            erasure.error = jobs.get_job(session, job_id=erasure.job_id).error or erasure.error
        job = jobs.enqueue(session, kind="erase", arguments={"erasure_id": erasure.id})
        erasure.job_id = job.id
        started.append(job)
    return started


def pause_after(attempts: int) -> dt.timedelta:
    """How long a withdrawal rests after so many failures."""
    return min(FIRST_PAUSE * (1 << min(attempts - 1, 20)), LONGEST_PAUSE)
