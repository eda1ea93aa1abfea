"""Retraining from an export, and the registry: candidates, the current model, the way back."""

from annotator.domain.training.lessons import MIN_FACES, read_lessons
from annotator.domain.training.registry import (
    MAX_REASON,
    Verdict,
    find_model,
    get_model,
    judge,
    list_models,
    promote,
    rollback,
    rollback_target,
)
from annotator.domain.training.retraining import Retraining, list_tainted, plan_retraining
from annotator.domain.training.running import (
    KINDS,
    list_runs,
    request_training,
    train_model,
)

__all__ = [
    "KINDS",
    "MAX_REASON",
    "MIN_FACES",
    "Retraining",
    "Verdict",
    "find_model",
    "get_model",
    "judge",
    "list_models",
    "list_runs",
    "list_tainted",
    "plan_retraining",
    "promote",
    "read_lessons",
    "request_training",
    "rollback",
    "rollback_target",
    "train_model",
]
