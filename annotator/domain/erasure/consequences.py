"""What a withdrawal touches outside the pictures: exports that left, models that learned."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.domain import consent
from annotator.models import (
    PURPOSES,
    Annotation,
    Export,
    ExportItem,
    Face,
    Image,
    ModelVersion,
    Subject,
    Task,
    TrainingRun,
)

# Which exports a purpose holds together, by tier; a purpose that is not here touches none.
TIERS_OF = {
    "store": ("T1", "T2", "T3"),
    "train": ("T1", "T2", "T3"),
    "export_pseudonymised": ("T1",),
    "export_anonymised": ("T2", "T3"),
}
TEACHING = frozenset({"store", "train"})  # purposes without which nothing may have learned


@dataclass(frozen=True, slots=True)
class Consequences:
    """What a withdrawal would do, to be shown before it is done.

    Attributes:
        purposes: what is taken back.
        everything: whether the key and all pictures go.
        images: number of pictures that go.
        votes: number of votes that go with them.
        exports: those that are closed; their recipients are to be told.
        models: those that are marked.
    """

    purposes: tuple[str, ...]
    everything: bool
    images: int
    votes: int
    exports: tuple[Export, ...]
    models: tuple[ModelVersion, ...]

    @property
    def recipients(self) -> list[str]:
        """Who has to be told, each once."""
        return list(dict.fromkeys(export.recipient for export in self.exports))


def foresee(session: Session, *, subject: Subject, purposes: tuple[str, ...]) -> Consequences:
    """What withdrawing some purposes would do; ``store`` means everything.

    Raises:
        InvalidInput: an unknown purpose.
    """
    consent.check_purposes(purposes)
    everything = "store" in purposes
    chosen = PURPOSES if everything else tuple(name for name in PURPOSES if name in purposes)
    exports = find_exports(session, subject=subject, purposes=chosen)
    models = find_models(session, subject=subject) if TEACHING & set(chosen) else []
    return Consequences(
        purposes=chosen,
        everything=everything,
        images=_count_images(session, subject) if everything else 0,
        votes=_count_votes(session, subject) if everything else 0,
        exports=tuple(exports),
        models=tuple(models),
    )


def find_exports(session: Session, *, subject: Subject, purposes: tuple[str, ...]) -> list[Export]:
    """Exports that hold a person and rest on one of some purposes, those closed before included."""
    tiers = {tier for purpose in purposes for tier in TIERS_OF.get(purpose, ())}
    inside = select(ExportItem.export_id).where(ExportItem.subject_id == subject.id)
    query = select(Export).where(Export.id.in_(inside), Export.tier.in_(tiers))
    return list(session.scalars(query.order_by(Export.id)))


def find_models(session: Session, *, subject: Subject) -> list[ModelVersion]:
    """Models that learned from a person, also by way of a model that they started from."""
    inside = select(ExportItem.export_id).where(ExportItem.subject_id == subject.id)
    rows = session.execute(
        select(ModelVersion, TrainingRun)
        .join(TrainingRun, TrainingRun.id == ModelVersion.training_run_id)
        .order_by(ModelVersion.id)
    ).all()
    direct = set(session.scalars(inside))
    found: dict[int, ModelVersion] = {}
    for model, run in rows:  # a child is always younger than its parent
        parent = model.figures.get("against_id") if run.options.get("fine_tune") else None
        if run.export_id in direct or parent in found:
            found[model.id] = model
    return list(found.values())


def _count_images(session: Session, subject: Subject) -> int:
    query = select(func.count(Image.id)).where(Image.subject_id == subject.id)
    return session.scalar(query) or 0


def _count_votes(session: Session, subject: Subject) -> int:
    return (
        session.scalar(
            select(func.count(Annotation.id))
            .join(Task, Task.id == Annotation.task_id)
            .join(Face, Face.id == Task.face_id)
            .where(Face.subject_id == subject.id)
        )
        or 0
    )
