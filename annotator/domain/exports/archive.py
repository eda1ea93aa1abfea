"""An export's files as one ZIP that is never whole in memory and never in the clear on a disk."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bytes give the same archive, and times tell nothing


@dataclass(slots=True)
class Listing:
    """What has been written so far: per path its SHA-256 (hex) and size in bytes."""

    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, path: str, data: bytes) -> None:
        """Notes a file.

        Raises:
            ValueError: the path was used already.
        """
        if path in self.files:
            raise ValueError(f"two files called {path}")
        self.files[path] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


class _Outlet(io.RawIOBase):
    """A file that only collects; whoever reads takes what has come together."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        piece = bytes(data)
        self.pieces.append(piece)
        return len(piece)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self.pieces)
        self.pieces.clear()
        return taken


class _Source(io.RawIOBase):
    """Pieces of bytes, read as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        part = self._rest[: len(buffer)]
        buffer[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)


def zip_stream(
    entries: Iterable[tuple[str, bytes]],
    *,
    listing: Listing,
    closing: Callable[[], Iterable[tuple[str, bytes]]],
) -> io.BufferedReader:
    """Makes the ZIP while it is being read.

    Args:
        entries: path and bytes of every file, in order; each is noted in ``listing``.
        listing: filled on the way.
        closing: gives the last files (manifest and signature) once ``listing`` is full; those are
            not noted.

    Returns:
        A file to be read once, from its beginning.
    """
    return io.BufferedReader(_Source(_zip(entries, listing, closing)), buffer_size=1 << 18)


def _zip(
    entries: Iterable[tuple[str, bytes]],
    listing: Listing,
    closing: Callable[[], Iterable[tuple[str, bytes]]],
) -> Iterator[bytes]:
    outlet = _Outlet()
    with zipfile.ZipFile(outlet, "w") as archive:
        for path, data in entries:
            listing.add(path, data)
            _add(archive, path, data)
            yield outlet.take()
        for path, data in closing():
            _add(archive, path, data)
    yield outlet.take()


def _add(archive: zipfile.ZipFile, path: str, data: bytes) -> None:
    info = zipfile.ZipInfo(path, EPOCH)
    info.external_attr = 0o644 << 16
    # PNG is packed already.
    packed = not path.endswith(".png")
    info.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    archive.writestr(info, data)
