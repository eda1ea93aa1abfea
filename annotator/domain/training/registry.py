"""Which models there are, which one makes the pre-labels, and how that changes."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput, NotFound
from annotator.domain import audit, consent, prediction
from annotator.models import Dataset, ModelVersion, User

MAX_REASON = 300


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says about a model.

    Attributes:
        passed: it beats the current model on held-out faces.
        sentence: why, or why not.
    """

    passed: bool
    sentence: str


def get_model(session: Session, *, model_id: int) -> ModelVersion:
    """Finds a model.

    Raises:
        NotFound: there is none with this number.
    """
    model = session.get(ModelVersion, model_id)
    if model is None:
        raise NotFound("There is no such model.")
    return model


def find_model(session: Session, *, name: str) -> ModelVersion:
    """Finds a model by name or number, as people type it.

    Raises:
        NotFound: there is none; the sentence names those that exist.
    """
    model = session.scalar(select(ModelVersion).where(ModelVersion.name == name))
    if model is None and name.isascii() and name.isdigit():
        model = session.get(ModelVersion, int(name))
    if model is None:
        known = session.scalars(select(ModelVersion.name).order_by(ModelVersion.id.desc()).limit(9))
        raise NotFound(f"There is no model '{name}'. There are: {', '.join(known) or 'none yet'}.")
    return model


def list_models(session: Session) -> list[ModelVersion]:
    """All models: the current one, then the newest first."""
    models = session.scalars(select(ModelVersion).order_by(ModelVersion.id.desc())).all()
    return sorted(models, key=lambda model: model.state != "current")


def judge(session: Session, *, model: ModelVersion) -> Verdict:
    """The gate: a model must beat the one that is current, on faces of people it has not seen.

    The comparison is a paired bootstrap over the held-out faces: the whole 95 % interval of the
    difference must lie above zero.
    """
    if model.withdrawn_at is not None:
        return Verdict(
            passed=False, sentence="Somebody whose pictures trained it withdrew; train a new one."
        )
    current = session.scalar(select(ModelVersion).where(ModelVersion.state == "current"))
    if current is None:
        return Verdict(passed=True, sentence="No model is current.")
    comparison = model.figures.get("comparison")
    if not comparison:
        return Verdict(passed=False, sentence="It was never compared with another model.")
    if model.figures.get("against_id") != current.id:
        name = model.figures.get("against", "another model")
        return Verdict(
            passed=False,
            sentence=f"It was compared with {name}, which is no longer the current model.",
        )
    if comparison.get("better"):
        return Verdict(passed=True, sentence=f"It beats {current.name} on held-out people.")
    return Verdict(
        passed=False,
        sentence=f"It does not clearly beat {current.name} on held-out people.",
    )


def promote(
    session: Session, *, model: ModelVersion, by: User | None, override_reason: str | None = None
) -> ModelVersion:
    """Makes a model the one that pre-labels; every dataset is looked at anew in the background.

    Args:
        session: the open transaction.
        model: a candidate or a retired model.
        by: who decides; ``None`` is the command line.
        override_reason: why it may pass although the gate says no; kept in the log.

    Raises:
        Conflict: it is current already, it holds somebody who withdrew, the gate says no and no
            reason was given, or inference is forbidden here, where no model suggests anything.
        InvalidInput: a reason that is too long.
    """
    consent.require_inference(session)
    reason = " ".join((override_reason or "").split())
    if len(reason) > MAX_REASON:
        raise InvalidInput(f"Give the reason in at most {MAX_REASON} characters.")
    if model.state == "current":
        raise Conflict(f"{model.name} is the current model already.")
    verdict = judge(session, model=model)
    if model.withdrawn_at is not None:
        raise Conflict(verdict.sentence)
    if not verdict.passed and not reason:
        raise Conflict(
            f"{verdict.sentence} To promote it all the same, give a reason; it goes into the log."
        )
    _make_current(session, model)
    model.promoted_at, model.promoted_by = now(), by.id if by else None
    actor = audit.actor_of(model.promoted_by)
    details: dict[str, Any] = {} if verdict.passed else {"override": reason}
    audit.append(session, action="model.promoted", actor=actor, model=model.id, **details)
    _predict_everywhere(session, by)
    return model


def rollback_target(session: Session) -> ModelVersion | None:
    """The model that was current before the current one and still may be."""
    current = session.scalar(select(ModelVersion).where(ModelVersion.state == "current"))
    query = select(ModelVersion).where(
        ModelVersion.state == "retired",
        ModelVersion.withdrawn_at.is_(None),
        ModelVersion.promoted_at.is_not(None),
    )
    if current is not None and current.promoted_at is not None:
        query = query.where(ModelVersion.promoted_at < current.promoted_at)
    return session.scalar(query.order_by(ModelVersion.promoted_at.desc()).limit(1))


def rollback(session: Session, *, by: User | None) -> ModelVersion:
    """Makes the model before the current one current again.

    Raises:
        Conflict: there is none, or inference is forbidden here.
    """
    consent.require_inference(session)
    target = rollback_target(session)
    if target is None:
        raise Conflict("There is no earlier model to go back to.")
    # Its time of promotion stays, so that going back twice goes further back.
    _make_current(session, target)
    actor = audit.actor_of(by.id if by else None)
    audit.append(session, action="model.rolled_back", actor=actor, model=target.id)
    _predict_everywhere(session, by)
    return target


def _make_current(session: Session, model: ModelVersion) -> None:
    # Locked, so that two promotions at once do not leave two current models.
    rows = session.scalars(select(ModelVersion).order_by(ModelVersion.id).with_for_update())
    for other in rows:
        if other.state == "current":
            other.state = "retired"
    session.flush()
    model.state = "current"
    session.flush()


def _predict_everywhere(session: Session, by: User | None) -> None:
    for dataset_id in session.scalars(select(Dataset.id).order_by(Dataset.id)):
        prediction.start_prediction(session, dataset_id=dataset_id, by=by.id if by else None)
