"""After a restore: everything that was taken back since the backup is taken back again."""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.domain.erasure.withdrawal import Withdrawal, withdraw_purposes
from annotator.models import ERASURE_STEPS, ConsentEvent, Erasure, Job, Subject

ACTOR = "restore"


@dataclass(slots=True)
class Replayed:
    """What a replay did.

    Attributes:
        erased: numbers of the subjects that were erased.
        narrowed: numbers of those who took single purposes back.
        blobs: sealed bytes that must not come back.
    """

    erased: list[int] = field(default_factory=list)
    narrowed: list[int] = field(default_factory=list)
    blobs: set[str] = field(default_factory=set)


def replay_ledger(session: Session, *, records: Iterable[Mapping[str, Any]]) -> Replayed:
    """Takes back in a restored database whatever the ledger says was taken back.

    A person who withdrew after the backup is erased: rows and wrapped keys go, exports and models
    are marked. A single purpose is withdrawn unless the person agreed to it again before the
    backup was taken. Withdrawals that the backup knows are passed over; those that were on their
    way when it was taken lose their blobs here and are finished by a worker.

    The caller copies none of ``blobs`` and renews the key epoch before the vault is used.
    """
    done = Replayed()
    for erasure in session.scalars(select(Erasure).where(Erasure.finished_at.is_(None))):
        done.blobs.update(erasure.blobs)
    for record in records:
        subject = session.scalar(select(Subject).where(Subject.uid == record["subject"]))
        if record["what"] != "withdrawn" or subject is None or subject.withdrawn_at is not None:
            continue
        at = dt.datetime.fromisoformat(record["at"])
        purposes = [name for name in record["purposes"] if _stands(session, subject, name, at)]
        if "store" in record["purposes"]:
            purposes = ["store"]
        if not purposes:
            continue
        taken = withdraw_purposes(session, subject=subject, purposes=purposes, by=None, actor=ACTOR)
        _close(session, taken, at)
        done.blobs.update(taken.blobs)
        (done.erased if taken.consequences.everything else done.narrowed).append(subject.id)
    session.info.pop("jobs", None)
    session.info.pop("dead_blobs", None)
    session.flush()
    return done


def _stands(session: Session, subject: Subject, purpose: str, at: dt.datetime) -> bool:
    """Whether the backup does not know of this withdrawal, and of no later word on the purpose."""
    later = select(ConsentEvent.id).where(
        ConsentEvent.subject_id == subject.id,
        ConsentEvent.purpose == purpose,
        ConsentEvent.at >= at,
    )
    known = select(Erasure.id).where(Erasure.subject_id == subject.id, Erasure.created_at == at)
    return session.scalar(later.limit(1)) is None and session.scalar(known.limit(1)) is None


def _close(session: Session, taken: Withdrawal, at: dt.datetime) -> None:
    """The restore does the rest itself: nothing is left for a worker, and the ledger knows."""
    erasure = session.scalars(select(Erasure).where(Erasure.job_id == taken.job.id)).one()
    erasure.created_at, erasure.finished_at = at, now()
    erasure.step, erasure.blobs, erasure.job_id = ERASURE_STEPS[-1], [], None
    session.flush()
    session.execute(delete(Job).where(Job.id == taken.job.id))
