"""``sweep``: deletes blobs that no row names, and never one whose row is still to come.

A blob is written before its row (house rule 7), so there are always a few without one: of uploads
that are just being committed, and of processes that died between the two. What tells them apart is
time. Let the sweep begin at ``t``. A blob counts as an orphan only if it is older than

* the grace time,
* every transaction that was open at ``t``: it may have written the blob and name it later,
* every job that was running at ``t``: jobs write blobs between their transactions,

and no row named it in a snapshot taken after all that was looked up. Whoever wrote such a blob has
ended before ``t``, so its row would be in the snapshot. On SQLite, where one transaction writes at
a time, taking the write lock once at ``t`` ends all that were open.
"""

import datetime as dt
import logging
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from annotator.core.db import now, oldest_transaction
from annotator.core.errors import Conflict
from annotator.core.locks import alone
from annotator.domain import audit, jobs
from annotator.domain.holdings import list_named
from annotator.domain.ports import Vault
from annotator.models import Installation, Job

log = logging.getLogger(__name__)

GRACE = dt.timedelta(hours=24)
CLOCKS = dt.timedelta(minutes=10)  # by which the clocks of several machines may differ
SUSPICIOUS = 100  # orphans; so many, and more than half of everything, look like a wrong database
KIND = "sweep_blobs"


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep found.

    Attributes:
        blobs: how many there are, orphans included.
        orphans: ids of those without a row.
        unfinished: temporary files of crashed writes that were removed.
    """

    blobs: int
    orphans: tuple[str, ...]
    unfinished: int


def sweep(
    engine: Engine,
    *,
    vault: Vault,
    grace: dt.timedelta = GRACE,
    dry_run: bool = False,
    force: bool = False,
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> Swept:
    """Deletes orphans and unfinished temporary files; see the module for why it is safe.

    Args:
        engine: the database whose rows count; it is only read.
        vault: whose blobs.
        grace: how old an orphan must be.
        dry_run: only looks.
        force: deletes also when more than half of all blobs have no row.
        report: is told how many orphans are deleted, and of how many.

    Raises:
        Conflict: another sweep is running, the database is of another installation, or most
            blobs have no row.
    """
    with alone(engine, "sweep"):
        limit = _find_limit(engine, install=vault.install, grace=grace)
        with Session(engine) as session:
            named = {bytes.fromhex(blob) for blob in list_named(session)}
        count, orphans = 0, []
        for blob, stored in vault.list_blobs():
            count += 1
            if stored < limit and bytes.fromhex(blob) not in named:
                orphans.append(blob)
        if dry_run:
            return Swept(count, tuple(orphans), 0)
        if len(orphans) > max(SUSPICIOUS, count // 2) and not force:
            raise Conflict(
                f"{len(orphans):,} of {count:,} blobs have no row, which looks like a wrong or an "
                "old database. Nothing was deleted; if it is right, run `sweep --force`."
            )
        for number, blob in enumerate(orphans, start=1):
            vault.delete_blob(blob)
            report(number, len(orphans))
        return Swept(count, tuple(orphans), vault.delete_unfinished(before=limit))


def _find_limit(engine: Engine, *, install: str, grace: dt.timedelta) -> float:
    """Seconds since 1970; whoever wrote a blob before that has also ended."""
    with Session(engine) as session:
        # On SQLite this waits for the transaction that is writing, and so for its row.
        session.connection(execution_options={"writing": True})
        if session.scalar(select(Installation.install)) != install:
            raise Conflict("The database belongs to another installation; nothing was deleted.")
        moments = [now() - grace]
        busy = [
            oldest_transaction(session),
            session.scalar(select(func.min(Job.started_at)).where(Job.state == "running")),
        ]
        moments += [moment - CLOCKS for moment in busy if moment is not None]
        session.rollback()
    return min(moments).timestamp()


def note(session: Session, *, swept: Swept, actor: str) -> None:
    """Writes into the log what a sweep removed; nothing when it removed nothing."""
    log.info(
        "sweep: %d blobs, %d orphans and %d unfinished files removed",
        swept.blobs,
        len(swept.orphans),
        swept.unfinished,
    )
    if swept.orphans or swept.unfinished:
        audit.append(
            session,
            action="storage.swept",
            actor=actor,
            orphans=len(swept.orphans),
            unfinished=swept.unfinished,
        )


def sweep_storage(work: jobs.Work, *, grace_hours: int) -> dict[str, int]:
    """Job ``sweep_blobs``: the daily sweep.

    Returns:
        ``blobs``, ``orphans`` and ``unfinished``.

    Raises:
        Conflict: see ``sweep``.
    """
    with work.transaction() as session:
        engine = session.get_bind()
        assert isinstance(engine, Engine)
    swept = sweep(
        engine,
        vault=work.tools.vault,
        grace=dt.timedelta(hours=grace_hours),
        report=work.report,
    )
    with work.transaction() as session:
        note(session, swept=swept, actor="worker")
    return {
        "blobs": swept.blobs,
        "orphans": len(swept.orphans),
        "unfinished": swept.unfinished,
    }


def start_daily_sweep(session: Session, *, at: dt.datetime | None = None) -> Job | None:
    """Has the worker sweep when the last time is a day ago; the first time a day after set-up."""
    hours = int(GRACE.total_seconds() // 3600)
    return jobs.start_daily(
        session, kind=KIND, arguments={"grace_hours": hours}, rest=jobs.DAY, at=at
    )
