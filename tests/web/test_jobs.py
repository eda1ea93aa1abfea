from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.core.db import now
from annotator.domain import jobs
from annotator.models import Dataset, Job
from annotator.web.jobs import KIND_WORDS
from annotator.worker import KINDS

SignIn = Callable[[str], FlaskClient]
MakeDataset = Callable[..., Dataset]


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    return make_dataset("curator", "annotator")


@pytest.fixture
def job(toolbox: Toolbox, dataset: Dataset) -> Job:
    with toolbox.transaction() as session:
        return jobs.enqueue(session, kind="intake", arguments={"images": []}, dataset_id=dataset.id)


def change(toolbox: Toolbox, job: Job, **values: object) -> None:
    with toolbox.transaction() as session:
        row = session.get_one(Job, job.id)
        for name, value in values.items():
            setattr(row, name, value)


def test_a_job_is_listed_with_its_progress(sign_in: SignIn, toolbox: Toolbox, job: Job) -> None:
    change(toolbox, job, state="running", started_at=now(), done=120, total=500)
    text = sign_in("curator").get("/jobs").text
    assert "Look at pictures" in text
    assert "120 of 500" in text
    assert f'data-job="{job.id}"' in text


def test_a_failed_job_says_why(sign_in: SignIn, toolbox: Toolbox, job: Job) -> None:
    change(toolbox, job, state="failed", error="The worker died 3 times.", finished_at=now())
    curator = sign_in("curator")
    assert "The worker died 3 times." in curator.get("/jobs").text
    assert "The worker died 3 times." in curator.get(f"/jobs/{job.id}").text


def test_a_waiting_job_is_cancelled_at_once(
    sign_in: SignIn, toolbox: Toolbox, job: Job, session: Session
) -> None:
    curator = sign_in("curator")
    answer = curator.post(f"/jobs/{job.id}/cancel", follow_redirects=True)
    assert "The job is cancelled." in answer.text
    assert session.get_one(Job, job.id).state == "cancelled"
    again = curator.post(f"/jobs/{job.id}/cancel")
    assert again.status_code == 409
    assert "This job has ended already." in again.text


def test_a_running_job_stops_at_its_next_step(sign_in: SignIn, toolbox: Toolbox, job: Job) -> None:
    change(toolbox, job, state="running", started_at=now())
    answer = sign_in("curator").post(f"/jobs/{job.id}/cancel", follow_redirects=True)
    assert "The job stops at its next step." in answer.text


def test_jobs_of_other_datasets_are_not_there(
    sign_in: SignIn, make_dataset: MakeDataset, toolbox: Toolbox
) -> None:
    other = make_dataset(name="Not yours")
    with toolbox.transaction() as session:
        hidden = jobs.enqueue(session, kind="intake", arguments={}, dataset_id=other.id)
    curator = sign_in("curator")
    assert curator.get(f"/jobs/{hidden.id}").status_code == 404
    assert curator.post(f"/jobs/{hidden.id}/cancel").status_code == 404
    assert "No job yet" in curator.get("/jobs").text
    assert sign_in("admin").get(f"/jobs/{hidden.id}").status_code == 200


def test_every_kind_of_job_has_words() -> None:
    assert set(KIND_WORDS) == set(KINDS)
