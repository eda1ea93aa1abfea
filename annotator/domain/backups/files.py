"""Files of a backup, written durably and measured on the way."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from annotator.core.errors import NotFound, Tampered
from annotator.domain.backups.manifest import BLOBS, FileFacts
from annotator.vault.files import Disk, make_folders, read_pieces, remove_quietly, storage_errors

_PIECE = 1 << 20
PART = "part-"  # in front of the name of a file that is being written


class Tally:
    """Passes pieces through, counts and hashes them."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self._hash = hashlib.sha256()
        self.bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._hash.update(piece)
            self.bytes += len(piece)
            yield piece

    @property
    def sha256(self) -> str:
        """Of what passed so far, in hexadecimal."""
        return self._hash.hexdigest()


class Shelf:
    """A backup's folder.

    Args:
        folder: made when it is missing.
        disk: the door to the file system.
    """

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.folder = folder
        self._disk = disk
        self._touched: set[Path] = set()

    def prepare(self) -> None:
        """Makes the folder."""
        make_folders(self._disk, self.folder / BLOBS)

    def write(self, name: str, pieces: Iterable[bytes]) -> FileFacts:
        """Writes a file whole or not at all; it is durable after ``settle``.

        Raises:
            StorageFull, StorageFailed: it is not there.
        """
        path = self.folder / name
        temporary = path.with_name(PART + path.name)
        tally = Tally(pieces)
        if path.parent != self.folder and path.parent not in self._touched:
            make_folders(self._disk, path.parent)
        with storage_errors():
            descriptor = self._disk.create(temporary)
            try:
                try:
                    for piece in tally:
                        rest = memoryview(piece)
                        while rest:
                            rest = rest[self._disk.write(descriptor, rest) :]
                    self._disk.fsync(descriptor)
                finally:
                    self._disk.close(descriptor)
                self._disk.replace(temporary, path)
            except BaseException:
                remove_quietly(self._disk, temporary)
                raise
        self._touched.add(path.parent)
        return FileFacts(name, tally.bytes, tally.sha256)

    def adopt(self, temporary: Path, name: str) -> FileFacts:
        """Measures a finished file beside the others and gives it its name, durably."""
        tally = Tally(read_pieces(self._disk, temporary, first=_PIECE, size=_PIECE))
        for _ in tally:
            pass
        with storage_errors():
            descriptor = self._disk.open(temporary)
            try:
                self._disk.fsync(descriptor)
            finally:
                self._disk.close(descriptor)
            self._disk.replace(temporary, self.folder / name)
        self._touched.add(self.folder)
        return FileFacts(name, tally.bytes, tally.sha256)

    def settle(self) -> None:
        """Makes every name that was written durable."""
        with storage_errors():
            for folder in sorted(self._touched):
                self._disk.fsync_folder(folder)

    def read(self, name: str) -> Iterator[bytes]:
        """A file in pieces of 1 MiB.

        Raises:
            NotFound: it is not there.
        """
        return read_pieces(self._disk, self.folder / name, first=_PIECE, size=_PIECE)

    def read_checked(self, facts: FileFacts) -> Iterator[bytes]:
        """A file in pieces; the end of the iteration says that it is what the manifest names.

        Raises:
            Tampered: it is missing, cut, or changed; the sentence names it.
        """
        tally = Tally(self.read(facts.name))
        try:
            yield from tally
        except NotFound:
            raise Tampered(f"The backup is incomplete: {facts.name} is missing.") from None
        if (tally.bytes, tally.sha256) != (facts.bytes, facts.sha256):
            raise Tampered(f"The backup is damaged: {facts.name} is not what was backed up.")

    def size(self, name: str) -> int | None:
        """Bytes of a file; ``None`` when there is none."""
        try:
            with storage_errors(missing=NotFound):
                return self._disk.identify(self.folder / name)[2]
        except NotFound:
            return None

    def files(self) -> Iterator[str]:
        """Names of everything in the folder and in the folders of the blobs."""
        for name, _ in self._scan(self.folder):
            if name != BLOBS:
                yield name
        for part, _ in self._scan(self.folder / BLOBS):
            for name, _ in self._scan(self.folder / BLOBS / part):
                yield f"{BLOBS}/{part}/{name}"

    def remove(self, name: str) -> None:
        """Removes a file; one that is gone is fine."""
        remove_quietly(self._disk, self.folder / name)

    def _scan(self, folder: Path) -> list[tuple[str, float]]:
        try:
            with storage_errors(missing=NotFound):
                return self._disk.scan(folder)
        except NotFound:
            return []


def blob_name(blob: str) -> str:
    """Where a blob lies in a backup."""
    return f"{BLOBS}/{blob[:2]}/{blob}"


def write_listing(facts: Iterable[tuple[str, FileFacts]]) -> Iterator[bytes]:
    """The list of blobs: one line each, SHA-256, bytes, id."""
    for blob, fact in facts:
        yield f"{fact.sha256} {fact.bytes} {blob}\n".encode()


def parse_listing(text: bytes) -> dict[str, FileFacts]:
    """The list of blobs by id.

    Raises:
        Tampered: it is no such list.
    """
    found = {}
    try:
        for line in text.decode().splitlines():
            sha256, size, blob = line.split(" ")
            found[blob] = FileFacts(blob_name(blob), int(size), sha256)
    except ValueError:
        raise Tampered("The backup is damaged: the list of blobs cannot be read.") from None
    return found
