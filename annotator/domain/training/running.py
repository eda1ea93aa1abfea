"""Asking for a training, and the job that does it."""

import math
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput, NotFound, Tampered
from annotator.domain import audit, consent, exports, jobs, prediction
from annotator.domain.ports import Lesson
from annotator.domain.training.lessons import check_lessons, read_lessons
from annotator.domain.verification import verify_export
from annotator.models import Export, ExportItem, ModelVersion, TrainingRun, User

KINDS = ("cnn",)
MODEL = "model"  # the purpose under which the vault seals weights
LONGEST_NAME = 80
DEFAULTS: dict[str, Any] = {"epochs": 30, "seed": 0, "fine_tune": True}
MAX_EPOCHS = 500
MAX_SEED = 2**31 - 1


@dataclass(frozen=True, slots=True)
class _Start:
    """All that one training needs from the tables."""

    kind: str
    options: dict[str, Any]
    export_blob: str
    parent: int
    parent_blob: str | None


def request_training(
    session: Session,
    *,
    export: Export,
    kind: str = "cnn",
    name: str = "",
    options: dict[str, Any] | None = None,
    by: User | None = None,
) -> TrainingRun:
    """Writes a training down and has the worker do it.

    Args:
        session: the open transaction.
        export: what to learn from; ready, and everybody in it still allows training.
        kind: one of ``KINDS``.
        name: what the model will be called; made up when empty.
        options: ``epochs``, ``seed``, ``fine_tune`` (start from the current model).
        by: who asks; ``None`` is the command line.

    Raises:
        InvalidInput: an unknown kind or option, or a number out of bounds.
        Conflict: the name is taken, the export may not be used, or inference is forbidden here: a
            training runs its model on the faces that measure it.
    """
    consent.require_inference(session)
    if kind not in KINDS:
        raise InvalidInput(
            f"The kind of model '{kind}' is not available in this version; "
            f"there is {', '.join(KINDS)}."
        )
    chosen = _check_options(options or {})
    exports.check_deliverable(session, export=export)
    run = TrainingRun(
        export_id=export.id,
        kind=kind,
        name=_free_name(session, kind, name),
        options=chosen,
        curve=[],
        created_by=by.id if by else None,
    )
    session.add(run)
    session.flush()
    job = jobs.enqueue(
        session,
        kind="train",
        arguments={"run_id": run.id},
        dataset_id=export.dataset_id,
        created_by=run.created_by,
    )
    run.job_id = job.id
    audit.append(
        session,
        action="training.requested",
        actor=audit.actor_of(run.created_by),
        run=run.id,
        export=export.id,
        kind=kind,
        options=chosen,
    )
    return run


def list_runs(session: Session, *, limit: int = 20) -> list[TrainingRun]:
    """The newest trainings first."""
    return list(session.scalars(select(TrainingRun).order_by(TrainingRun.id.desc()).limit(limit)))


def _check_options(options: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(options) - set(DEFAULTS))
    if unknown:
        raise InvalidInput(f"There is no option '{unknown[0]}'; there are {', '.join(DEFAULTS)}.")
    chosen = DEFAULTS | options
    for name, least, most in (("epochs", 1, MAX_EPOCHS), ("seed", 0, MAX_SEED)):
        value = chosen[name]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InvalidInput(f"'{name}' is a whole number from {least} to {most}.")
    if not isinstance(chosen["fine_tune"], bool):
        raise InvalidInput("'fine_tune' is either true or false.")
    return chosen


def _free_name(session: Session, kind: str, name: str) -> str:
    name = " ".join(name.split())
    if len(name) > LONGEST_NAME:
        raise InvalidInput(f"A model's name has at most {LONGEST_NAME} characters.")
    if not name:
        runs = session.scalar(select(func.max(TrainingRun.id))) or 0
        name = f"{kind}-{runs + 1}"
    taken = session.scalar(select(ModelVersion.id).where(ModelVersion.name == name))
    if taken is not None:
        raise Conflict(f"There is a model '{name}' already.")
    return name


def train_model(work: jobs.Work, *, run_id: int) -> dict[str, Any]:
    """Job ``train``: verifies the export, trains, compares with the current model, registers.

    Idempotent: a run that has its model is done; an interrupted one starts again with the same
    seed, so that it gives the same model.

    Returns:
        ``model``: the candidate's number.

    Raises:
        Conflict: the export may not be used (any more), or is too small; or inference is
            forbidden here.
        Tampered: the archive is not what was signed.
        Cancelled: a person stopped it.
    """
    with work.transaction() as session:
        consent.require_inference(session)
        known = session.scalar(select(ModelVersion).where(ModelVersion.training_run_id == run_id))
        if known is not None:
            return {"model": known.id}
        start = _begin(session, run_id)
    lessons = _open_lessons(work, start.export_blob)
    current = prediction.open_weights(work.tools.vault, start.parent_blob)
    learning = work.tools.learning
    report = _Reporter(work, run_id)
    weights = learning.train(
        start.kind,
        start=current if start.options["fine_tune"] else None,
        train=lessons["train"],
        valid=lessons["valid"],
        options=start.options,
        report=report,
    )
    report.close()
    figures = learning.evaluate(weights, lessons["test"], current, seed=start.options["seed"])
    blob = work.tools.vault.store_archive(purpose=MODEL, data=weights)
    refused: Conflict | None = None
    with work.transaction() as session:
        try:
            model = _register(session, run_id, start, learning.digest(weights), figures)
        except Conflict as error:
            session.info.setdefault("dead_blobs", []).append(blob)
            refused = error
        else:
            model.sealed_blob = blob
            return {"model": model.id}
    raise refused


def _begin(session: Session, run_id: int) -> _Start:
    run = session.get(TrainingRun, run_id)
    if run is None:
        raise NotFound("There is no such training.")
    blob = exports.check_deliverable(session, export=session.get_one(Export, run.export_id))
    parent = prediction.current_model(session)
    run.curve, run.finished_at = [], None
    return _Start(run.kind, dict(run.options), blob, parent.id, parent.sealed_blob)


def _open_lessons(work: jobs.Work, blob: str) -> dict[str, Lesson]:
    archive = exports.read_archive(work.tools.vault, blob)
    report = verify_export(archive, public_key=work.tools.vault.public_key("export"))
    if not report.ok:
        raise Tampered(f"This export cannot be trusted: {report.message}")
    lessons = read_lessons(archive)
    check_lessons(lessons)
    return lessons


class _Reporter:
    """Tells the job how far a training is, and keeps one entry an epoch for the curve."""

    def __init__(self, work: jobs.Work, run_id: int) -> None:
        self._work, self._run_id = work, run_id
        self._curve: list[dict[str, float]] = []

    def __call__(self, epoch: int, epochs: int, figures: dict[str, float]) -> None:
        entry = {"epoch": float(epoch)} | {
            name: round(value, 5) for name, value in figures.items() if math.isfinite(value)
        }
        new = not self._curve or self._curve[-1]["epoch"] != epoch
        if new:
            self._curve.append(entry)
        else:  # later in the same epoch: the newest figures stand
            self._curve[-1] |= entry
        if new or "valid_loss" in figures:
            self._write()
        self._work.report(epoch - 1, epochs)

    def _write(self) -> None:
        with self._work.transaction() as session:
            run = session.get_one(TrainingRun, self._run_id)
            run.curve = [dict(entry) for entry in self._curve]

    def close(self) -> None:
        """Writes the last epoch's final figures down."""
        self._write()


def _register(
    session: Session, run_id: int, start: _Start, digest: str, figures: dict[str, Any]
) -> ModelVersion:
    """Writes the candidate down, unless somebody it learned from withdrew meanwhile."""
    run = session.get_one(TrainingRun, run_id)
    export = session.get_one(Export, run.export_id)
    exports.check_deliverable(session, export=export)
    parent = session.get_one(ModelVersion, start.parent)
    if parent.withdrawn_at is not None and start.options["fine_tune"]:
        raise Conflict(
            "Somebody who trained the model it started from withdrew; train again from scratch."
        )
    taken = session.scalar(select(ModelVersion.id).where(ModelVersion.name == run.name))
    model = ModelVersion(
        # Another training of the same name may have been faster.
        name=run.name if taken is None else f"{run.name[: LONGEST_NAME - 12]}-{run.id}",
        kind=run.kind,
        digest=digest,
        training_run_id=run.id,
        figures=figures
        | {
            "against": parent.name,
            "against_id": parent.id,
            "seen_by_current": _seen(session, export, parent),
        },
    )
    session.add(model)
    run.finished_at = now()
    session.flush()
    audit.append(
        session,
        action="model.registered",
        actor="worker",
        model=model.id,
        run=run.id,
        export=export.id,
        digest=digest,
    )
    return model


def _seen(session: Session, export: Export, parent: ModelVersion) -> int:
    """How many held-out people the other model learned from; each favours it in a comparison."""
    if parent.training_run is None:
        return 0
    tested = select(ExportItem.subject_id).where(
        ExportItem.export_id == export.id, ExportItem.split == "test"
    )
    return (
        session.scalar(
            select(func.count(ExportItem.subject_id.distinct())).where(
                ExportItem.export_id == parent.training_run.export_id,
                ExportItem.split != "test",
                ExportItem.subject_id.in_(tested),
            )
        )
        or 0
    )
