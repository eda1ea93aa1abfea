"""Models: the current one beside the candidates, training, promoting and going back."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from wtforms import BooleanField, IntegerField, SelectChoice, SelectField, StringField
from wtforms.validators import InputRequired, Length, NumberRange

from annotator.core.errors import AnnotatorError, Conflict, NotFound
from annotator.domain import consent, datasets, exports, jobs, training
from annotator.models import Export, Job, ModelVersion, TrainingRun
from annotator.web.exports import state_of, visible_export
from annotator.web.forms import Form, strip
from annotator.web.rendering import page
from annotator.web.security import requires, signed_in
from annotator.web.transaction import db

blueprint = Blueprint("models", __name__, url_prefix="/models")
NOTHING = "\u2013"  # a dash, as everywhere a figure is missing
LEAST_EPOCHS = 2  # a curve of one epoch is a point
WIDTH, HEIGHT, EDGE = 320, 120, 6  # of a curve's drawing, in its own units

# What a figure is called, and whether more of it is better.
FIGURES = {
    "accuracy": ("Accuracy", "more is better"),
    "macro_f1": ("Macro-F1", "more is better"),
    "kl": ("Distance to the votes (KL)", "less is better"),
    "ece": ("Calibration error", "less is better"),
    "n": ("Faces with a majority", ""),
}
CURVES = {
    "loss": "Loss, training",
    "valid_loss": "Loss, validation",
    "accuracy": "Accuracy, training",
    "valid_accuracy": "Accuracy, validation",
}


class NewTraining(Form):
    """What to learn from, and how."""

    export = SelectField(
        "Learn from", coerce=int, validators=[InputRequired("Please choose an export.")]
    )
    name = StringField("Name", filters=[strip], validators=[Length(max=80)])
    epochs = IntegerField(
        "Rounds at most",
        default=30,
        validators=[
            InputRequired("Please give a number of rounds."),
            NumberRange(1, 500, "Please give a number from 1 to 500."),
        ],
    )
    seed = IntegerField(
        "Seed",
        default=0,
        validators=[
            InputRequired("Please give a whole number."),
            NumberRange(0, 2**31 - 1, "Please give a whole number from 0."),
        ],
    )
    fine_tune = BooleanField("Start from the current model", default=True)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measure of two models on the same faces, ready to be shown."""

    label: str
    hint: str
    candidate: str
    current: str


@dataclass(frozen=True, slots=True)
class Curve:
    """One line over the epochs: SVG points, and its first, best and last value."""

    label: str
    points: str
    first: float
    last: float
    least: float
    most: float


@blueprint.get("")
@requires("curator")
def index() -> ResponseReturnValue:
    """The current model beside the candidates, and what is being trained."""
    models = training.list_models(db())
    current = models[0] if models and models[0].state == "current" else None
    runs = [(run, _job(run)) for run in training.list_runs(db())]
    return page(
        "models/index.html",
        current=current,
        candidates=[model for model in models if model.state == "candidate"],
        retired=[model for model in models if model.state == "retired"],
        running=[(r, job, curves(r.curve)) for r, job in runs if job and _is_open(job)],
        failed=[(r, job) for r, job in runs if job and job.state in {"failed", "cancelled"}][:5],
        verdict_of=_verdict,
        target=training.rollback_target(db()),
        figures_of=lambda model: figures(model.figures),
        forbidden=(forbidden := consent.inference_forbidden(db())),
        can_train=not forbidden and bool(_usable_exports()),
    )


@blueprint.get("/new")
@requires("curator")
def new() -> ResponseReturnValue:
    """Asks what to learn from."""
    form = _training_form()
    form.export.data = request.args.get("export", type=int)
    for field in (form.epochs, form.seed):  # a training again begins with the same numbers
        field.data = request.args.get(field.name, field.default, type=int)
    form.fine_tune.data = request.args.get("fine_tune", 1, type=int) != 0
    return _new_page(form)


@blueprint.post("")
@requires("curator")
def create() -> ResponseReturnValue:
    """Has a candidate trained."""
    form = _training_form()
    if not form.validate():
        return _new_page(form), 422
    export = visible_export(form.export.data)
    try:
        training.request_training(
            db(),
            export=export,
            name=form.name.data,
            options={
                "epochs": form.epochs.data,
                "seed": form.seed.data,
                "fine_tune": form.fine_tune.data,
            },
            by=signed_in(),
        )
    except AnnotatorError as error:
        form.refuse(error, "name" if isinstance(error, Conflict) else "export")
        return _new_page(form), error.status
    flash("The training waits for a worker. Its candidate appears here.", "success")
    return redirect(url_for(".index"), 303)


@blueprint.get("/<int:model_id>")
@requires("curator")
def show(model_id: int) -> ResponseReturnValue:
    """One model: where it comes from and what it can."""
    model = training.get_model(db(), model_id=model_id)
    run = model.training_run
    return page(
        "models/show.html",
        model=model,
        run=run,
        export=_export_of(run),
        figures=figures(model.figures),
        per_class=per_class(model.figures),
        comparison=comparison(model.figures),
        curves=curves(run.curve) if run else [],
        verdict=_verdict(model),
        forbidden=consent.inference_forbidden(db()),
        retraining=_retraining(model),
    )


@blueprint.get("/<int:model_id>/promote")
@requires("curator")
def ask_promote(model_id: int) -> ResponseReturnValue:
    """Asks before a model makes the pre-labels."""
    return _promote_page(training.get_model(db(), model_id=model_id))


@blueprint.post("/<int:model_id>/promote")
@requires("curator")
def promote(model_id: int) -> ResponseReturnValue:
    """Makes a model the current one."""
    model = training.get_model(db(), model_id=model_id)
    reason = request.form.get("reason", "")
    try:
        training.promote(db(), model=model, by=signed_in(), override_reason=reason)
    except AnnotatorError as error:
        return _promote_page(model, reason=reason, error=error.message), error.status
    flash(f"{model.name} makes the pre-labels now; faces are looked at anew.", "success")
    return redirect(url_for(".index"), 303)


@blueprint.get("/rollback")
@requires("curator")
def ask_rollback() -> ResponseReturnValue:
    """Asks before going back."""
    target = training.rollback_target(db())
    if target is None:
        raise Conflict("There is no earlier model to go back to.")
    consent.require_inference(db())
    return page("models/rollback.html", target=target, current=training.list_models(db())[0])


@blueprint.post("/rollback")
@requires("curator")
def rollback() -> ResponseReturnValue:
    """Makes the model before the current one current again."""
    model = training.rollback(db(), by=signed_in())
    flash(f"{model.name} makes the pre-labels again.", "success")
    return redirect(url_for(".index"), 303)


def figures(found: dict[str, Any]) -> list[Figure]:
    """The measures of a candidate beside those of the model that was current."""
    candidate, current = found.get("candidate") or {}, found.get("current") or {}
    return [
        Figure(label, hint, _cell(candidate, name), _cell(current, name))
        for name, (label, hint) in FIGURES.items()
        if name in candidate
    ]


def per_class(found: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Recall per emotion that was seen: emotion, faces of it, candidate, current."""
    mine = (found.get("candidate") or {}).get("per_class") or {}
    theirs = (found.get("current") or {}).get("per_class") or {}
    return [
        (name, _cell(row, "support"), _cell(row, "recall"), _cell(theirs.get(name, {}), "recall"))
        for name, row in mine.items()
        if row.get("support")
    ]


def comparison(found: dict[str, Any]) -> str | None:
    """The difference of the two in one sentence, with its interval."""
    compared = found.get("comparison")
    if not compared:
        return None
    low, high = compared["interval"]
    return (
        f"Accuracy differs by {100 * compared['difference']:+.1f} points "
        f"(95 % interval {100 * low:+.1f} to {100 * high:+.1f}, paired bootstrap over "
        f"{compared['n']:,} faces)."
    )


def curves(entries: Iterable[dict[str, float]]) -> list[Curve]:
    """A training's curves, each scaled to its own range."""
    drawn = []
    for name, label in CURVES.items():
        values = [entry[name] for entry in entries if name in entry]
        if len(values) >= LEAST_EPOCHS:
            drawn.append(_curve(label, values))
    return drawn


def _curve(label: str, values: list[float]) -> Curve:
    least, most = min(values), max(values)
    span = most - least or 1.0
    step = (WIDTH - 2 * EDGE) / (len(values) - 1)
    points = " ".join(
        f"{EDGE + at * step:.1f},{HEIGHT - EDGE - (value - least) / span * (HEIGHT - 2 * EDGE):.1f}"
        for at, value in enumerate(values)
    )
    return Curve(label, points, values[0], values[-1], least, most)


def _cell(found: dict[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, int | float) or not math.isfinite(value):
        return NOTHING
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _verdict(model: ModelVersion) -> training.Verdict:
    return training.judge(db(), model=model)


def _promote_page(model: ModelVersion, *, reason: str = "", error: str = "") -> str:
    return page(
        "models/promote.html",
        model=model,
        verdict=_verdict(model),
        forbidden=consent.inference_forbidden(db()),
        figures=figures(model.figures),
        comparison=comparison(model.figures),
        reason=reason,
        error=error,
        longest=training.MAX_REASON,
    )


def _new_page(form: NewTraining) -> str:
    return page("models/new.html", form=form, forbidden=consent.inference_forbidden(db()))


def _training_form() -> NewTraining:
    form = NewTraining()
    form.export.choices = [_choice(name, export) for name, export in _usable_exports()]
    return form


def _choice(dataset: str, export: Export) -> SelectChoice:
    faces, people = export.counts.get("faces", 0), export.counts.get("subjects", 0)
    words = f"{dataset}, {export.uid[:8]}: {faces:,} faces of {people:,} people"
    return SelectChoice(export.id, words)


def _usable_exports() -> list[tuple[str, Export]]:
    """Exports that this person sees and that nobody has withdrawn from; the newest first."""
    return [
        (dataset.name, export)
        for dataset in datasets.list_datasets(db(), user=signed_in(), limit=1000)
        for export in exports.list_exports(db(), dataset=dataset)
        if state_of(export) == "ready" and not exports.disallowed(db(), export=export)
    ]


def _export_of(run: TrainingRun | None) -> Export | None:
    return None if run is None else exports.get_export(db(), export_id=run.export_id)


def _retraining(model: ModelVersion) -> training.Retraining | None:
    """How to make a model again without who withdrew, for those who see its dataset."""
    plan = training.plan_retraining(db(), model=model)
    if plan is None:
        return None
    try:
        visible_export(plan.source.id)
    except NotFound:
        return None
    return plan


def _job(run: TrainingRun) -> Job | None:
    return None if run.job_id is None else jobs.get_job(db(), job_id=run.job_id)


def _is_open(job: Job) -> bool:
    return job.state in {"queued", "running"}
