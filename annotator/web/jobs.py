"""Long work: what runs, how far it is, what went wrong."""

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from annotator.core.db import now
from annotator.core.errors import NotFound
from annotator.domain import accounts, datasets, jobs
from annotator.models import Job, User
from annotator.web.rendering import page
from annotator.web.security import requires, signed_in
from annotator.web.transaction import db

blueprint = Blueprint("jobs", __name__, url_prefix="/jobs")
SHOWN = 100

KIND_WORDS = {
    "intake": "Look at pictures",
    "redact": "Cover a picture",
    "tasks": "Make tasks",
    "predict": "Suggest labels",
    "cluster": "Group faces",
    "export": "Build an export",
    "train": "Train a model",
    "erase": "Finish a withdrawal",
    "renew_epoch": "Renew the keys",
    "sweep_blobs": "Remove orphans",
    "checkpoint": "Sign the log",
    "expire": "Close what ended",
    "rekey_subject": "Give a person a new key",
}


@blueprint.get("")
@requires("curator")
def index() -> ResponseReturnValue:
    """The newest jobs that this person may see."""
    own = _seen_datasets(signed_in())
    found = jobs.list_jobs(db(), dataset_ids=own, limit=SHOWN)
    names = {
        dataset.id: dataset.name
        for dataset in datasets.list_datasets(db(), user=signed_in(), limit=1000)
    }
    active = [job for job in found if job.state not in jobs.ENDED]
    ended = [job for job in found if job.state in jobs.ENDED]
    return page(
        "jobs/index.html", active=active, ended=ended, names=names, words=KIND_WORDS, shown=SHOWN
    )


@blueprint.get("/<int:job_id>")
@requires("curator")
def show(job_id: int) -> ResponseReturnValue:
    """One job."""
    job = visible_job(job_id)
    dataset = None
    if job.dataset_id is not None:
        dataset = datasets.get_dataset(db(), dataset_id=job.dataset_id)
    seconds = ((job.finished_at or now()) - job.started_at).total_seconds() if job.started_at else 0
    rate = job.done / seconds if seconds and job.done else None
    return page(
        "jobs/show.html", job=job, dataset=dataset, words=KIND_WORDS, rate=rate, seconds=seconds
    )


@blueprint.post("/<int:job_id>/cancel")
@requires("curator")
def cancel(job_id: int) -> ResponseReturnValue:
    """Stops a job, at once or at its next step."""
    visible_job(job_id)
    job = jobs.request_cancel(db(), job_id=job_id)
    stopped = job.state == "cancelled"
    flash("The job is cancelled." if stopped else "The job stops at its next step.", "success")
    back = request.form.get("next") == "list"
    return redirect(url_for(".index") if back else url_for(".show", job_id=job.id), 303)


def visible_job(job_id: int) -> Job:
    """A job, if the person who asks may see it.

    Raises:
        NotFound: there is none, or not for this person; the two look the same.
    """
    user = signed_in()
    job = jobs.get_job(db(), job_id=job_id)
    if user.role == "admin" or job.created_by == user.id:
        return job
    if job.dataset_id is None:
        seen = accounts.has_role(user, "curator")
    else:
        seen = accounts.is_member(db(), user=user, dataset_id=job.dataset_id)
    if not seen:
        raise NotFound("There is no such job.")
    return job


def _seen_datasets(user: User) -> list[int] | None:
    if user.role == "admin":
        return None
    return [membership.dataset_id for membership in user.memberships]
