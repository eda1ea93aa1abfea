"""Sealed blobs in a folder, fanned out in two levels by id.

``<root>/ab/c/abc...``: 4,096 folders at most, so ten million blobs make 2,400 files in each, and a
new blob seldom needs a new folder with its own fsync. A file's name says nothing but its id.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from annotator.core.errors import NotFound
from annotator.vault.blobs.port import check_blob_id, is_blob_id
from annotator.vault.files import (
    TEMPORARY,
    Disk,
    OpenFile,
    make_folders,
    remove_durably,
    storage_errors,
    write_new,
)


class BlobFolder:
    """Sealed blobs in a folder; see ``BlobStore``.

    Args:
        root: made when it is missing.
        disk: the door to the file system.
    """

    def __init__(self, root: Path, disk: Disk) -> None:
        self._root = root
        self._disk = disk
        # Folders that this process has made durable itself; 4,096 at most.
        self._durable: set[Path] = set()

    def prepare(self) -> None:
        """Makes the folder, durably."""
        make_folders(self._disk, self._root)

    def write(self, blob: str, pieces: Iterable[bytes]) -> None:
        """Stores a blob; it is durable when this returns and not there when this raises."""
        path = self._path(blob)
        if path.parent not in self._durable:
            make_folders(self._disk, path.parent.parent)
            make_folders(self._disk, path.parent)
            self._durable.add(path.parent)
        write_new(self._disk, path, pieces)

    def open(self, blob: str) -> OpenFile:
        """The sealed bytes."""
        return OpenFile(self._disk, self._path(blob))

    def delete(self, blob: str) -> None:
        """Removes a blob durably; one that is not there is fine."""
        with suppress(NotFound):
            remove_durably(self._disk, self._path(blob))

    def names(self) -> Iterator[tuple[str, float]]:
        """Id and time of storing (seconds since 1970) of every blob, in no order."""
        yield from ((name, at) for _, name, at in self._files() if is_blob_id(name))

    def delete_unfinished(self, *, before: float) -> int:
        """Removes temporary files that a crash left, changed before a time; answers how many."""
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
        check_blob_id(blob)
        return self._root.joinpath(f"{blob[:2]}/{blob[2]}/{blob}")  # a third of the time of /
