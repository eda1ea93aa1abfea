"""The rest of a withdrawal, step by step; after a crash it goes on where it was.

What is committed when this begins: the log knows, the person's keys and rows are gone. Each step
may be done twice. Steps that cannot be done now do not keep the one that counts waiting, the new
key epoch; the last step makes them good and ends the withdrawal only when everything is done.

1. ``note``: the ledger learns who withdrew, so that even a disaster now is followed by a restore
   that erases them.
2. ``blobs``: sealed bytes that nothing points to are deleted.
3. ``journal``: what SQLite's write-ahead log still holds of deleted rows goes.
4. ``epoch``: everybody else's key is wrapped anew and all older epochs are destroyed.
5. ``close``: what is left of 1 to 3, and the ledger learns which epochs are destroyed.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine

from annotator.core.db import empty_journal, now
from annotator.core.errors import AnnotatorError
from annotator.domain import audit, jobs
from annotator.domain.erasure.keys import renew_epoch
from annotator.domain.erasure.progress import pause_after
from annotator.models import ERASURE_STEPS, Erasure, Subject

# Deleted rows of these may be left in the database's journal.
TABLES = ("subjects", "images", "faces", "predictions", "cluster_members", "tasks", "annotations")
SHORT, LONG = 1.0, 10.0  # seconds that are waited for readers of the journal


def finish_withdrawal(work: jobs.Work, *, erasure_id: int) -> dict[str, Any]:
    """Job ``erase``: does what is left of a withdrawal, whatever that is.

    Idempotent: a finished one stays as it is.

    Returns:
        The ``subject``, and the ``epoch`` that is in force.

    Raises:
        AnnotatorError: a step failed; ``resume_withdrawals`` has it tried again.
    """
    with work.transaction() as session:
        erasure = session.get_one(Erasure, erasure_id)
        subject_id, step = erasure.subject_id, erasure.step
        if step != ERASURE_STEPS[-1]:
            erasure.attempts += 1
            erasure.retry_at = now() + pause_after(erasure.attempts)
    while step != ERASURE_STEPS[-1]:
        _STEPS[step](work, erasure_id)
        with work.transaction() as session:
            step = session.get_one(Erasure, erasure_id).step
    return {"subject": subject_id, "epoch": work.tools.vault.epoch}


def _note(work: jobs.Work, erasure_id: int) -> None:
    with suppress(AnnotatorError):
        _write_ledger(work, erasure_id, "withdrawn")
    _go_on(work, erasure_id, "blobs")


def _delete_blobs(work: jobs.Work, erasure_id: int) -> None:
    with suppress(AnnotatorError):
        _delete_rest(work, erasure_id)
    _go_on(work, erasure_id, "journal")


def _empty_journal(work: jobs.Work, erasure_id: int) -> None:
    with suppress(AnnotatorError):
        empty_journal(_engine(work), tables=TABLES, patience=SHORT)
    _go_on(work, erasure_id, "epoch")


def _renew_epoch(work: jobs.Work, erasure_id: int) -> None:
    with work.transaction() as session:
        last = session.get_one(Erasure, erasure_id).epoch
    # Somebody else's withdrawal may have destroyed it since; or one purpose was taken back only.
    if last is not None and any(epoch <= last for epoch in work.tools.vault.epochs):
        renew_epoch(work)
    _go_on(work, erasure_id, "close")


def _close(work: jobs.Work, erasure_id: int) -> None:
    _delete_rest(work, erasure_id)
    empty_journal(_engine(work), tables=TABLES, patience=LONG)
    _write_ledger(work, erasure_id, "withdrawn")
    with work.transaction() as session:
        everything = session.get_one(Erasure, erasure_id).epoch is not None
    if everything:
        _write_ledger(work, erasure_id, "destroyed")
    with work.transaction() as session:
        erasure = session.get_one(Erasure, erasure_id, with_for_update=True)
        if erasure.step == ERASURE_STEPS[-1]:
            return  # another worker was faster
        erasure.step, erasure.finished_at = ERASURE_STEPS[-1], now()
        erasure.error = erasure.retry_at = None
        audit.append(session, action="erasure.finished", actor="worker", epoch=erasure.epoch)


_STEPS: Mapping[str, Callable[[jobs.Work, int], None]] = {
    "note": _note,
    "blobs": _delete_blobs,
    "journal": _empty_journal,
    "epoch": _renew_epoch,
    "close": _close,
}


def _go_on(work: jobs.Work, erasure_id: int, step: str) -> None:
    with work.transaction() as session:
        session.get_one(Erasure, erasure_id).step = step


def _delete_rest(work: jobs.Work, erasure_id: int) -> None:
    """Deletes every blob it can.

    Raises:
        AnnotatorError: the first that went wrong; the others are deleted all the same.
    """
    with work.transaction() as session:
        blobs = list(session.get_one(Erasure, erasure_id).blobs)
    left, failure = [], None
    for blob in blobs:
        try:
            work.tools.vault.delete_blob(blob)
        except AnnotatorError as error:
            left.append(blob)
            failure = failure or error
    if blobs:
        with work.transaction() as session:
            session.get_one(Erasure, erasure_id).blobs = left
    if failure is not None:
        raise failure


def _write_ledger(work: jobs.Work, erasure_id: int, what: str) -> None:
    with work.transaction() as session:
        erasure = session.get_one(Erasure, erasure_id)
        record = {
            "what": what,
            "at": erasure.created_at.isoformat(),
            "subject": session.get_one(Subject, erasure.subject_id).uid,
            "purposes": list(erasure.purposes),
            "epoch": erasure.epoch,
        }
    work.tools.ledger.append(record)


def _engine(work: jobs.Work) -> Engine:
    with work.transaction() as session:
        return session.connection().engine
