"""Exports: who may be in one, what it looks like, what it risks; building and fetching it."""

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from wtforms import IntegerField, RadioField, SelectChoice, StringField
from wtforms.validators import InputRequired, Length, NumberRange, Optional

from annotator.core.emotions import EMOTION_NAMES
from annotator.core.errors import AnnotatorError, NotFound
from annotator.domain import exports, jobs, verification
from annotator.models import Dataset, Export, Job
from annotator.web.downloads import send_download
from annotator.web.forms import strip
from annotator.web.rendering import page
from annotator.web.security import current_dataset, limited, requires, signed_in
from annotator.web.stepup import STEP_UP_LIMIT, StepUp
from annotator.web.transaction import db, toolbox

blueprint = Blueprint("exports", __name__)
PAGE = 50
BALANCE_WORDS = {
    "none": "As it is: every face once",
    "undersample": "Fewer of the frequent: down to the rarest emotion",
    "oversample": "Repeat the rare: up to the most frequent emotion",
    "weights": "Keep all, with a weight for each face in the table",
}


class NewExport(StepUp):
    """How an export should be, and who gets it."""

    recipient = StringField(
        "Who gets it",
        filters=[strip],
        validators=[InputRequired("Please say who gets it."), Length(max=200)],
    )
    balance = RadioField(
        "Balance of the training split",
        choices=[SelectChoice(name, words) for name, words in BALANCE_WORDS.items()],
    )
    min_votes = IntegerField(
        "Least votes on a face",
        validators=[Optional(), NumberRange(1, 10, "Please give a number from 1 to 10.")],
    )
    seed = IntegerField(
        "Seed",
        validators=[Optional(), NumberRange(0, 2**31 - 1, "Please give a whole number from 0.")],
    )

    def wish(self) -> exports.Wish:
        """What the fields say; what is wrong or missing counts as not said."""
        return exports.Wish(
            balance=self.balance.data if self.balance.data in BALANCE_WORDS else "none",
            seed=None if self.seed.errors else self.seed.data,
            min_votes=None if self.min_votes.errors else self.min_votes.data,
        )


@blueprint.get("/datasets/<int:dataset_id>/exports")
@requires("curator")
def index(dataset_id: int) -> ResponseReturnValue:
    """The exports of a dataset."""
    dataset = current_dataset(dataset_id)
    before = request.args.get("before", type=int)
    found = exports.list_exports(db(), dataset=dataset, before=before, limit=PAGE + 1)
    rows, more = found[:PAGE], None
    if len(found) > PAGE:
        more = url_for(".index", dataset_id=dataset.id, before=rows[-1].id)
    return page(
        "exports/index.html",
        dataset=dataset,
        rows=[(export, state_of(export)) for export in rows],
        first=before is None,
        next=more,
    )


@blueprint.get("/datasets/<int:dataset_id>/exports/new")
@requires("curator")
def new(dataset_id: int) -> ResponseReturnValue:
    """Shows what an export would be, and asks for the rest."""
    dataset = current_dataset(dataset_id)
    form = NewExport(request.args)
    form.balance.data = form.balance.data or "none"
    return _new_page(dataset, form)


@blueprint.get("/datasets/<int:dataset_id>/exports/preview")
@requires("curator")
def preview(dataset_id: int) -> ResponseReturnValue:
    """The three columns alone, for the page to put in place as one chooses."""
    dataset = current_dataset(dataset_id)
    form = NewExport(request.args)
    form.seed.validate(form)
    form.min_votes.validate(form)
    return page("exports/_preview.html", dataset=dataset, **_preview(dataset, form))


@blueprint.post("/datasets/<int:dataset_id>/exports")
@requires("curator")
@limited(STEP_UP_LIMIT)
def create(dataset_id: int) -> ResponseReturnValue:
    """Has an export built, after the password."""
    dataset = current_dataset(dataset_id)
    form = NewExport()
    if not form.confirmed():
        return _new_page(dataset, form), 422
    try:
        export = exports.request_export(
            db(),
            dataset=dataset,
            recipient=form.recipient.data,
            by=signed_in(),
            wish=form.wish(),
        )
    except AnnotatorError as error:
        form.refuse(error, "recipient")
        return _new_page(dataset, form), error.status
    return redirect(url_for(".show", export_id=export.id), 303)


@blueprint.get("/exports/<int:export_id>")
@requires("curator")
def show(export_id: int) -> ResponseReturnValue:
    """One export: its state, what is in it, and the way to fetch and check it."""
    export = visible_export(export_id)
    gone = exports.list_withdrawn(db(), export=export)
    job = _job(export)
    return page(
        "exports/show.html",
        dataset=current_dataset(export.dataset_id),
        export=export,
        state=state_of(export),
        job=job,
        reasons=exports.REASONS,
        balance_words=BALANCE_WORDS,
        emotions=EMOTION_NAMES,
        splits=exports.SPLITS,
        fingerprint=verification.fingerprint(toolbox().vault.public_key("export")),
        withdrawn=[
            (
                exports.pseudonym(toolbox().vault, export.uid, subject.uid),
                len(exports.list_files(db(), export=export, subject=subject)),
            )
            for subject in gone
        ],
    )


@blueprint.get("/exports/<int:export_id>/archive")
@requires("curator")
def archive(export_id: int) -> ResponseReturnValue:
    """The export as a ZIP, or a part of it; the log keeps who fetched it."""
    return send_archive(visible_export(export_id, writing=True))


@blueprint.get("/exports/public-key.pem")
@requires("curator")
def public_key() -> ResponseReturnValue:
    """The key that exports of this installation are checked with."""
    data = verification.to_pem(toolbox().vault.public_key("export"))
    return Response(data, mimetype="application/x-pem-file")


def visible_export(export_id: int, *, writing: bool | None = None) -> Export:
    """An export, if the person who asks may see its dataset.

    Raises:
        NotFound: there is none, or not for this person; the two look the same.
    """
    export = exports.get_export(db(writing=writing), export_id=export_id)
    try:
        current_dataset(export.dataset_id)
    except NotFound as error:
        raise NotFound("There is no such export.") from error
    return export


def send_archive(export: Export) -> Response:
    """Streams the archive, or a part of it, out of the vault."""
    vault, by = toolbox().vault, signed_in().id
    archive = exports.describe_archive(db(), vault=vault, export=export)

    def open_part(start: int, stop: int | None) -> Iterator[bytes]:
        return exports.open_archive(
            db(writing=True), vault=vault, export=export, by=by, start=start, stop=stop
        )

    return send_download(
        name=f"annotator-export-{export.uid[:8]}.zip",
        kind="application/zip",
        size=archive.size,
        tag=archive.tag,
        open_part=open_part,
    )


def state_of(export: Export) -> str:
    """One word: queued, running, ready, failed or withdrawn."""
    if export.withdrawn_at is not None:
        return "withdrawn"
    job = _job(export)
    if export.state == "queued" and job is not None:
        return {"running": "running", "failed": "failed", "cancelled": "failed"}.get(
            job.state, "queued"
        )
    return export.state


def _job(export: Export) -> Job | None:
    return None if export.job_id is None else jobs.get_job(db(), job_id=export.job_id)


def _new_page(dataset: Dataset, form: NewExport) -> str:
    return page("exports/new.html", dataset=dataset, form=form, **_preview(dataset, form))


def _preview(dataset: Dataset, form: NewExport) -> dict[str, Any]:
    selection = exports.preview_export(db(), dataset=dataset, wish=form.wish())
    before, after = selection.count(balanced=False), selection.count(balanced=True)
    return {
        "selection": selection,
        "reasons": exports.REASONS,
        "splits": exports.SPLITS,
        "emotions": EMOTION_NAMES,
        "before": before,
        "after": after,
        "people": {
            split: len({face.subject_id for face in selection.written if face.split == split})
            for split in exports.SPLITS
        },
        "balance": form.wish().balance,
        "balance_words": BALANCE_WORDS,
        "bytes_each": _bytes_each(dataset),
        "recipient": form.recipient.data or "",
    }


def _bytes_each(dataset: Dataset) -> float | None:
    """What a picture weighed in the newest export that is ready, in bytes."""
    for export in exports.list_exports(db(), dataset=dataset, limit=PAGE):
        if export.counts.get("files") and export.counts.get("bytes"):
            return float(export.counts["bytes"] / export.counts["files"])
    return None
