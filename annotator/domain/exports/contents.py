"""What an export says about itself: names, table, manifest. Nothing here names a person."""

import csv
import datetime as dt
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator import __version__
from annotator.core.emotions import EMOTION_NAMES, LABEL_NAMES
from annotator.domain import audit, consent
from annotator.domain.exports.selection import PURPOSES_OF, Candidate, Selection
from annotator.domain.ports import Vault
from annotator.domain.verification import FORMAT, FORMAT_VERSION, fingerprint
from annotator.models import (
    PURPOSES,
    Annotation,
    ConsentEvent,
    Dataset,
    Export,
    Installation,
    Notice,
    Subject,
    Task,
)

COLUMNS = (
    "file",
    "split",
    "label",
    *LABEL_NAMES,
    "agreement",
    "subject",
    "decided_by",
    "weight",
)
_LAW = (
    "Inferring emotions of people at work or in education is prohibited in the European Union "
    "except for medical or safety reasons (Regulation (EU) 2024/1689, Article 5(1)(f))."
)
RESTRICTIONS = {
    "workplace": f"Collected in a workplace: do not infer anybody's emotions with it. {_LAW}",
    "education": f"Collected in education: do not infer anybody's emotions with it. {_LAW}",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What manifest and card say, gathered in the transaction that chose the faces."""

    dataset: str
    votes_per_face: int
    counts: dict[str, Any]
    balance: dict[str, Any]
    consents: dict[str, Any]
    raters: int
    agreement: float | None
    deployment: dict[str, Any]
    log: dict[str, Any]


def file_name(vault: Vault, export_uid: str, candidate: Candidate, copy: int) -> str:
    """The path of one picture: random to everybody without the installation's index key.

    Derived, not drawn, so that a build that was interrupted gives the same names again.
    """
    digest = vault.blind_index(f"export-file-{export_uid}", f"{candidate.face_id}-{copy}")
    return f"images/{candidate.split}/{candidate.label}/{digest[:16].hex()}.png"


def pseudonym(vault: Vault, export_uid: str, subject_uid: str) -> str:
    """What one export calls a person; the next export calls them something else."""
    return "p-" + vault.blind_index(f"export-subject-{export_uid}", subject_uid)[:8].hex()


def write_table(rows: Sequence[tuple[str, Candidate, str]]) -> bytes:
    """``labels.csv``: one row per picture, by file name, which is a random order.

    Args:
        rows: file, face and pseudonym.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for file, face, name in sorted(rows, key=lambda row: row[0]):
        writer.writerow(
            [
                file,
                face.split,
                face.label,
                *face.votes,
                f"{face.agreement:.4f}",
                name,
                face.decided_by,
                f"{face.weight:.6f}",
            ]
        )
    return text.getvalue().encode()


def gather_facts(
    session: Session, *, export: Export, dataset: Dataset, selection: Selection, at: dt.datetime
) -> Facts:
    """Gathers what will be said about a selection."""
    written = selection.written
    agreements = [face.agreement for face in written]
    installation = session.scalar(select(Installation).limit(1))
    context = installation.context if installation else "research"
    return Facts(
        dataset=dataset.name,
        votes_per_face=dataset.votes_per_face,
        counts={
            "faces": len(written),
            "subjects": selection.subjects,
            "files": selection.files,
            "splits": selection.count(balanced=True),
            "left_out": selection.left_out,
        },
        balance={
            "method": export.balance,
            "seed": export.seed,
            "before": selection.count(balanced=False),
            "after": selection.count(balanced=True),
        },
        consents=_describe_consents(session, dataset, export.tier, written, at),
        raters=_count_raters(session, dataset),
        agreement=sum(agreements) / len(agreements) if agreements else None,
        deployment={"context": context, "restriction": RESTRICTIONS.get(context, _LAW)},
        log=_log_head(session),
    )


def describe(
    export: Export, facts: Facts, *, vault: Vault, copies: dict[str, str], at: dt.datetime
) -> dict[str, Any]:
    """The manifest, without its list of files."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "id": export.uid,
        "created": at.replace(microsecond=0).isoformat(),
        "application": {"name": "annotator", "version": __version__},
        "dataset": facts.dataset,
        "recipient": export.recipient,
        "tier": export.tier,
        "layout": export.format,
        "schema": {"labels": list(EMOTION_NAMES), "votes": list(LABEL_NAMES)},
        "counts": facts.counts,
        "balance": export.balance,
        "seeds": {"split": export.seed, "balance": export.seed},
        "consents": facts.consents,
        "deployment": facts.deployment,
        "log": facts.log,
        "public_key": fingerprint(vault.public_key("export")),
        "copies": copies,
    }


def _describe_consents(
    session: Session, dataset: Dataset, tier: str, written: Sequence[Candidate], at: dt.datetime
) -> dict[str, Any]:
    """How many of those in it agreed to what, and what they were told."""
    inside = {face.subject_id for face in written}
    purposes = {}
    for purpose in PURPOSES:
        query = select(Subject.id).where(
            Subject.dataset_id == dataset.id, consent.allowing(purpose, at)
        )
        purposes[purpose] = len(inside & set(session.scalars(query)))
    events = {face.consent_event_id for face in written}
    rows = session.execute(
        select(ConsentEvent.id, Notice)
        .join(Notice, Notice.id == ConsentEvent.notice_id)
        .where(Notice.dataset_id == dataset.id)
    )
    told: Counter[tuple[int, str, str]] = Counter()
    for event_id, notice in rows:
        if event_id in events:
            told[notice.version, notice.locale, notice.digest] += 1
    return {
        "required": ["store", *PURPOSES_OF[tier]],
        "purposes": purposes,
        "notices": [
            {"version": version, "locale": locale, "sha256": digest, "subjects": count}
            for (version, locale, digest), count in sorted(told.items())
        ],
    }


def _count_raters(session: Session, dataset: Dataset) -> int:
    return (
        session.scalar(
            select(func.count(Annotation.rater.distinct()))
            .join(Task, Task.id == Annotation.task_id)
            .where(Task.dataset_id == dataset.id, Annotation.taken_back_at.is_(None))
        )
        or 0
    )


def _log_head(session: Session) -> dict[str, Any]:
    """Where the log stood: its size and root, and the checkpoint that was signed last."""
    head, newest = audit.read_head(session), audit.newest_checkpoint(session)
    return {
        "entries": head.size,
        "root": head.root.hex(),
        "checkpoint": newest.note if newest else None,
    }
