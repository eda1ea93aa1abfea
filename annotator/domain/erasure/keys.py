"""After an erasure everybody else's key is wrapped anew and the old wrapping key destroyed.

What is left of the erased key, in the database's journal, in freed blocks or in a stolen copy, was
wrapped under the old key and is worth nothing from then on.
"""

from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.errors import Conflict
from annotator.domain import audit, consent, jobs
from annotator.domain.ports import Vault
from annotator.models import Installation, Subject


def renew_epoch(work: jobs.Work, *, epoch: int) -> dict[str, int]:
    """Job ``renew_epoch``. Idempotent: a second run makes one more epoch and destroys the others.

    Args:
        work: the job.
        epoch: the epoch under which the erased key was wrapped.

    Returns:
        ``keys`` wrapped anew, and the ``epoch`` that is in force.
    """
    vault = work.tools.vault
    with work.transaction() as session:
        # Whoever adds a person holds this row too, so that nobody gets a key under the old epoch
        # while this is being committed; SQLite has one writer anyway.
        session.execute(select(Installation.id).with_for_update())
        subjects = _with_keys(session)
        oldest = min([epoch, *(subject.key_epoch or epoch for subject in subjects)])
        newest = _rewrap(session, vault, subjects)
        renewed = len(subjects)
    for old in range(oldest, newest):
        with suppress(Conflict):  # destroyed by an earlier run
            vault.destroy_epoch(old)
    with work.transaction() as session:
        audit.append(session, action="keys.renewed", actor="worker", epoch=newest, keys=renewed)
    work.report(renewed, renewed)
    return {"keys": renewed, "epoch": newest}


def _with_keys(session: Session) -> Sequence[Subject]:
    query = select(Subject).where(Subject.wrapped_key.is_not(None)).order_by(Subject.id)
    return session.scalars(query.with_for_update()).all()


def _rewrap(session: Session, vault: Vault, subjects: Sequence[Subject]) -> int:
    """Wraps keys under a new epoch; answers its number."""
    keys = [(who.uid, consent.present_key_of(vault, who)) for who in subjects]
    for subject, (uid, key) in zip(subjects, vault.rotate(keys), strict=True):
        assert subject.uid == uid
        subject.wrapped_key = key.wrapped
        subject.key_epoch, subject.key_version = key.epoch, key.version
        if (coming := consent.next_key_of(vault, subject)) is not None:
            coming = vault.rewrap(uid, coming)
            subject.next_wrapped_key, subject.next_key_epoch = coming.wrapped, coming.epoch
    session.flush()
    # Also right when nobody is left: a key made now is wrapped under the epoch in force.
    return vault.create_key("nobody").epoch
