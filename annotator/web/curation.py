"""Curation: groups, balance, agreement, and the faces on which votes differ."""

import secrets

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from wtforms import IntegerField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from annotator.core.emotions import LABEL_NAMES
from annotator.domain import (
    accounts,
    agreement,
    consent,
    curation,
    jobs,
    labelling,
    viewing,
)
from annotator.models import Dataset
from annotator.web.forms import Form, strip
from annotator.web.looks import counted_address
from annotator.web.rendering import page
from annotator.web.security import current_dataset, requires, signed_in
from annotator.web.transaction import db, toolbox

blueprint = Blueprint("curation", __name__, url_prefix="/datasets/<int:dataset_id>/curation")
FACES = 24  # disagreements on a page
MOST_SEED = 2**31


class Grouping(Form):
    """How to group."""

    k = IntegerField(
        "Number of groups",
        validators=[Optional(), NumberRange(2, curation.MAX_CLUSTERS, "Choose 2 to 200 groups.")],
        render_kw={"min": 2, "max": curation.MAX_CLUSTERS},
    )


class Decision(Form):
    """A reviewer's decision."""

    label = StringField("It shows", validators=[InputRequired("Please choose a label.")])
    comment = TextAreaField(
        "Comment", filters=[strip], validators=[Length(max=2000)], render_kw={"rows": 1}
    )


@blueprint.get("")
@requires("reviewer")
def index(dataset_id: int) -> ResponseReturnValue:
    """Groups, balance and agreement of a dataset."""
    dataset = current_dataset(dataset_id)
    run = curation.newest_run(db(), dataset=dataset)
    clusters = curation.list_clusters(db(), run=run) if run else []
    _count_views(dataset, sum(len(cluster.near) for cluster in clusters), "clusters")
    return page(
        "curation/index.html",
        counted_address=counted_address,
        dataset=dataset,
        run=run,
        clusters=clusters,
        balance=curation.count_labels(db(), dataset=dataset),
        figures=agreement.measure(db(), dataset=dataset),
        running=_running(dataset),
        forbidden=consent.inference_forbidden(db()),
        may_group=accounts.has_role(signed_in(), "curator"),
        form=Grouping(),
    )


@blueprint.post("")
@requires("curator")
def group(dataset_id: int) -> ResponseReturnValue:
    """Has a worker group the faces."""
    dataset, form = current_dataset(dataset_id), Grouping()
    if form.validate_on_submit():
        seed = secrets.randbelow(MOST_SEED)
        curation.start_clustering(
            db(), dataset=dataset, k=form.k.data, seed=seed, by=signed_in().id
        )
        flash("A worker groups the faces now.", "info")
    else:
        _flash_errors(form)
    return redirect(url_for(".index", dataset_id=dataset.id), 303)


def _flash_errors(form: Form) -> None:
    for errors in form.errors.values():
        flash(" ".join(errors), "danger")


def _running(dataset: Dataset) -> list[object]:
    newest = jobs.list_jobs(db(), dataset_ids=[dataset.id], limit=20)
    return [job for job in newest if job.kind == "cluster" and job.state not in jobs.ENDED]


@blueprint.get("/disagreements")
@requires("reviewer")
def disagreements(dataset_id: int) -> ResponseReturnValue:
    """Faces on which votes differ, those that differ most first."""
    dataset = current_dataset(dataset_id)
    label = request.args.get("label") or None
    decided = "decided" in request.args
    found = agreement.list_disagreements(
        db(),
        dataset=dataset,
        label=label if label in LABEL_NAMES else None,
        undecided=not decided,
        limit=FACES,
    )
    _count_views(dataset, len(found), "disagreements")
    return page(
        "curation/disagreements.html",
        counted_address=counted_address,
        dataset=dataset,
        found=found,
        label=label,
        decided=decided,
    )


@blueprint.post("/disagreements/<int:task_id>")
@requires("reviewer")
def decide(dataset_id: int, task_id: int) -> ResponseReturnValue:
    """Adds a decision."""
    dataset, form = current_dataset(dataset_id), Decision()
    if form.validate_on_submit():
        labelling.review(
            db(),
            user=signed_in(),
            task_id=task_id,
            label=form.label.data,
            comment=form.comment.data,
        )
        flash("The decision is added.", "success")
    else:
        _flash_errors(form)
    here = url_for(
        ".disagreements",
        dataset_id=dataset.id,
        label=request.args.get("label"),
        decided=request.args.get("decided"),
    )
    return redirect(here, 303)


def _count_views(dataset: Dataset, faces: int, name: str) -> None:
    # Its own transaction, because a request that looks takes no write lock. Only for those.
    if faces:
        with toolbox().transaction() as session:
            viewing.count_views(
                session, user=signed_in(), dataset_id=dataset.id, faces=faces, page=name
            )
