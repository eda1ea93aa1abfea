"""Looking whether a backup is whole, before anything is made of it."""

from collections.abc import Callable
from pathlib import Path

from annotator.core import migrate
from annotator.core.errors import Conflict
from annotator.domain.backups.files import Shelf, parse_listing
from annotator.domain.backups.manifest import FileFacts, Manifest
from annotator.vault.files import Disk

Report = Callable[[int, int], None]


def check_files(
    folder: Path, *, manifest: Manifest, disk: Disk | None = None
) -> dict[str, FileFacts]:
    """Checks the database and the list of blobs, and that every blob is there in its size.

    Returns:
        The blobs by id.

    Raises:
        Tampered: something is missing or changed; the sentence names the first.
        Conflict: the tables are of a newer version.
    """
    shelf = Shelf(folder, disk or Disk())
    if not migrate.knows(manifest.schema):
        raise Conflict("This backup is of a newer version of Annotator; install that version.")
    for _ in shelf.read_checked(manifest.database):
        pass
    blobs = parse_listing(b"".join(shelf.read_checked(manifest.listing)))
    for fact in blobs.values():
        if shelf.size(fact.name) != fact.bytes:
            for _ in shelf.read_checked(fact):  # says what is wrong
                pass
    return blobs


def check_blobs(
    folder: Path, *, blobs: dict[str, FileFacts], report: Report, disk: Disk | None = None
) -> None:
    """Reads every blob of a backup and compares its digest.

    Raises:
        Tampered: one is missing or changed; the sentence names the first.
    """
    shelf = Shelf(folder, disk or Disk())
    for number, fact in enumerate(blobs.values(), start=1):
        for _ in shelf.read_checked(fact):
            pass
        report(number, len(blobs))
