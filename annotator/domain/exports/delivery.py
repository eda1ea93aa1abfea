"""Handing an export out: the gate is asked again for everybody in it, every time."""

import errno
import fcntl
import hashlib
import io
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput, StorageFailed, StorageFull, Tampered
from annotator.domain import audit, consent
from annotator.domain.exports.selection import PURPOSES_OF
from annotator.domain.ports import Vault
from annotator.domain.verification import verify_export
from annotator.models import Export, ExportItem, Subject

ARCHIVE = "export"  # the purpose under which the vault seals archives
PIECE = 1024 * 1024  # bytes


def disallowed(session: Session, *, export: Export, purposes: tuple[str, ...] = ()) -> set[int]:
    """The people in an export who do not, or no longer, allow what it needs.

    Args:
        session: the open transaction.
        export: which one.
        purposes: what for; what its tier needs when empty.
    """
    moment = now()
    inside = select(ExportItem.subject_id).where(ExportItem.export_id == export.id).distinct()
    may = select(Subject.id).where(Subject.id.in_(inside))
    for purpose in purposes or PURPOSES_OF[export.tier]:
        may = may.where(consent.allowing(purpose, moment))
    return set(session.scalars(inside)) - set(session.scalars(may))


def list_withdrawn(session: Session, *, export: Export) -> list[Subject]:
    """The people in an export who no longer allow it: its recipient must delete their files."""
    numbers = disallowed(session, export=export)
    query = select(Subject).where(Subject.id.in_(numbers)).order_by(Subject.id)
    return list(session.scalars(query))


def check_deliverable(session: Session, *, export: Export) -> str:
    """The id of the sealed archive, if it may leave.

    Raises:
        Conflict: not built, or somebody in it withdrew or their consent ended.
    """
    if export.withdrawn_at is not None:
        raise Conflict("Somebody in this export withdrew; it is closed. Build a new one.")
    if export.state != "ready" or export.sealed_blob is None:
        raise Conflict("This export is not built yet.")
    gone = len(disallowed(session, export=export))
    if gone:
        who = "one person" if gone == 1 else f"{gone} people"
        raise Conflict(f"The consent of {who} in this export has ended. Build a new one.")
    return export.sealed_blob


@dataclass(frozen=True, slots=True)
class Archive:
    """What is known of an export's ZIP before it is opened.

    Attributes:
        size: bytes, as the store tells; opening it checks that.
        tag: names these bytes and no others; says nothing else.
    """

    size: int
    tag: str


def describe_archive(session: Session, *, vault: Vault, export: Export) -> Archive:
    """How large the export's ZIP is, and a tag that another build does not have.

    Raises:
        Conflict: it may not leave; see ``check_deliverable``.
    """
    blob = check_deliverable(session, export=export)
    tag = hashlib.sha256(f"archive {blob}".encode()).hexdigest()[:32]
    return Archive(vault.measure_archive(blob=blob), tag)


def open_archive(
    session: Session,
    *,
    vault: Vault,
    export: Export,
    by: int | None,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[bytes]:
    """The export as a ZIP, or a part of it, in pieces; written to the log.

    Args:
        session: the open transaction.
        vault: opens it.
        export: one that is ready.
        by: who fetches it.
        start: the first byte wanted.
        stop: the byte after the last; the end unless told.

    Raises:
        Conflict: it may not leave; see ``check_deliverable``.
    """
    blob = check_deliverable(session, export=export)
    part: dict[str, Any] = {} if start == 0 and stop is None else {"start": start, "stop": stop}
    actor = audit.actor_of(by)
    audit.append(session, action="export.delivered", actor=actor, export=export.id, **part)
    return vault.open_archive(purpose=ARCHIVE, blob=blob, start=start, stop=stop)


def check_place(out: Path) -> None:
    """Refuses a place that is taken, so that nobody waits for a build that cannot be written.

    Raises:
        InvalidInput: it exists and is not an empty folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidInput(f"{out} exists already and is not an empty folder.")


def write_export(
    session: Session, *, vault: Vault, export: Export, out: Path, by: int | None = None
) -> Path:
    """Writes the export's folder, whole or not at all, and checks it before it gets its name.

    Until then it lies beside its place in ``.NAME.unfinished``, which only its owner may enter.
    What a killed run left there is in the clear; the next run to the same place removes it.

    Args:
        session: the open transaction.
        vault: opens the archive and knows the key that signed it.
        export: one that is ready.
        out: a folder that does not exist yet or is empty.
        by: who fetches it.

    Raises:
        InvalidInput: the place is taken.
        Conflict: it may not leave.
        StorageFull: nothing was written.
        Tampered: what came out of the vault is not what was signed.
    """
    check_place(out)
    pieces = open_archive(session, vault=vault, export=export, by=by)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _unfinished(out) as temporary:
            folder = temporary / "export"
            _unpack(pieces, temporary / "export.zip", folder)
            report = verify_export(folder, public_key=vault.public_key("export"))
            if not report.ok:
                raise Tampered(f"The stored export is damaged: {report.message}")
            os.sync()  # once for all: an fsync of each of thousands of files takes half a minute
            if out.exists():
                out.rmdir()
            folder.rename(out)
            _sync(out.parent)
    except zipfile.BadZipFile as error:
        raise Tampered("The stored export is damaged.") from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StorageFull(
                "The disk is full. Nothing was written; free some space and try again."
            ) from error
        raise StorageFailed(f"The export could not be written to {out}.") from error
    return out


@contextmanager
def _unfinished(out: Path) -> Iterator[Path]:
    """An empty folder beside ``out`` that is ours alone as long as the block runs; gone after it.

    Its name is always the same, so that the next run finds what a killed one left; the lock ends
    with its process, so that only what nobody works on is removed.
    """
    folder = out.parent / f".{out.name}.unfinished"
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise Conflict(f"Somebody else is writing to {out} just now.") from error
    try:
        folder.chmod(0o700)
        for left in folder.iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _unpack(pieces: Iterator[bytes], archive: Path, folder: Path) -> None:
    with archive.open("wb") as file:
        for piece in pieces:
            file.write(piece)
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            target = folder / PurePosixPath(name)
            if not target.resolve().is_relative_to(folder.resolve()):
                raise Tampered("The stored export is damaged.")
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(name) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, PIECE)
    archive.unlink()


def _sync(folder: Path) -> None:
    """Makes a rename durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_archive(vault: Vault, blob: str) -> io.BytesIO:
    """A whole archive in memory, for a job: its pixels never touch a disk in the clear."""
    return io.BytesIO(b"".join(vault.open_archive(purpose=ARCHIVE, blob=blob)))
