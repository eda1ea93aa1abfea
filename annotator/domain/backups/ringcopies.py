"""Copies of the key ring: apart from the backups, and for seven days only.

A copy of the ring and a backup of the same day open what both hold, also of somebody who withdrew
later. So the two never lie together, and a copy of the ring does not grow old: each new copy
removes those that are older than seven days, and a restore refuses one.

A copy is a folder named as its backup: ``ring.json``; the key file when that lies beside the ring;
the erasure ledger as it was; and ``copy.json``, which says when it was made, sealed.
"""

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path

from annotator.core.errors import Conflict, NotFound, Tampered
from annotator.domain.backups.manifest import Manifest
from annotator.domain.ports import Vault
from annotator.vault.files import (
    Disk,
    exists,
    make_folders,
    read_pieces,
    remove_quietly,
    storage_errors,
    write_durably,
)

KEYS_DAYS = 7
RING, LEDGER, NOTE = "ring.json", "erasures.jsonl", "copy.json"
PURPOSE = "ring-copy"  # of the MAC's key
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class RingSource:
    """Where the running installation keeps its keys.

    Attributes:
        ring: the key ring's file.
        key_file: the key file when it lies beside the ring; ``None`` when it is kept elsewhere.
        ledger: the erasure ledger's file, which may not be there yet.
    """

    ring: Path
    key_file: Path | None
    ledger: Path


@dataclass(frozen=True, slots=True)
class RingCopy:
    """A copy of the key ring.

    Attributes:
        folder: where it is.
        backup: id of the backup that it belongs to.
        at: when it was made.
        mac: seals the two above.
    """

    folder: Path
    backup: str
    at: dt.datetime
    mac: str

    def check(self, vault: Vault) -> None:
        """Refuses a copy whose date was changed.

        Raises:
            Tampered: it was.
        """
        if _seal(self.backup, self.at, vault) != self.mac:
            raise Tampered("The copy of the key ring was changed: its date is not what was sealed.")


def write_ring_copy(
    disk: Disk,
    folder: Path,
    *,
    ring: bytes,
    source: RingSource,
    backup: str,
    at: dt.datetime,
    vault: Vault,
) -> Path:
    """Copies the ring; the copy counts only once this returns.

    Args:
        disk: the door to the file system.
        folder: where copies are kept.
        ring: the ring's file as it was when the database was read.
        source: where everything else is.
        backup: id of the backup that it belongs to.
        at: the present moment.
        vault: seals the date.

    Returns:
        The new folder.
    """
    target = folder / backup
    make_folders(disk, target)
    write_durably(disk, target / RING, [ring])
    for path in (source.ledger, source.key_file):
        if path is not None and exists(disk, path):
            name = LEDGER if path == source.ledger else path.name
            write_durably(disk, target / name, [read_file(disk, path)])
    note = {"backup": backup, "at": at.isoformat(), "mac": _seal(backup, at, vault)}
    write_durably(disk, target / NOTE, [json.dumps(note, indent=1).encode() + b"\n"])
    return target


def remove_expired(disk: Disk, folder: Path, *, at: dt.datetime) -> int:
    """Removes copies older than ``KEYS_DAYS``, and those that were never finished; counts them."""
    removed = 0
    for path in _folders(disk, folder):
        try:
            if at - _read_note(disk, path).at <= dt.timedelta(days=KEYS_DAYS):
                continue
        except NotFound:
            pass  # a copy that a crash interrupted
        except Tampered:
            continue  # not ours to judge, so not ours to remove
        _remove_folder(disk, path)
        removed += 1
    return removed


def find_ring_copy(
    folder: Path, *, manifest: Manifest, at: dt.datetime, disk: Disk | None = None
) -> RingCopy:
    """The copy of the key ring that belongs to a backup.

    Args:
        folder: the copy itself, or the folder in which copies are kept.
        manifest: the backup's.
        at: the present moment.
        disk: the door to the file system.

    Raises:
        NotFound: there is none.
        Conflict: it belongs to another backup, or is older than ``KEYS_DAYS``.
        Tampered: it is damaged.
    """
    disk = disk or Disk()
    inside = folder / manifest.id
    found = _read_note(disk, inside if exists(disk, inside / NOTE) else folder)
    if found.backup != manifest.id:
        raise Conflict("This copy of the key ring belongs to another backup.")
    if at - found.at > dt.timedelta(days=KEYS_DAYS):
        raise Conflict(
            f"This copy of the key ring is from {found.at:%Y-%m-%d}. It is older than {KEYS_DAYS} "
            "days and is not used any more: people who withdrew since would come back with it."
        )
    return found


def read_file(disk: Disk, path: Path) -> bytes:
    """A small file as a whole.

    Raises:
        NotFound: it is not there.
    """
    return b"".join(read_pieces(disk, path, first=_PIECE, size=_PIECE))


def _read_note(disk: Disk, folder: Path) -> RingCopy:
    try:
        note = json.loads(read_file(disk, folder / NOTE))
        at = dt.datetime.fromisoformat(note["at"])
        return RingCopy(folder, str(note["backup"]), at, str(note["mac"]))
    except NotFound:
        raise NotFound(f"There is no copy of the key ring in '{folder}'.") from None
    except (ValueError, KeyError, TypeError):
        raise Tampered(f"The copy of the key ring is damaged: {NOTE} cannot be read.") from None


def _seal(backup: str, at: dt.datetime, vault: Vault) -> str:
    return vault.blind_index(PURPOSE, f"{backup} {at.isoformat()}").hex()


def _folders(disk: Disk, folder: Path) -> list[Path]:
    with storage_errors(missing=NotFound):
        names = sorted(name for name, _ in disk.scan(folder))
    # Nothing but what we made: 16 hexadecimal digits with a ring inside.
    return [
        folder / name
        for name in names
        if len(name) == 16 and exists(disk, folder / name / RING)  # noqa: PLR2004 - as ids are
    ]


def _remove_folder(disk: Disk, folder: Path) -> None:
    with storage_errors():
        names = [name for name, _ in disk.scan(folder)]
    for name in names:
        remove_quietly(disk, folder / name)
    with storage_errors():
        disk.fsync_folder(folder)
        folder.rmdir()
        disk.fsync_folder(folder.parent)
