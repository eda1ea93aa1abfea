"""What to do about a model that learned from somebody who withdrew: the same again without them."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.domain import exports
from annotator.models import Export, ModelVersion


@dataclass(frozen=True, slots=True)
class Retraining:
    """How a model is made again.

    Attributes:
        source: the export that it learned from; closed since.
        ready: a newer export of the same dataset that nobody has withdrawn from, if there is one.
        options: of the training, with ``fine_tune`` off where the current model holds them as well.
    """

    source: Export
    ready: Export | None
    options: dict[str, Any]


def plan_retraining(session: Session, *, model: ModelVersion) -> Retraining | None:
    """How to train a model again without those who withdrew.

    ``None`` where nobody withdrew, or it was not trained here.
    """
    run = model.training_run
    if model.withdrawn_at is None or run is None:
        return None
    source = session.get_one(Export, run.export_id)
    newer = session.scalars(
        select(Export)
        .where(
            Export.dataset_id == source.dataset_id,
            Export.id > source.id,
            Export.tier == source.tier,
            Export.state == "ready",
            Export.withdrawn_at.is_(None),
        )
        .order_by(Export.id.desc())
    )
    ready = next((each for each in newer if not exports.disallowed(session, export=each)), None)
    current = session.scalar(select(ModelVersion).where(ModelVersion.state == "current"))
    clean = current is None or current.withdrawn_at is None
    options = dict(run.options) | {"fine_tune": bool(run.options.get("fine_tune")) and clean}
    return Retraining(source, ready, options)


def list_tainted(session: Session) -> list[ModelVersion]:
    """Models that somebody withdrew from and that are in use, or wait to be; the current first."""
    found = session.scalars(
        select(ModelVersion)
        .where(
            ModelVersion.withdrawn_at.is_not(None), ModelVersion.state.in_(("current", "candidate"))
        )
        .order_by(ModelVersion.id.desc())
    )
    return sorted(found, key=lambda model: model.state != "current")
