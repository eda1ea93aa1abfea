"""What happens to a job's row; the worker's tests show it at work."""

import datetime as dt

import pytest
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, NotFound
from annotator.domain import jobs
from annotator.models import Dataset, Installation, Job
from tests.factories import make_dataset


@pytest.fixture
def dataset(session: Session) -> Dataset:
    return make_dataset(session)


@pytest.fixture
def job(session: Session, dataset: Dataset) -> Job:
    return jobs.enqueue(session, kind="probe", arguments={"n": 1}, dataset_id=dataset.id)


def test_the_door_is_told_whom_to_wake(session: Session, job: Job) -> None:
    other = jobs.enqueue(session, kind="probe", arguments={})
    assert session.info["jobs"] == [job.id, other.id]
    assert (job.state, job.attempts) == ("queued", 0)


def test_a_job_is_claimed_by_one(session: Session, job: Job) -> None:
    claimed = jobs.claim(session, job_id=job.id)
    assert claimed is not None
    assert (claimed.state, claimed.attempts) == ("running", 1)
    assert jobs.claim(session, job_id=job.id) is None
    assert jobs.claim(session, job_id=4711) is None


def test_a_beat_writes_progress_and_says_whether_to_go_on(session: Session, job: Job) -> None:
    assert not jobs.beat(session, job_id=job.id, done=1, total=2)  # nobody has claimed it
    jobs.claim(session, job_id=job.id)
    assert jobs.beat(session, job_id=job.id, done=1, total=2)
    assert jobs.beat(session, job_id=job.id, done=None, total=None)
    session.refresh(job)
    assert (job.done, job.total) == (1, 2)
    jobs.request_cancel(session, job_id=job.id)
    session.flush()
    assert not jobs.beat(session, job_id=job.id, done=2, total=2)


def test_only_a_running_job_ends(session: Session, job: Job) -> None:
    jobs.finish(session, job_id=job.id, state="done")
    session.refresh(job)
    assert job.state == "queued"
    jobs.claim(session, job_id=job.id)
    jobs.finish(session, job_id=job.id, result={"n": 1})
    session.refresh(job)
    assert (job.state, job.result) == ("done", {"n": 1})
    jobs.finish(session, job_id=job.id, state="failed", error="late")
    session.refresh(job)
    assert (job.state, job.error) == ("done", None)
    with pytest.raises(Conflict):
        jobs.request_cancel(session, job_id=job.id)


def test_a_retried_job_forgets_its_error(session: Session, job: Job) -> None:
    job.error = "before"
    session.flush()
    claimed = jobs.claim(session, job_id=job.id)
    assert claimed is not None
    assert claimed.error is None


def test_a_silent_job_is_put_back_and_then_given_up(session: Session, job: Job) -> None:
    silent = dt.timedelta(seconds=30)
    for attempt in range(1, jobs.MAX_ATTEMPTS + 1):
        jobs.claim(session, job_id=job.id)
        assert jobs.requeue_dead(session, silent_for=silent) == []  # its heart beats
        job.heartbeat_at = now() - dt.timedelta(minutes=1)
        session.flush()
        found = jobs.requeue_dead(session, silent_for=silent)
        assert found == ([job.id] if attempt < jobs.MAX_ATTEMPTS else [])
    assert (job.state, job.error) == ("failed", "The worker died 3 times while doing this.")


def test_jobs_are_listed_newest_first(session: Session, dataset: Dataset, job: Job) -> None:
    other = jobs.enqueue(session, kind="probe", arguments={})
    assert jobs.list_jobs(session) == [other, job]
    assert jobs.list_jobs(session, limit=1) == [other]
    assert jobs.list_jobs(session, dataset_ids=[dataset.id]) == [job]
    assert jobs.list_jobs(session, dataset_ids=[]) == []
    assert jobs.get_job(session, job_id=job.id) is job
    with pytest.raises(NotFound):
        jobs.get_job(session, job_id=4711)


def test_a_daily_job_is_started_by_one_of_two_workers(session: Session) -> None:
    moment = now()
    session.add(Installation(install="x", context="research", created_at=moment))
    session.commit()

    def start(after: dt.timedelta, kind: str, rest: dt.timedelta = dt.timedelta()) -> bool:
        job = jobs.start_daily(session, kind=kind, arguments={}, rest=rest, at=moment + after)
        session.commit()
        return job is not None

    hour = dt.timedelta(hours=1)
    assert [start(hour, "expire"), start(hour, "expire")] == [True, False]
    assert not start(23 * hour, "sweep_blobs", jobs.DAY)
    assert start(24 * hour, "sweep_blobs", jobs.DAY)
    assert not start(23 * hour, "expire")
    assert start(25 * hour, "expire")
