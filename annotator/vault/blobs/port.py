"""What the vault needs from a place for sealed blobs.

A blob's name is its id, used once and never again, so a stored blob never changes. Every store is
safe to share between threads, and goes on working in a child process after a fork.
"""

import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from annotator.core.errors import NotFound
from annotator.vault.cipher import Source

_ID = re.compile(r"[0-9a-f]{32}")


class BlobStore(Protocol):
    """Keeps sealed bytes under ids."""

    def prepare(self) -> None:
        """Makes the place, or makes sure that it is there and takes writes.

        Raises:
            StorageFull, StorageFailed: it does not.
        """

    def write(self, blob: str, pieces: Iterable[bytes]) -> None:
        """Stores a blob; it is durable when this returns and not there when this raises.

        Raises:
            StorageFull, StorageFailed: nothing was stored.
        """

    def open(self, blob: str) -> AbstractContextManager[Source]:
        """The sealed bytes, for one thread, whole or in part; memory is bounded.

        Raises:
            NotFound: there is no such blob.
            StorageFailed: it cannot be read.
        """

    def delete(self, blob: str) -> None:
        """Removes a blob durably; one that is not there is fine."""

    def names(self) -> Iterator[tuple[str, float]]:
        """Id and time of storing (seconds since 1970) of every blob, in no order."""

    def delete_unfinished(self, *, before: float) -> int:
        """Removes what writes left that never ended, begun before a time; answers how many.

        Args:
            before: seconds since 1970; leave running writes their time.
        """


def new_blob_id() -> str:
    """A random id, 32 hexadecimal digits."""
    return uuid.uuid4().hex


def is_blob_id(name: str) -> bool:
    """Tells whether a name may be a blob's."""
    return _ID.fullmatch(name) is not None


def check_blob_id(name: str) -> str:
    """The name, if it may be a blob's.

    Raises:
        NotFound: it may not, so there is no such blob.
    """
    if not is_blob_id(name):
        raise NotFound
    return name
