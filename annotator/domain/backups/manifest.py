"""What a backup says of itself: its files, their digests, and a seal over all of it.

A backup's folder::

    manifest.json               this; replaced last, so the folder is always one whole backup
    database-<id>.sqlite        the tables, whatever database they came from
    blobs-<id>.txt              one line a blob: SHA-256, bytes, id
    blobs/ab/<blob id>          sealed bytes, as they are in the vault
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from annotator.core.errors import Conflict, NotFound, Tampered
from annotator.domain.ports import Vault
from annotator.vault.files import Disk, read_pieces, write_durably

FORMAT = 1
MANIFEST = "manifest.json"
BLOBS = "blobs"
PURPOSE = "backup"  # of the MAC's key
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One file of a backup: its name in the folder, bytes, and SHA-256 in hexadecimal."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself.

    Attributes:
        format: of the folder; ``FORMAT``.
        id: random, 16 hexadecimal digits; a copy of the key ring names the backup it belongs to.
        install: the installation's id.
        at: when the database was read, ISO 8601 in UTC.
        schema: revision of the tables.
        version: of the program.
        database: the tables.
        listing: the list of blobs.
        blobs: how many there are.
        blob_bytes: their bytes.
        ledger: how many lines the erasure ledger had.
    """

    format: int
    id: str
    install: str
    at: str
    schema: str
    version: str
    database: FileFacts
    listing: FileFacts
    blobs: int
    blob_bytes: int
    ledger: int

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Self:
        """Reads what ``write_manifest`` wrote, without its MAC."""
        fields = {name: value for name, value in document.items() if name != "mac"}
        for name in ("database", "listing"):
            fields[name] = FileFacts(**fields[name])
        return cls(**fields)

    def seal(self, vault: Vault) -> str:
        """The MAC over everything, in hexadecimal, under a key of the ring."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return vault.blind_index(PURPOSE, text).hex()


def write_manifest(disk: Disk, folder: Path, manifest: Manifest, *, vault: Vault) -> None:
    """Makes a backup the one that the folder holds, at once."""
    document = asdict(manifest) | {"mac": manifest.seal(vault)}
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    write_durably(disk, folder / MANIFEST, [text.encode()])


def read_manifest(folder: Path, *, disk: Disk | None = None) -> tuple[Manifest, str]:
    """What a backup says of itself, and its MAC, which nobody has checked yet.

    Raises:
        NotFound: the folder holds no backup.
        Conflict: it is of a newer version.
        Tampered: it is damaged.
    """
    try:
        pieces = read_pieces(disk or Disk(), folder / MANIFEST, first=_PIECE, size=_PIECE)
        document = json.loads(b"".join(pieces))
    except NotFound:
        raise NotFound(f"There is no backup in '{folder}': it has no {MANIFEST}.") from None
    except ValueError:
        document = None
    try:
        found, mac = int(document["format"]), str(document["mac"])
        if found > FORMAT:
            raise Conflict("This backup is of a newer version of Annotator; install that version.")
        return Manifest.parse(document), mac
    except (KeyError, TypeError, ValueError):
        raise Tampered(f"The backup is damaged: {MANIFEST} cannot be read.") from None


def check_seal(manifest: Manifest, mac: str, *, vault: Vault) -> None:
    """Refuses a backup that this key ring did not seal.

    Raises:
        Conflict: it is of another installation.
        Tampered: it was changed.
    """
    if manifest.install != vault.install:
        raise Conflict("The backup and the copy of the key ring are of different installations.")
    if manifest.seal(vault) != mac:
        raise Tampered(f"The backup was changed: {MANIFEST} is not what was sealed.")
