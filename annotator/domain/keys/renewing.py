"""Asking for a new epoch for everybody."""

from sqlalchemy.orm import Session

from annotator.domain import audit, jobs
from annotator.models import Job


def start_renewal(session: Session, *, epoch: int, by: int | None = None) -> Job:
    """Has a worker wrap everybody's key anew and destroy what is older.

    Args:
        session: the open transaction.
        epoch: the oldest epoch whose key exists.
        by: who asks; nobody is the command line.
    """
    audit.append(session, action="keys.rotation_started", actor=audit.actor_of(by), epoch=epoch)
    return jobs.enqueue(session, kind="renew_epoch", arguments={"epoch": epoch}, created_by=by)
