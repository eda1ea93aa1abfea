"""Taking a backup while the app is running.

A blob never changes, so one that the backup has is passed over. Blobs are copied first, then the
database is read at one moment, then the blobs that came meanwhile; a blob that a row of the copy
names and that is gone already makes the database be read once more. The manifest is replaced last:
until then the folder holds the backup before.
"""

import datetime as dt
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from annotator import __version__
from annotator.core.errors import Conflict, NotFound, Tampered
from annotator.domain import audit
from annotator.domain.backups.files import Shelf, blob_name, parse_listing, write_listing
from annotator.domain.backups.manifest import (
    FORMAT,
    MANIFEST,
    FileFacts,
    Manifest,
    check_seal,
    read_manifest,
    write_manifest,
)
from annotator.domain.backups.ringcopies import (
    RingSource,
    read_file,
    remove_expired,
    write_ring_copy,
)
from annotator.domain.backups.tables import copy_database, find_blobs, read_schema, reading
from annotator.domain.ports import Vault
from annotator.vault.files import Disk

ATTEMPTS = 5  # of reading the database while pictures come and go
NEW = "new-"  # in front of the database's name while it is written

Progress = Callable[[str, int, int], None]  # what is done, how much of it, of how much


@dataclass(frozen=True, slots=True)
class Backup:
    """What was taken.

    Attributes:
        id: names it.
        at: when the database was read, ISO 8601.
        blobs: how many blobs it holds.
        copied: how many of them are new.
        copied_bytes: their bytes.
        removed: how many blobs left the backup, because the vault has them no more.
        keys: folder of the key ring's copy; ``None`` when none was asked for.
        expired: how many older copies of the key ring were removed.
    """

    id: str
    at: str
    blobs: int
    copied: int
    copied_bytes: int
    removed: int
    keys: str | None
    expired: int


def take_backup(
    engine: Engine,
    *,
    vault: Vault,
    out: Path,
    at: dt.datetime,
    ring: RingSource,
    keys: Path | None = None,
    progress: Progress = lambda _what, _done, _total: None,
    disk: Disk | None = None,
) -> Backup:
    """Takes a backup into a new folder, or brings the one that is there up to date.

    Args:
        engine: the running database.
        vault: the running vault.
        out: the backup's folder.
        at: the present moment.
        ring: where the keys are.
        keys: where a copy of the key ring goes; not inside the backup.
        progress: is told how far it is.
        disk: the door to the file system.

    Raises:
        Conflict: the folder holds another installation's backup, or something else; or the copy
            of the key ring would lie with the backup.
        StorageFull, StorageFailed: the folder still holds the backup before.
    """
    disk = disk or Disk()
    if keys is not None and _inside(keys, out):
        raise Conflict("The copy of the key ring must not lie with the backup; name another place.")
    shelf = Shelf(out, disk)
    old = _old_blobs(shelf, vault)
    shelf.prepare()
    taking = _Taking(engine, vault, shelf, disk, old, progress)
    new = secrets.token_hex(8)
    schema = taking.read(new, ring)
    copied_keys = None
    if keys is not None:
        copied_keys = write_ring_copy(
            disk, keys, ring=taking.ring, source=ring, backup=new, at=at, vault=vault
        )
    held = {blob: taking.held[blob] for blob in sorted(taking.held)}
    listing = shelf.write(f"blobs-{new}.txt", write_listing(held.items()))
    database = shelf.adopt(out / f"{NEW}{new}", f"database-{new}.sqlite")
    shelf.settle()
    manifest = Manifest(
        format=FORMAT,
        id=new,
        install=vault.install,
        at=at.isoformat(),
        schema=schema,
        version=__version__,
        database=database,
        listing=listing,
        blobs=len(held),
        blob_bytes=sum(fact.bytes for fact in held.values()),
        ledger=vault.ledger_end[0],
    )
    write_manifest(disk, out, manifest, vault=vault)
    return Backup(
        id=new,
        at=manifest.at,
        blobs=manifest.blobs,
        copied=taking.copied,
        copied_bytes=taking.copied_bytes,
        removed=_tidy(shelf, manifest, held),
        keys=str(copied_keys) if copied_keys else None,
        expired=remove_expired(disk, keys, at=at) if keys else 0,
    )


def note_backup(session: Session, *, backup: Backup) -> None:
    """Tells the log that a copy of everything was made."""
    audit.append(
        session,
        action="backup.taken",
        actor="cli",
        backup=backup.id,
        blobs=backup.blobs,
        keys=backup.keys is not None,
    )


@dataclass
class _Taking:
    """One backup on its way.

    Attributes:
        engine: the running database.
        vault: the running vault.
        shelf: the backup's folder.
        disk: the door to the file system.
        old: the blobs that the backup before has.
        progress: is told how far it is.
        held: the blobs that it has so far.
        copied: how many of them are new.
        copied_bytes: their bytes.
        ring: the key ring's file, from the moment of the database.
    """

    engine: Engine
    vault: Vault
    shelf: Shelf
    disk: Disk
    old: dict[str, FileFacts]
    progress: Progress
    held: dict[str, FileFacts] = field(default_factory=dict)
    copied: int = 0
    copied_bytes: int = 0
    ring: bytes = b""

    def read(self, name: str, ring: RingSource) -> str:
        """Copies blobs and database until they belong together; answers the tables' revision."""
        self._copy_all()
        path = self.shelf.folder / f"{NEW}{name}"
        for _ in range(ATTEMPTS):
            self.shelf.remove(path.name)
            self.ring = read_file(self.disk, ring.ring)
            copy_database(self.engine, path, report=lambda *at: self.progress("rows", *at))
            if read_file(self.disk, ring.ring) == self.ring and self._complete(path):
                return read_schema(path)
        self.shelf.remove(path.name)
        raise Conflict("Pictures came and went faster than they could be copied; try again.")

    def _copy_all(self) -> None:
        found = [blob for blob, _ in self.vault.list_blobs()]
        for number, blob in enumerate(found, start=1):
            self._hold(blob)
            self.progress("blobs", number, len(found))

    def _hold(self, blob: str) -> bool:
        """Has the blob in the backup; false when the vault has it no more."""
        if blob in self.held:
            return True
        known = self.old.get(blob)
        if known is not None and self.shelf.size(known.name) == known.bytes:
            self.held[blob] = known
            return True
        try:
            fact = self.shelf.write(blob_name(blob), self.vault.read_sealed(blob))
        except NotFound:
            return False
        self.held[blob] = fact
        self.copied, self.copied_bytes = self.copied + 1, self.copied_bytes + fact.bytes
        return True

    def _complete(self, path: Path) -> bool:
        with reading(path) as copy:
            # Every one, so that a second look at the database finds the rest copied.
            return all(list(map(self._hold, find_blobs(copy))))


def _old_blobs(shelf: Shelf, vault: Vault) -> dict[str, FileFacts]:
    """The blobs that the backup in the folder holds; none when there is none yet."""
    if shelf.size(MANIFEST) is None:
        strangers = [name for name in shelf.files() if "/" not in name and not _ours(name)]
        if strangers:
            raise Conflict("The folder holds something else than a backup; name a new one.")
        return {}
    manifest, mac = read_manifest(shelf.folder)
    if manifest.install != vault.install:
        raise Conflict("The folder holds the backup of another installation; name a new one.")
    check_seal(manifest, mac, vault=vault)
    try:
        return parse_listing(b"".join(shelf.read_checked(manifest.listing)))
    except Tampered:
        return {}  # everything is copied anew


def _ours(name: str) -> bool:
    return name.startswith((NEW, "database-", "blobs-", "part-", "tmp-"))


def _tidy(shelf: Shelf, manifest: Manifest, held: dict[str, FileFacts]) -> int:
    """Removes what the backup before had and this one has not; counts the blobs."""
    wanted = {MANIFEST, manifest.database.name, manifest.listing.name}
    wanted |= {fact.name for fact in held.values()}
    removed = 0
    for name in list(shelf.files()):
        if name not in wanted and ("/" in name or _ours(name)):
            shelf.remove(name)
            removed += "/" in name
    shelf.settle()
    return removed


def _inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
