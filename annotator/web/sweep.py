"""Sweep: a page of faces that the model sees alike; the odd ones are marked, the rest accepted."""

import uuid
from typing import Any

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from annotator.core.emotions import EMOTION_NAMES, LABEL_NAMES
from annotator.core.errors import AnnotatorError, InvalidInput
from annotator.domain import consent, curation, labelling
from annotator.models import Dataset
from annotator.web.rendering import page
from annotator.web.security import current_dataset, requires, signed_in
from annotator.web.transaction import db, toolbox

blueprint = Blueprint("sweep", __name__, url_prefix="/datasets/<int:dataset_id>/sweep")
FACES = 60  # a page
TO_FOCUS = "focus"
MOST_MS = 3_600_000  # an hour; a page open for longer was left alone


@blueprint.get("")
@requires("annotator")
def index(dataset_id: int) -> ResponseReturnValue:
    """The groups to choose from."""
    dataset = current_dataset(dataset_id)
    run = curation.newest_run(db(), dataset=dataset)
    clusters = curation.list_clusters(db(), run=run, near=0) if run else []
    return page(
        "sweep/index.html",
        dataset=dataset,
        run=run,
        clusters=clusters,
        forbidden=consent.inference_forbidden(db()),
    )


@blueprint.get("/page")
@requires("annotator")
def show(dataset_id: int) -> ResponseReturnValue:
    """The page that the person holds; looks only, so that a reload changes nothing."""
    consent.require_inference(db())
    dataset = current_dataset(dataset_id)
    theme = _theme(request.args)
    cluster = None
    if theme.cluster is not None:
        cluster = curation.get_cluster(db(), dataset=dataset, number=theme.cluster)
    run = curation.newest_run(db(), dataset=dataset)
    return page(
        "sweep/page.html",
        dataset=dataset,
        run=run,
        about=theme,
        cluster=cluster,
        label=cluster.label if cluster else theme.label,
        leased=labelling.list_page(db(), dataset=dataset, user=signed_in(), theme=theme),
        page_id=str(uuid.uuid4()),
        last=request.args.get("last", ""),
    )


@blueprint.post("/page")
@requires("annotator")
def answer(dataset_id: int) -> ResponseReturnValue:
    """Opens a page, accepts one, or takes the last one back; then shows what the person holds."""
    consent.require_inference(db())  # also before a page of old is accepted
    dataset, theme = current_dataset(dataset_id), _theme(request.form)
    action, last = request.form.get("action", "open"), ""
    if action == "accept":
        last = _accept()
    elif action == "undo":
        count = labelling.take_back_page(
            db(), user=signed_in(), page=request.form.get("last", ""), seconds=_seconds()
        )
        flash(f"{count} votes are taken back.", "info")
        return _shown(dataset, theme)
    labelling.sweep_page(
        db(), dataset=dataset, user=signed_in(), theme=theme, n=FACES, seconds=_seconds()
    )
    return _shown(dataset, theme, last)


def _accept() -> str:
    """Gives every face of the page its vote, or sends it to focus; returns the page's id."""
    page_id, choices = _page_id(), _choices()
    odd = [task_id for task_id, label in choices.items() if label == TO_FOCUS]
    votes = {task_id: label for task_id, label in choices.items() if label != TO_FOCUS}
    labelling.lend_to_focus(db(), user=signed_in(), task_ids=odd)
    dwell = _dwell(len(choices))
    refused = []
    for task_id, label in sorted(votes.items()):
        try:
            labelling.annotate(
                db(),
                user=signed_in(),
                client_id=str(uuid.uuid5(page_id, str(task_id))),  # the page twice is once
                task_id=task_id,
                label=label,
                mode="sweep",
                duration_ms=dwell,
                page=str(page_id),
            )
        except AnnotatorError as error:
            refused.append(error.message)
    if refused:
        flash(f"{len(refused)} faces got no vote: {refused[0]}", "warning")
    return str(page_id)


def _choices() -> dict[int, str]:
    """Each face of the page with its label; a face that is marked without one goes to focus."""
    common = request.form.get("common", "")
    odd = set(request.form.getlist("odd"))
    found = {}
    for task in request.form.getlist("task"):
        if not (task.isascii() and task.isdigit()):
            raise InvalidInput("This page is not whole; load it again.")
        given = request.form.get(f"label-{task}", "")
        label = given or (TO_FOCUS if task in odd else common)
        if label != TO_FOCUS and label not in LABEL_NAMES:
            raise InvalidInput(f"There is no label '{label}'.")
        found[int(task)] = label
    return found


def _page_id() -> uuid.UUID:
    try:
        return uuid.UUID(request.form.get("page", ""))
    except ValueError as error:
        raise InvalidInput("This page is not whole; load it again.") from error


def _dwell(faces: int) -> int | None:
    """Milliseconds per face that the page was looked at; its script counts them."""
    text = request.form.get("dwell_ms", "")
    if not (text.isascii() and text.isdigit()) or not faces:
        return None
    return min(int(text), MOST_MS) // faces


def _theme(values: Any) -> labelling.Theme:
    cluster, label = values.get("cluster", ""), values.get("label") or None
    if cluster and not (cluster.isascii() and cluster.isdigit()):
        raise InvalidInput("A group is a whole number.")
    if label is not None and label not in EMOTION_NAMES:
        raise InvalidInput(f"There is no emotion '{label}'.")
    return labelling.Theme(cluster=int(cluster) if cluster else None, label=label)


def _seconds() -> int:
    return toolbox().settings.lease_seconds


def _shown(dataset: Dataset, theme: labelling.Theme, last: str = "") -> ResponseReturnValue:
    return redirect(
        url_for(
            ".show",
            dataset_id=dataset.id,
            cluster=theme.cluster,
            label=theme.label,
            last=last or None,
        ),
        303,
    )
