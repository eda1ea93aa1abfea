"""Datasets: the list, a new one, the hub of one, and its members."""

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from wtforms import BooleanField, FloatField, IntegerField, TextAreaField
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from annotator.core.errors import Conflict, InvalidInput
from annotator.domain import accounts, consent, datasets, intake, jobs
from annotator.models import Dataset, Job, Notice, User
from annotator.web.forms import Form, name_field, strip
from annotator.web.rendering import may_open, page
from annotator.web.security import current_dataset, requires, signed_in
from annotator.web.transaction import db

blueprint = Blueprint("datasets", __name__, url_prefix="/datasets")
PAGE = 50


def _number(label: str, low: float, high: float, default: float, kind: type = FloatField) -> Any:
    words = f"Please give a number from {low:g} to {high:g}."
    return kind(
        label,
        default=default,
        validators=[InputRequired(words), NumberRange(low, high, words)],
        render_kw={"min": low, "max": high, "step": 1 if kind is IntegerField else "0.01"},
    )


class NewDataset(Form):
    """A dataset and the rules that hold for it."""

    name = name_field()
    description = TextAreaField(
        "Description", filters=[strip], validators=[Length(max=2000)], render_kw={"rows": 3}
    )
    votes_per_face = _number("Votes per face", 1, datasets.MAX_VOTES, 3, IntegerField)
    blind_share = _number("Share of faces shown without a suggestion", 0, 1, 0.15)
    prelabel_threshold = _number("Least probability of a suggestion", 0, 1, 0.5)
    approve_alone = BooleanField("A picture with one clear face needs no approval", default=True)
    retention_days = IntegerField(
        "Days until pictures go",
        validators=[Optional(), NumberRange(1, datasets.MOST_DAYS)],
    )
    grace_days = _number(
        "Days between the end of a consent and the erasure", 0, 365, 30, IntegerField
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One dataset in the list."""

    dataset: Dataset
    progress: datasets.Progress
    images: int
    people: int


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do next."""

    label: str
    why: str
    url: str


@blueprint.get("")
@requires("annotator")
def index() -> ResponseReturnValue:
    """The datasets that this person may see."""
    after = request.args.get("after", 0, type=int)
    found = datasets.list_datasets(db(), user=signed_in(), after=after, limit=PAGE + 1)
    rows = [_row(dataset) for dataset in found[:PAGE]]
    more = url_for(".index", after=rows[-1].dataset.id) if len(found) > PAGE else None
    return page("datasets/index.html", rows=rows, next=more, first=not after)


@blueprint.get("/new")
@requires("curator")
def new() -> ResponseReturnValue:
    """Asks for the rules of a new dataset."""
    return page("datasets/new.html", form=NewDataset())


@blueprint.post("")
@requires("curator")
def create() -> ResponseReturnValue:
    """Makes a dataset; its notice comes next."""
    form = NewDataset()
    if not form.validate():
        return page("datasets/new.html", form=form), 422
    try:
        dataset = datasets.create_dataset(
            db(),
            name=form.name.data,
            description=form.description.data,
            votes_per_face=form.votes_per_face.data,
            blind_share=form.blind_share.data,
            prelabel_threshold=form.prelabel_threshold.data,
            approve_alone=form.approve_alone.data,
            retention_days=form.retention_days.data,
            grace_days=form.grace_days.data,
            created_by=signed_in(),
        )
    except (Conflict, InvalidInput) as error:
        form.refuse(error, "name")
        return page("datasets/new.html", form=form), error.status
    flash("The dataset is made. Next, write what people are told before they agree.", "success")
    return redirect(url_for("notices.new", dataset_id=dataset.id), 303)


@blueprint.get("/<int:dataset_id>")
@requires("annotator")
def show(dataset_id: int) -> ResponseReturnValue:
    """The hub of a dataset."""
    dataset = current_dataset(dataset_id)
    user = signed_in()
    images = datasets.count_images(db(), dataset_id=dataset.id)
    progress = datasets.count_progress(db(), dataset_id=dataset.id)
    people = datasets.count_subjects(db(), dataset_id=dataset.id)
    return page(
        "datasets/show.html",
        dataset=dataset,
        progress=progress,
        images=images,
        people=people,
        running=_running(dataset) if accounts.has_role(user, "curator") else [],
        steps=_next_steps(dataset, user, images, progress, people),
        told=_notice(dataset),
        members=len(_members(dataset)),
        links=_links(dataset, user),
    )


@blueprint.get("/<int:dataset_id>/members")
@requires("curator")
def members(dataset_id: int) -> ResponseReturnValue:
    """Who sees this dataset."""
    dataset = current_dataset(dataset_id)
    inside = _members(dataset)
    others = [
        user
        for user in accounts.list_users(db())
        if user.active and user not in inside and user.role != "admin"
    ]
    return page("datasets/members.html", dataset=dataset, members=inside, others=others)


@blueprint.post("/<int:dataset_id>/members")
@requires("curator")
def add_member(dataset_id: int) -> ResponseReturnValue:
    """Lets a colleague see this dataset."""
    dataset = current_dataset(dataset_id)
    user = accounts.get_user(db(), user_id=request.form.get("user", 0, type=int))
    accounts.add_member(db(), user=user, dataset=dataset, by=signed_in().id)
    flash(f"{user.name} now sees this dataset.", "success")
    return redirect(url_for(".members", dataset_id=dataset.id), 303)


@blueprint.post("/<int:dataset_id>/members/<int:user_id>/remove")
@requires("curator")
def remove_member(dataset_id: int, user_id: int) -> ResponseReturnValue:
    """Takes this dataset from a colleague's sight."""
    dataset = current_dataset(dataset_id)
    user = accounts.get_user(db(), user_id=user_id)
    accounts.remove_member(db(), user=user, dataset=dataset, by=signed_in().id)
    flash(f"{user.name} no longer sees this dataset. Their votes stay.", "success")
    if user.id == signed_in().id and user.role != "admin":
        return redirect(url_for(".index"), 303)
    return redirect(url_for(".members", dataset_id=dataset.id), 303)


def _row(dataset: Dataset) -> Row:
    return Row(
        dataset,
        datasets.count_progress(db(), dataset_id=dataset.id),
        sum(datasets.count_images(db(), dataset_id=dataset.id).values()),
        datasets.count_subjects(db(), dataset_id=dataset.id)["present"],
    )


def _notice(dataset: Dataset) -> Notice | None:
    try:
        return consent.current_notice(db(), dataset=dataset)
    except Conflict:
        return None


def _members(dataset: Dataset) -> list[User]:
    return [
        user
        for user in accounts.list_users(db())
        if any(membership.dataset_id == dataset.id for membership in user.memberships)
    ]


def _running(dataset: Dataset) -> list[Job]:
    newest = jobs.list_jobs(db(), dataset_ids=[dataset.id], limit=20)
    return [job for job in reversed(newest) if job.state in {"queued", "running"}]


def _next_steps(
    dataset: Dataset,
    user: User,
    images: dict[str, int],
    progress: datasets.Progress,
    people: dict[str, int],
) -> list[Step]:
    """What this person can do for the dataset now, most urgent first."""
    stranded = intake.count_stranded(db(), dataset=dataset) if images.get("received") else 0
    waiting = images.get("review", 0)
    found = (
        (not _notice(dataset), "Write the notice", "Nobody can consent before.", "notices.new"),
        (
            not people["present"],
            "Record the first person",
            "Pictures need a person who consents.",
            "subjects.new",
        ),
        (
            bool(people["present"]) and not images,
            "Upload pictures",
            "There are none yet.",
            "intake.upload",
        ),
        (
            bool(stranded),
            "Look at received pictures",
            f"{stranded:,} came in and nobody has looked for faces.",
            "intake.pictures",
        ),
        (
            bool(waiting),
            "Approve redactions",
            f"{waiting:,} wait for a person to say whose face it is.",
            "redactions.index",
        ),
        (bool(progress.open), "Label faces", f"{progress.open:,} want votes.", "label.focus"),
        (
            bool(progress.done) and not progress.open,
            "Export a training set",
            "Every face has its votes.",
            "exports.new",
        ),
    )
    return [
        Step(label, why, url_for(endpoint, dataset_id=dataset.id))
        for needed, label, why, endpoint in found
        if needed and _may_open(user, endpoint)
    ]


def _links(dataset: Dataset, user: User) -> list[tuple[str, str]]:
    """Where one can go from here, in the order of the work."""
    offered = (
        ("Upload", "intake.upload"),
        ("Pictures", "intake.pictures"),
        ("People in the pictures", "subjects.index"),
        ("Notice", "notices.index"),
        ("Redactions", "redactions.index"),
        ("Label", "label.focus"),
        ("Sweep", "sweep.index"),
        ("Curation", "curation.index"),
        ("Exports", "exports.index"),
        ("Members", ".members"),
    )
    return [
        (label, url_for(endpoint, dataset_id=dataset.id))
        for label, endpoint in offered
        if _may_open(user, endpoint)
    ]


def _may_open(user: User, endpoint: str) -> bool:
    full = f"{blueprint.name}{endpoint}" if endpoint.startswith(".") else endpoint
    return may_open(user, full)
