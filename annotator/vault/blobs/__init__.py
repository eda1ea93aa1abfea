"""Where sealed blobs lie, behind one small port: a folder, or an object store."""

from pathlib import Path

from annotator.core.errors import InvalidInput
from annotator.vault.blobs.folder import BlobFolder
from annotator.vault.blobs.objects import SCHEME, BlobObjects
from annotator.vault.blobs.port import BlobStore, new_blob_id
from annotator.vault.files import Disk

__all__ = ["BlobStore", "new_blob_id", "open_store"]
_FILE = "file://"


def open_store(place: str | Path, disk: Disk) -> BlobStore:
    """The store at a place; nothing is read or made yet.

    Args:
        place: a folder, ``file:///folder``, or ``s3://bucket/prefix``.
        disk: the door to the file system, for folders.

    Raises:
        InvalidInput: a place of another kind, or a package for it is missing.
    """
    if isinstance(place, Path):
        return BlobFolder(place, disk)
    if place.startswith(SCHEME):
        return BlobObjects(place)
    path = place.removeprefix(_FILE)
    if "://" in path or not path or (path != place and not path.startswith("/")):
        raise InvalidInput(
            "Blobs cannot be stored at this address; give a folder, file:///folder or"
            " s3://bucket/prefix."
        )
    return BlobFolder(Path(path).expanduser(), disk)
