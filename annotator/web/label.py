"""Focus: one face at a time. The page's script uses the API; without it the form here does."""

import uuid

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from wtforms import HiddenField, IntegerField, StringField

from annotator.core.errors import AnnotatorError
from annotator.domain import consent, datasets, labelling
from annotator.models import Dataset
from annotator.web.forms import Form
from annotator.web.rendering import page
from annotator.web.security import current_dataset, requires, signed_in
from annotator.web.transaction import db, toolbox

blueprint = Blueprint("label", __name__)


class Answer(Form):
    """One press of a button on the page without scripts."""

    task = IntegerField()
    id = HiddenField()
    label = StringField()


@blueprint.get("/datasets/<int:dataset_id>/label")
@requires("annotator")
def focus(dataset_id: int) -> ResponseReturnValue:
    """The page; looks only, so that a reload changes nothing."""
    dataset, user = current_dataset(dataset_id), signed_in()
    held = labelling.list_held(db(), dataset=dataset, user=user, mode="focus")
    return page(
        "label/focus.html",
        dataset=dataset,
        progress=datasets.count_progress(db(), dataset_id=dataset.id),
        own=labelling.count_own(db(), user=user, dataset=dataset),
        plain=held[0] if held else None,
        plain_id=str(uuid.uuid4()),
        last=request.args.get("last", ""),
        finished="finished" in request.args,
        forbidden=consent.inference_forbidden(db()),
    )


@blueprint.post("/datasets/<int:dataset_id>/label")
@requires("annotator")
def answer(dataset_id: int) -> ResponseReturnValue:
    """A vote, a skip, an undo or a start without scripts; then the next face."""
    dataset, form = current_dataset(dataset_id), Answer()
    choice, last = form.label.data or "", ""
    try:
        last = _apply(form, choice)
    except AnnotatorError as error:
        flash(error.message, "warning")
    leased = labelling.lease_tasks(db(), dataset=dataset, user=signed_in(), n=1, seconds=_seconds())
    return _back(dataset, last=last, finished=not leased)


def _apply(form: Answer, choice: str) -> str:
    """Does what the button says; returns the id of a vote that can be taken back."""
    user = signed_in()
    if choice == "start":
        return ""
    if choice == "undo":
        labelling.take_back(db(), user=user, client_id=form.id.data, seconds=_seconds())
        return ""
    task_id = form.task.data or 0
    if choice == "skip":
        labelling.skip(db(), user=user, task_id=task_id)
        return ""
    labelling.annotate(
        db(), user=user, client_id=form.id.data, task_id=task_id, label=choice, mode="focus"
    )
    return str(form.id.data)


def _seconds() -> int:
    return toolbox().settings.lease_seconds


def _back(dataset: Dataset, *, last: str, finished: bool) -> ResponseReturnValue:
    # Flask leaves out of the address what is None.
    return redirect(
        url_for(
            ".focus", dataset_id=dataset.id, last=last or None, finished=1 if finished else None
        ),
        303,
    )
