"""Making an installation again from a backup, beside the place where it will be.

Nothing of it is in force before everything is done: the door makes it in a folder of its own and
moves it into place at the end.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, delete, func, select
from sqlalchemy.orm import Session

from annotator.core import migrate
from annotator.core.db import empty_journal
from annotator.core.errors import AnnotatorError, Conflict, Tampered
from annotator.domain import audit, erasure
from annotator.domain.backups.files import Shelf
from annotator.domain.backups.manifest import FileFacts, Manifest, check_seal
from annotator.domain.backups.tables import (
    find_blobs,
    load_database,
    refuse_tables,
    settle_database,
)
from annotator.domain.ports import Tools, Vault
from annotator.models import BrowserSession, Installation, Subject
from annotator.vault.files import Disk

Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restored database is.

    Attributes:
        erased: how many people were erased because the ledger says so.
        narrowed: how many took single purposes back.
        keys: how many keys were wrapped anew.
        damaged: how many do not open.
        left_out: blobs that must not come back.
    """

    erased: int
    narrowed: int
    keys: int
    damaged: int
    left_out: frozenset[str]


class _Work:
    """What ``renew_epoch`` needs of a job, without one."""

    job_id = 0

    def __init__(self, tools: Tools, engine: Engine, report: Report) -> None:
        self.tools = tools
        self.report = report
        self._engine = engine

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """One transaction that writes."""
        with Session(self._engine, expire_on_commit=False) as session:
            audit.entrust(session, vault=self.tools.vault)
            yield session
            session.commit()


def check_target(*, vault: Vault, engine: Engine | None) -> None:
    """Refuses to write over anything.

    Args:
        vault: with the place where blobs will go.
        engine: the database when it is not a file in the data folder.

    Raises:
        Conflict: there are blobs or tables already.
    """
    if next(vault.list_blobs(), None) is not None:
        raise Conflict("There are blobs already where they would go; name an empty place.")
    if engine is not None:
        refuse_tables(engine)


def restore_database(
    engine: Engine,
    *,
    tools: Tools,
    manifest: Manifest,
    mac: str,
    records: Sequence[Mapping[str, Any]],
    report: Report,
) -> Restored:
    """Makes a copied database fit for use: newest tables, erasures replayed, a new key epoch.

    Args:
        engine: the copy, a SQLite file.
        tools: the vault over the copy of the key ring.
        manifest: the backup's.
        mac: its seal.
        records: the erasure ledger.
        report: is told keys done and in all.

    Raises:
        Conflict: the key ring is of another installation, or does not open the keys.
        Tampered: the backup or the ledger was changed.
    """
    check_seal(manifest, mac, vault=tools.vault)
    migrate.upgrade(engine)
    work = _Work(tools, engine, report)
    with work.transaction() as session:
        if session.scalar(select(Installation.install)) != tools.vault.install:
            raise Conflict("The backup's database is of another installation than the key ring.")
        before = _count_keys(session)
        replayed = erasure.replay_ledger(session, records=records)
        session.execute(delete(BrowserSession))  # some of them were ended since
    renewed = erasure.renew_epoch(work)
    if before and not renewed["keys"] and renewed["damaged"]:
        raise Conflict("This copy of the key ring opens none of the backup's keys.")
    empty_journal(engine, tables=(), patience=0)
    return Restored(
        erased=len(replayed.erased),
        narrowed=len(replayed.narrowed),
        keys=renewed["keys"],
        damaged=renewed["damaged"],
        left_out=frozenset(replayed.blobs),
    )


def restore_blobs(
    folder: Path,
    *,
    vault: Vault,
    engine: Engine,
    blobs: Mapping[str, FileFacts],
    left_out: frozenset[str],
    report: Report,
    disk: Disk | None = None,
) -> int:
    """Copies blobs into the vault, each compared with its digest; answers how many.

    Args:
        folder: the backup's.
        vault: takes them.
        engine: the restored database.
        blobs: those of the backup, by id.
        left_out: those that must not come back.
        report: is told how many of how many.
        disk: the door to the file system.

    Raises:
        Tampered: one is missing or changed; the sentence names the first. None is left.
        StorageFull, StorageFailed: none is left.
    """
    for blob in find_blobs(engine):
        if blob not in blobs:
            raise Tampered(f"The backup is incomplete: a picture names {blob}, which it lacks.")
    wanted = [blob for blob in blobs if blob not in left_out]
    shelf, written = Shelf(folder, disk or Disk()), []
    try:
        for number, blob in enumerate(wanted, start=1):
            written.append(blob)
            vault.write_sealed(blob, shelf.read_checked(blobs[blob]))
            report(number, len(wanted))
    except BaseException:
        for blob in written:
            with suppress(AnnotatorError):
                vault.delete_blob(blob)
        raise
    return len(wanted)


def note_restore(engine: Engine, *, manifest: Manifest, restored: Restored, ledger: int) -> None:
    """Tells the restored log, and leaves the database in one file."""
    with Session(engine) as session:
        audit.append(
            session,
            action="installation.restored",
            actor="cli",
            backup=manifest.id,
            taken=manifest.at,
            erased=restored.erased,
            narrowed=restored.narrowed,
            damaged=restored.damaged,
            ledger=ledger,
        )
        session.commit()
    settle_database(engine)


def publish_database(path: Path, engine: Engine, *, report: Report) -> None:
    """Fills the real database from the restored file, when it is another one."""
    load_database(path, engine, report=report)


def _count_keys(session: Session) -> int:
    return session.scalar(select(func.count(Subject.wrapped_key))) or 0
