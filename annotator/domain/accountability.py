"""What the law asks to be written down, made from what is really here.

The record of processing (GDPR, Article 30), and the draft of an impact assessment (Article 35)
with figures that are measured when it is opened.
"""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.domain import consent
from annotator.models import (
    PURPOSES,
    AuditEntry,
    ConsentEvent,
    ConsentStatement,
    Dataset,
    Export,
    Face,
    Image,
    Installation,
    Membership,
    ModelVersion,
    Notice,
    Prediction,
    Subject,
    User,
)

# What protects the pictures; each is a part of the program that its tests hold to it.
SAFEGUARDS = (
    "Every person's pictures, names and evidence are encrypted under a key of their own.",
    "One gate, closed by default, asks for consent before a picture is opened, shown or exported.",
    "A screen or a file shows the consenting person's face and covers everything else.",
    "A withdrawal destroys the person's key and renews everybody else's.",
    "Consents end by themselves; a daily sweep erases what nothing allows any more.",
    "Colleagues see the datasets that they are members of, by role; sign-ins are rate-limited.",
    "A log that is only ever added to says who did what, without personal data.",
)
OPENED = {
    "subject.contact_opened": "times that a name was opened",
    "subject.guardian_opened": "times that a guardian's name was opened",
    "evidence.opened": "times that the evidence of a consent was opened",
}
CATEGORIES = (
    "pictures of the face and the expression in it",
    "labels that annotators gave, and what a model guessed",
    "name and contact, if given, and a guardian's",
    "consents, with the evidence for them",
)


def describe_processing(session: Session) -> dict[str, Any]:
    """The record of processing activities: one for each dataset.

    Returns:
        JSON of the installation's context, what protects the data, and ``activities``.
    """
    found = session.scalars(select(Dataset).order_by(Dataset.id))
    return {
        "made_at": now().isoformat(),
        "context": session.scalar(select(Installation.context)),
        "inference": consent.inference_forbidden(session) or "allowed with consent",
        "safeguards": list(SAFEGUARDS),
        "activities": [_describe_activity(session, dataset) for dataset in found],
    }


def assess_impact(session: Session) -> dict[str, Any]:
    """The figures of an impact assessment, measured here and now.

    Returns:
        JSON: ``people``, ``consents``, ``pictures``, ``redaction``, ``models``, ``exports``,
        ``access`` and ``notices``; a figure that was not measured is ``None``.
    """
    return {
        "made_at": now().isoformat(),
        "context": session.scalar(select(Installation.context)),
        "forbidden": consent.inference_forbidden(session),
        "people": _count_people(session),
        "consents": {
            purpose: _count(session, Subject, consent.allowing(purpose, now()))
            for purpose in PURPOSES
        },
        "evidence": _count_evidence(session),
        "pictures": _count_by(session, Image.state),
        "redaction": _count_redactions(session),
        "predictions": _count(session, Prediction),
        "models": [_describe_model(model) for model in _standing_models(session)],
        "exports": [_describe_export(export) for export in _ready_exports(session)],
        "access": _count_access(session),
        "processing": describe_processing(session),
    }


def _describe_activity(session: Session, dataset: Dataset) -> dict[str, Any]:
    notices = consent.current_notices(session, dataset=dataset)
    facts = consent.Facts.read((notices[0].facts or {}) if notices else {}).as_dict()
    exports = session.scalars(
        select(Export).where(Export.dataset_id == dataset.id, Export.state == "ready")
    )
    return {
        "name": dataset.name,
        "about": facts["about"] or dataset.description,
        "controller": facts["controller"],
        "contact": facts["contact"],
        "dpo": facts["dpo"],
        "purposes": list(notices[0].purposes) if notices else [],
        "legal_basis": ["GDPR 6(1)(a)", "GDPR 9(2)(a)"],
        "people": {
            "present": _count(
                session, Subject, Subject.dataset_id == dataset.id, Subject.withdrawn_at.is_(None)
            ),
            "minors": _count(
                session,
                Subject,
                Subject.dataset_id == dataset.id,
                Subject.withdrawn_at.is_(None),
                Subject.majority_at > now(),
            ),
            "erased": _count(
                session,
                Subject,
                Subject.dataset_id == dataset.id,
                Subject.withdrawn_at.is_not(None),
            ),
        },
        "categories": list(CATEGORIES),
        "recipients_told": facts["recipients"],
        "recipients_real": [_describe_export(export) for export in exports],
        "transfers": facts["transfers"],
        "retention_told": facts["retention"],
        "retention_rule": {
            "retention_days": dataset.retention_days,
            "grace_days": dataset.grace_days,
        },
        "colleagues": _count(session, Membership, Membership.dataset_id == dataset.id),
        "notice": _describe_notice(notices[0]) if notices else None,
        "languages": [notice.locale for notice in notices],
    }


def _describe_notice(notice: Notice) -> dict[str, Any]:
    return {
        "version": notice.version,
        "digest": notice.digest,
        "since": notice.created_at.isoformat(),
        "structured": notice.facts is not None,
    }


def _describe_export(export: Export) -> dict[str, Any]:
    """An export; the attacks on it stand in its counts once they were run."""
    return {
        "id": export.id,
        "recipient": export.recipient,
        "tier": export.tier,
        "at": export.created_at.isoformat(),
        "subjects": export.counts.get("subjects"),
        "files": export.counts.get("files"),
        "withdrawn": export.withdrawn_at is not None,
        "reidentification": export.counts.get("reidentification"),
    }


def _describe_model(model: ModelVersion) -> dict[str, Any]:
    return {
        "name": model.name,
        "state": model.state,
        "withdrawn": model.withdrawn_at is not None,
        "figures": {
            name: value
            for name, value in (model.figures.get("candidate") or {}).items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        },
    }


def _standing_models(session: Session) -> list[ModelVersion]:
    query = select(ModelVersion).where(ModelVersion.state.in_(("current", "candidate")))
    return list(session.scalars(query.order_by(ModelVersion.id.desc()).limit(10)))


def _ready_exports(session: Session) -> list[Export]:
    query = select(Export).where(Export.state == "ready")
    return list(session.scalars(query.order_by(Export.id.desc()).limit(50)))


def _count_people(session: Session) -> dict[str, int]:
    present = Subject.withdrawn_at.is_(None)
    return {
        "present": _count(session, Subject, present),
        "minors": _count(session, Subject, present, Subject.majority_at > now()),
        "erased": _count(session, Subject, Subject.withdrawn_at.is_not(None)),
    }


def _count_evidence(session: Session) -> dict[str, int]:
    """How consents were expressed, and how many have a paper."""
    said = ConsentEvent.kind.in_(consent.GRANTING)
    rows = session.execute(
        select(ConsentEvent.expression, func.count()).where(said).group_by(ConsentEvent.expression)
    )
    by_way = {str(way or "not told"): count for way, count in rows}
    scanned = ConsentStatement.evidence_blob.is_not(None)
    return {**by_way, "with a scan": _count(session, ConsentStatement, scanned)}


def _count_redactions(session: Session) -> dict[str, int]:
    """What people decided about redactions, as the log has it, and what waits."""
    decided = {
        name: _count(session, AuditEntry, AuditEntry.action == f"redaction.{name}")
        for name in ("approved", "rejected")
    }
    waiting = _count(session, Image, Image.state == "review")
    return {**decided, "waiting": waiting, "faces": _count(session, Face)}


def _count_access(session: Session) -> dict[str, int]:
    """Who may come near, and how often sealed things were opened."""
    rows = session.execute(select(User.role, func.count()).where(User.active).group_by(User.role))
    opened = {
        words: _count(session, AuditEntry, AuditEntry.action == action)
        for action, words in OPENED.items()
    }
    return {**{f"colleagues who are {role}": count for role, count in rows}, **opened}


def _count_by(session: Session, column: Any) -> dict[str, int]:
    rows = session.execute(select(column, func.count()).group_by(column))
    return dict(rows.all())


def _count(session: Session, table: Any, *conditions: Any) -> int:
    return session.scalar(select(func.count()).select_from(table).where(*conditions)) or 0
