"""Asking people anew: what a later notice says newly, nobody agreed to under an earlier one."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.domain import audit
from annotator.domain.consent.facts import Facts
from annotator.models import PURPOSES, ConsentEvent, Dataset, Notice, Renewal, Subject

# Fields whose change makes a consent to some purposes one to something else.
CHANGES = {
    "recipients": ("export_pseudonymised", "export_anonymised", "publish_weights"),
    "transfers": ("export_pseudonymised", "export_anonymised", "publish_weights"),
    "emotion": ("prelabel",),
    "automated": PURPOSES,
}


@dataclass(frozen=True, slots=True)
class Due:
    """One person who has to be asked anew.

    Attributes:
        subject: who.
        purposes: what they agreed to under a notice that no longer counts for it.
        told: the version that they read, 0 when none is known.
    """

    subject: Subject
    purposes: tuple[str, ...]
    told: int


def must_renew(before: Sequence[Notice], texts: Mapping[str, Facts]) -> set[str]:
    """Purposes that mean something else in the new texts: see ``CHANGES``.

    A language that is new, and a notice that was brought as one text, cannot be compared field by
    field; their changes are for the author to name.
    """
    found: set[str] = set()
    for notice in before:
        facts = texts.get(notice.locale)
        if facts is None or notice.facts is None:
            continue
        old, new = notice.facts, facts.as_dict()
        for field, purposes in CHANGES.items():
            if " ".join(str(old.get(field, "")).split()) != " ".join(new[field].split()):
                found |= set(purposes)
    return found


def begin_renewal(
    session: Session,
    *,
    dataset: Dataset,
    version: int,
    purposes: Collection[str],
    by: int | None = None,
) -> None:
    """From now on, consent to these purposes counts only under this version or a later one."""
    if not purposes:
        return
    moment = now()
    chosen = [purpose for purpose in PURPOSES if purpose in purposes]
    session.add_all(
        Renewal(dataset_id=dataset.id, purpose=purpose, version=version, at=moment)
        for purpose in chosen
    )
    session.flush()
    audit.append(
        session,
        action="renewal.begun",
        actor=audit.actor_of(by),
        dataset=dataset.id,
        version=version,
        purposes=chosen,
    )


def list_renewals(session: Session, *, dataset: Dataset) -> list[Renewal]:
    """Every renewal of a dataset, newest first."""
    query = select(Renewal).where(Renewal.dataset_id == dataset.id)
    return list(session.scalars(query.order_by(Renewal.id.desc())))


def list_due(session: Session, *, dataset: Dataset, limit: int = 500) -> list[Due]:
    """People whose consent to something stopped counting because the notice changed."""
    newest = (
        select(
            ConsentEvent.id,
            func.row_number()
            .over(
                partition_by=(ConsentEvent.subject_id, ConsentEvent.purpose),
                order_by=(ConsentEvent.at.desc(), ConsentEvent.id.desc()),
            )
            .label("place"),
        )
        .join(Subject, Subject.id == ConsentEvent.subject_id)
        .where(Subject.dataset_id == dataset.id, Subject.withdrawn_at.is_(None))
        .subquery()
    )
    needed = (
        select(func.max(Renewal.version))
        .where(
            Renewal.dataset_id == dataset.id,
            Renewal.purpose == ConsentEvent.purpose,
            Renewal.at <= now(),
        )
        .scalar_subquery()
    )
    rows = session.execute(
        select(Subject, ConsentEvent.purpose, func.coalesce(Notice.version, 0))
        .join(ConsentEvent, ConsentEvent.subject_id == Subject.id)
        .join(newest, (newest.c.id == ConsentEvent.id) & (newest.c.place == 1))
        .outerjoin(Notice, Notice.id == ConsentEvent.notice_id)
        .where(
            ConsentEvent.kind.in_(("given", "renewed")),
            ConsentEvent.expires_at > now(),
            func.coalesce(Notice.version, 0) < needed,
        )
        .order_by(Subject.id)
    )
    found: dict[int, Due] = {}
    for subject, purpose, version in rows:
        known = found.get(subject.id)
        if known is None and len(found) == limit:
            break
        purposes = (*known.purposes, purpose) if known else (purpose,)
        ordered = tuple(name for name in PURPOSES if name in purposes)
        found[subject.id] = Due(subject, ordered, min(version, known.told if known else version))
    return list(found.values())


def compare_texts(before: str, after: str) -> list[tuple[str, str]]:
    """A readable difference, line by line: ``same``, ``gone`` or ``new``, and the line."""
    kinds = {" ": "same", "-": "gone", "+": "new"}
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [(kinds[line[0]], line[2:]) for line in lines if line[0] in kinds]
