"""Every table. Columns, relationships and read-only properties; no rules."""

from annotator.models.accounts import ROLES, ApiToken, BrowserSession, Membership, User
from annotator.models.consent import (
    EVENT_KINDS,
    EXPRESSIONS,
    PURPOSES,
    ConsentEvent,
    Notice,
    Subject,
)
from annotator.models.datasets import Dataset
from annotator.models.exports import BALANCES, TIERS, Export, ExportItem
from annotator.models.images import IMAGE_STATES, Face, Image, RetiredBlob
from annotator.models.labelling import FLAGS, MODES, Annotation, Lease, Place, Review, Skip, Task
from annotator.models.learning import (
    MODEL_STATES,
    ClusterMember,
    ClusterRun,
    ModelVersion,
    Prediction,
    TrainingRun,
)
from annotator.models.operations import CONTEXTS, JOB_STATES, AuditEntry, Installation, Job

__all__ = [
    "BALANCES",
    "CONTEXTS",
    "EVENT_KINDS",
    "EXPRESSIONS",
    "FLAGS",
    "IMAGE_STATES",
    "JOB_STATES",
    "MODEL_STATES",
    "MODES",
    "PURPOSES",
    "ROLES",
    "TIERS",
    "Annotation",
    "ApiToken",
    "AuditEntry",
    "BrowserSession",
    "ClusterMember",
    "ClusterRun",
    "ConsentEvent",
    "Dataset",
    "Export",
    "ExportItem",
    "Face",
    "Image",
    "Installation",
    "Job",
    "Lease",
    "Membership",
    "ModelVersion",
    "Notice",
    "Place",
    "Prediction",
    "RetiredBlob",
    "Review",
    "Skip",
    "Subject",
    "Task",
    "TrainingRun",
    "User",
]
