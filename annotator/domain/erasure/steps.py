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

import datetime as dt
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from annotator.core.db import empty_journal, now
from annotator.core.errors import AnnotatorError
from annotator.domain import audit, jobs
from annotator.domain.erasure.keys import renew_epoch
from annotator.domain.erasure.progress import pause_after
from annotator.models import ERASURE_STEPS, Erasure, Subject

# Deleted rows of these, or emptied ones, may be left in the database's journal.
TABLES = (
    "annotations",
    "audit_salts",
    "cluster_members",
    "erasures",
    "export_items",
    "faces",
    "images",
    "leases",
    "predictions",
    "retired_blobs",
    "reviews",
    "skips",
    "statements",
    "subjects",
    "tasks",
)
SHORT, LONG = 1.0, 10.0  # seconds that are waited for readers of the journal
DONE = ERASURE_STEPS[-1]


@dataclass(slots=True)
class _Task:
    """What is known of a withdrawal; ``blobs`` gets shorter as they are deleted."""

    id: int
    subject_id: int
    uid: str
    purposes: list[str]
    at: dt.datetime
    step: str
    epoch: int | None
    blobs: list[str]
    engine: Engine

    def record(self, what: str) -> dict[str, Any]:
        """A line of the ledger."""
        return {
            "what": what,
            "at": self.at.isoformat(),
            "subject": self.uid,
            "purposes": self.purposes,
            "epoch": self.epoch,
        }


def finish_withdrawal(work: jobs.Work, *, erasure_id: int) -> dict[str, Any]:
    """Job ``erase``: does what is left of a withdrawal, whatever that is.

    Idempotent: a finished one stays as it is.

    Returns:
        The ``subject``, and the ``epoch`` that is in force.

    Raises:
        AnnotatorError: a step failed; ``resume_withdrawals`` has it tried again.
    """
    with work.transaction() as session:
        task = _begin(session, erasure_id)
    while task.step != DONE:
        following = _STEPS[task.step](work, task)
        with work.transaction() as session:
            _go_on(session, task, following)
    return {"subject": task.subject_id, "epoch": work.tools.vault.epoch}


def _begin(session: Session, erasure_id: int) -> _Task:
    erasure = session.get_one(Erasure, erasure_id)
    if erasure.step != DONE:
        # Written down before anything can go wrong, so that every failure has its pause.
        erasure.attempts += 1
        erasure.retry_at = now() + pause_after(erasure.attempts)
    return _Task(
        id=erasure.id,
        subject_id=erasure.subject_id,
        uid=session.get_one(Subject, erasure.subject_id).uid,
        purposes=list(erasure.purposes),
        at=erasure.created_at,
        step=erasure.step,
        epoch=erasure.epoch,
        blobs=list(erasure.blobs),
        engine=session.connection().engine,
    )


def _go_on(session: Session, task: _Task, following: str) -> None:
    """Writes a step down; never back to one that another worker, who was faster, has behind it."""
    erasure = session.get_one(Erasure, task.id, with_for_update=True)
    ahead = ERASURE_STEPS.index(following) > ERASURE_STEPS.index(erasure.step)
    if ahead and following == DONE:
        erasure.finished_at = now()
        erasure.error = erasure.retry_at = None
        audit.append(session, action="erasure.finished", actor="worker", epoch=task.epoch)
    if ahead:
        erasure.step = following
    task.step = erasure.step
    task.blobs = [blob for blob in erasure.blobs if blob in task.blobs]
    if erasure.blobs != task.blobs:
        erasure.blobs = task.blobs


def _note(work: jobs.Work, task: _Task) -> str:
    with suppress(AnnotatorError):
        work.tools.ledger.append(task.record("withdrawn"))
    return "blobs"


def _delete_blobs(work: jobs.Work, task: _Task) -> str:
    with suppress(AnnotatorError):
        _delete_rest(work, task)
    return "journal"


def _empty_journal(_work: jobs.Work, task: _Task) -> str:
    with suppress(AnnotatorError):
        empty_journal(task.engine, tables=TABLES, patience=SHORT)
    return "epoch"


def _renew_epoch(work: jobs.Work, task: _Task) -> str:
    # Somebody else's withdrawal may have destroyed it since; or one purpose was taken back only.
    if task.epoch is not None and any(old <= task.epoch for old in work.tools.vault.epochs):
        renew_epoch(work)
    return "close"


def _close(work: jobs.Work, task: _Task) -> str:
    _delete_rest(work, task)
    empty_journal(task.engine, tables=TABLES, patience=LONG)
    work.tools.ledger.append(task.record("withdrawn"))
    if task.epoch is not None:
        work.tools.ledger.append(task.record("destroyed"))
    return DONE


_STEPS: Mapping[str, Callable[[jobs.Work, _Task], str]] = {
    "note": _note,
    "blobs": _delete_blobs,
    "journal": _empty_journal,
    "epoch": _renew_epoch,
    "close": _close,
}


def _delete_rest(work: jobs.Work, task: _Task) -> None:
    """Deletes every blob it can.

    Raises:
        AnnotatorError: the first that went wrong; the others are deleted all the same.
    """
    left: list[str] = []
    failure: AnnotatorError | None = None
    for blob in task.blobs:
        try:
            work.tools.vault.delete_blob(blob)
        except AnnotatorError as error:
            left.append(blob)
            failure = failure or error
    task.blobs = left
    if failure is not None:
        raise failure
