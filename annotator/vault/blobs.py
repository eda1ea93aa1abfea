"""Where sealed blobs lie: a folder, fanned out in two levels by id.

``<root>/ab/c/abc...``: 4,096 folders at most, so ten million blobs make 2,400 files in each, and a
new blob seldom needs a new folder with its own fsync. A file's name says nothing but its id.
"""

import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from annotator.core.errors import NotFound
from annotator.vault.cipher import HEADER_BYTES, PIECE
from annotator.vault.files import (
    TEMPORARY,
    Disk,
    make_folders,
    read_pieces,
    storage_errors,
    write_new,
)

_ID = re.compile(r"[0-9a-f]{32}")


def new_blob_id() -> str:
    """A random id, 32 hexadecimal digits."""
    return uuid.uuid4().hex


class BlobFolder:
    """Sealed blobs in a folder.

    Args:
        root: made when it is missing.
        disk: the door to the file system.
    """

    def __init__(self, root: Path, disk: Disk) -> None:
        self._root = root
        self._disk = disk
        # Folders that this process has made durable itself; 4,096 at most.
        self._durable: set[Path] = set()

    def write(self, blob: str, pieces: Iterable[bytes]) -> None:
        """Stores a blob; it is durable when this returns and not there when this raises.

        Raises:
            StorageFull, StorageFailed: nothing was stored.
        """
        path = self._path(blob)
        if path.parent not in self._durable:
            make_folders(self._disk, path.parent.parent)
            make_folders(self._disk, path.parent)
            self._durable.add(path.parent)
        write_new(self._disk, path, pieces)

    def read(self, blob: str) -> Iterator[bytes]:
        """The sealed bytes in pieces of 128 KiB.

        Raises:
            NotFound: there is no such blob.
            StorageFailed: it cannot be read.
        """
        return read_pieces(self._disk, self._path(blob), first=HEADER_BYTES + PIECE, size=PIECE)

    def size(self, blob: str) -> int:
        """Bytes of the sealed file.

        Raises:
            NotFound: there is no such blob.
        """
        with storage_errors(missing=NotFound):
            return self._disk.identify(self._path(blob))[2]

    def delete(self, blob: str) -> None:
        """Removes a blob durably; one that is not there is fine."""
        path = self._path(blob)
        with suppress(NotFound), storage_errors(missing=NotFound):
            self._disk.remove(path)
            self._disk.fsync_folder(path.parent)

    def names(self) -> Iterator[tuple[str, float]]:
        """Id and time of storing (seconds since 1970) of every blob, in no order."""
        yield from ((name, at) for _, name, at in self._files() if _ID.fullmatch(name))

    def delete_unfinished(self, *, before: float) -> int:
        """Removes temporary files that a crash left, changed before a time; answers how many.

        Args:
            before: seconds since 1970; leave running writes their time.
        """
        stale = [
            folder / name
            for folder, name, at in self._files()
            if name.startswith(TEMPORARY) and at < before
        ]
        for path in stale:
            with suppress(NotFound), storage_errors(missing=NotFound):
                self._disk.remove(path)
        return len(stale)

    def _files(self) -> Iterator[tuple[Path, str, float]]:
        for first in self._scan(self._root, length=2):
            for second in self._scan(first, length=1):
                with storage_errors():
                    found = self._disk.scan(second)
                yield from ((second, name, at) for name, at in found)

    def _scan(self, folder: Path, *, length: int) -> list[Path]:
        with suppress(NotFound), storage_errors(missing=NotFound):
            return [folder / name for name, _ in self._disk.scan(folder) if len(name) == length]
        return []

    def _path(self, blob: str) -> Path:
        if not _ID.fullmatch(blob):
            raise NotFound
        return self._root / blob[:2] / blob[2] / blob
