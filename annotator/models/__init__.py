"""Every table. Columns, relationships and read-only properties; no rules."""

from annotator.models.accounts import ROLES, ApiToken, BrowserSession, Membership, User
from annotator.models.consent import (
    ASSENTS,
    EVENT_KINDS,
    EXPRESSIONS,
    PARTIES,
    PURPOSES,
    ConsentEvent,
    ConsentStatement,
    Notice,
    Renewal,
    Subject,
)
from annotator.models.datasets import Dataset
from annotator.models.erasure import ERASURE_STEPS, Erasure
from annotator.models.evidence import AuditEntry, AuditHead, AuditNode, AuditSalt, Checkpoint
from annotator.models.exports import BALANCES, TIERS, Export, ExportItem
from annotator.models.images import IMAGE_STATES, Face, Image, RetiredBlob
from annotator.models.invitations import INVITATION_KINDS, Invitation
from annotator.models.labelling import FLAGS, MODES, Annotation, Lease, Place, Review, Skip, Task
from annotator.models.learning import (
    MODEL_STATES,
    ClusterMember,
    ClusterRun,
    ModelVersion,
    Prediction,
    TrainingRun,
)
from annotator.models.operations import CONTEXTS, JOB_STATES, Installation, Job

__all__ = [
    "ASSENTS",
    "BALANCES",
    "CONTEXTS",
    "ERASURE_STEPS",
    "EVENT_KINDS",
    "EXPRESSIONS",
    "FLAGS",
    "IMAGE_STATES",
    "INVITATION_KINDS",
    "JOB_STATES",
    "MODEL_STATES",
    "MODES",
    "PARTIES",
    "PURPOSES",
    "ROLES",
    "TIERS",
    "Annotation",
    "ApiToken",
    "AuditEntry",
    "AuditHead",
    "AuditNode",
    "AuditSalt",
    "BrowserSession",
    "Checkpoint",
    "ClusterMember",
    "ClusterRun",
    "ConsentEvent",
    "ConsentStatement",
    "Dataset",
    "Erasure",
    "Export",
    "ExportItem",
    "Face",
    "Image",
    "Installation",
    "Invitation",
    "Job",
    "Lease",
    "Membership",
    "ModelVersion",
    "Notice",
    "Place",
    "Prediction",
    "Renewal",
    "RetiredBlob",
    "Review",
    "Skip",
    "Subject",
    "Task",
    "TrainingRun",
    "User",
]
