"""The vault: one object over a key ring and a store of sealed blobs."""

from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from itertools import chain
from typing import BinaryIO, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from annotator.core.errors import InvalidInput, Tampered
from annotator.vault.blobs import BlobStore, new_blob_id
from annotator.vault.cipher import (
    CHUNK,
    PIECE_CHUNKS,
    HeldBytes,
    authenticate,
    bind,
    open_range,
    open_stream,
    open_whole,
    plain_size,
    read_pieces,
    seal_stream,
)
from annotator.vault.keys import (
    EXPORT,
    INDEX,
    LOG,
    STORE,
    KeyRing,
)
from annotator.vault.subject_keys import SubjectKeys, WrappedKey

_Read = TypeVar("_Read")
_SIGNERS = {"log": LOG, "export": EXPORT}


class Vault:
    """Seals and opens; safe to share between threads, cheap per call.

    Every open call raises ``Tampered`` for changed, swapped or foreign bytes and ``KeyDestroyed``
    for a key whose epoch was destroyed; every sealing call that stores raises ``StorageFull`` or
    ``StorageFailed`` when nothing was stored. Use ``open_vault`` or ``create_vault`` to get one.
    """

    def __init__(self, ring: KeyRing, blobs: BlobStore) -> None:
        self.install = ring.install
        self._ring = ring
        self._blobs = blobs
        self._keys = SubjectKeys(ring)

    @property
    def broken(self) -> bool:
        """Whether an fsync failed in this process: it reads on, but stores nothing any more."""
        return self._ring.broken

    @property
    def epoch(self) -> int:
        """The primary epoch: new keys are wrapped under it."""
        return self._ring.primary

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs whose keys still exist, oldest first; more than one during a rotation."""
        return self._ring.epochs

    # Subjects' keys

    def create_key(self, subject: str, version: int = 1) -> WrappedKey:
        """A new random key for a subject, wrapped under the primary epoch."""
        return self._keys.create(subject, version)

    def restore_key(
        self, wrapped: bytes, epoch: int, version: int, previous: WrappedKey | None = None
    ) -> WrappedKey:
        """The key as the database's columns say it; checked when it is first used."""
        return WrappedKey(wrapped, epoch, version, previous)

    def rotate(self, keys: Iterable[tuple[str, WrappedKey]]) -> Iterator[tuple[str, WrappedKey]]:
        """Makes a new primary epoch at once, then wraps each subject's key anew as it is asked.

        The old epochs still open until ``destroy_epoch``, which must wait until every new row is
        committed. A key that does not open ends the iteration with its error; ``rewrap`` takes the
        others one by one.
        """
        return self._keys.rewrap(keys, self._ring.add_epoch())

    def rewrap(self, subject: str, key: WrappedKey) -> WrappedKey:
        """The same key wrapped under the primary epoch; nothing sealed with it changes."""
        (_, wrapped), *_ = self._keys.rewrap([(subject, key)], self._ring.primary)
        return wrapped

    def destroy_epoch(self, epoch: int) -> None:
        """Destroys an old epoch's key, durably: what is still wrapped under it never opens again.

        Raises:
            Conflict: it is the primary epoch, or none.
        """
        self._ring.destroy_epoch(epoch)
        self._keys.forget()

    # Blobs

    def seal_blob(
        self,
        *,
        subject: str,
        key: WrappedKey,
        kind: str,
        data: bytes | BinaryIO,
        revision: int = 1,
    ) -> str:
        """Seals and stores a blob; it is durable when this returns.

        Args:
            subject: whose it is.
            key: the subject's key.
            kind: what it is (``original``, ``crop``); it opens as nothing else.
            data: the bytes, or a binary file, which is read in bounded memory.
            revision: counts what stood in the same place, from 1.

        Returns:
            The new blob's id, 32 hexadecimal digits.
        """
        secret, blob = self._keys.open(subject, key).blobs, new_blob_id()
        context = self._blob_context(subject, blob, kind, revision)
        self._blobs.write(blob, seal_stream(secret, context, _read(data)))
        return blob

    def open_blob(
        self, *, subject: str, key: WrappedKey, blob: str, kind: str, revision: int = 1
    ) -> bytes:
        """The whole blob.

        Raises:
            NotFound: there is no such blob.
        """
        context = self._blob_context(subject, blob, kind, revision)

        def read(secret: bytes) -> bytes:
            with self._blobs.open(blob) as sealed:
                return open_whole(secret, context, sealed)

        return self._with_either(subject, key, read)

    def stream_blob(
        self,
        *,
        subject: str,
        key: WrappedKey,
        blob: str,
        kind: str,
        revision: int = 1,
        start: int = 0,
        stop: int | None = None,
    ) -> Iterator[bytes]:
        """The blob in pieces of 128 KiB; errors of key, context and header come from this call.

        Each piece is authentic, but only the end of the iteration says that the blob is whole:
        when it raises ``Tampered`` midway, throw away what came before. Of a part, only its own
        chunks are read, and the last one of the blob, which says how long it is.

        Args:
            subject: whose it is.
            key: the subject's key.
            blob: its id.
            kind: what it is.
            revision: as it was sealed.
            start: the first byte wanted.
            stop: the byte after the last; the end unless told.

        Raises:
            NotFound: there is no such blob.
        """
        context = self._blob_context(subject, blob, kind, revision)
        return self._with_either(
            subject, key, lambda secret: _start(self._stream(secret, context, blob, start, stop))
        )

    def _with_either(self, subject: str, key: WrappedKey, read: Callable[[bytes], _Read]) -> _Read:
        """Reads with the newer of a person's keys, or with the one that it replaces."""
        keys = list(key.readable)
        while True:
            secret = self._keys.open(subject, keys.pop(0)).blobs
            try:
                return read(secret)
            except Tampered:  # the header commits to one key: nothing came out under this one
                if not keys:
                    raise

    def _stream(
        self, secret: bytes, context: bytes, blob: str, start: int, stop: int | None
    ) -> Iterator[bytes]:
        with self._blobs.open(blob) as sealed:
            if start == 0 and stop is None:
                yield from open_stream(secret, context, read_pieces(sealed))
            else:
                stop = sealed.size if stop is None else stop
                yield from open_range(secret, context, sealed, start=start, stop=stop)

    def opens_blob(
        self, *, subject: str, key: WrappedKey, blob: str, kind: str, revision: int = 1
    ) -> bool:
        """Tells whether this very key sealed a blob, whatever stands behind its beginning.

        Raises:
            NotFound: there is no such blob.
        """
        alone = WrappedKey(key.wrapped, key.epoch, key.version)
        try:
            self.stream_blob(subject=subject, key=alone, blob=blob, kind=kind, revision=revision)
        except Tampered:
            return False
        return True

    def reseal_blob(
        self, *, subject: str, key: WrappedKey, blob: str, kind: str, revision: int = 1
    ) -> str:
        """Stores a blob again under the newer of a subject's two keys; the old one stays.

        In bounded memory, and no plain text leaves the vault. When it raises, nothing was stored.

        Returns:
            The new blob's id.

        Raises:
            NotFound: there is no such blob.
        """
        pieces = self.stream_blob(subject=subject, key=key, blob=blob, kind=kind, revision=revision)
        secret, new = self._keys.open(subject, key).blobs, new_blob_id()
        context = self._blob_context(subject, new, kind, revision)
        self._blobs.write(new, seal_stream(secret, context, pieces))
        return new

    def _blob_context(self, subject: str, blob: str, kind: str, revision: int) -> bytes:
        return bind(self.install, subject, blob, kind, revision)

    def store_archive(self, *, purpose: str, data: bytes | BinaryIO) -> str:
        """Seals and stores a large thing of the installation (an export, a model's weights).

        Under the installation's own key: no subject's erasure and no rotation touches it.

        Args:
            purpose: what it is; it opens as nothing else.
            data: the bytes, or a binary file, which is read in bounded memory.

        Returns:
            The new blob's id.
        """
        blob = new_blob_id()
        context = bind("archive", self.install, purpose, blob)
        self._blobs.write(blob, seal_stream(self._ring.secret(STORE), context, _read(data)))
        return blob

    def open_archive(
        self, *, purpose: str, blob: str, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes]:
        """What ``store_archive`` stored, or a part of it, in pieces, as ``stream_blob`` gives them.

        Raises:
            NotFound: there is no such archive.
        """
        context = bind("archive", self.install, purpose, blob)
        return _start(self._stream(self._ring.secret(STORE), context, blob, start, stop))

    def measure_archive(self, *, blob: str) -> int:
        """How many bytes an archive opens to, as far as its stored size tells.

        Opening it, or any part, says whether that is true.

        Raises:
            NotFound: there is no such archive.
        """
        with self._blobs.open(blob) as sealed:
            return plain_size(sealed.size)

    def delete_blob(self, blob: str) -> None:
        """Removes a blob durably; one that is gone already is fine."""
        self._blobs.delete(blob)

    def list_blobs(self) -> Iterator[tuple[str, float]]:
        """Id and time of storing (seconds since 1970) of every blob, in no order."""
        return self._blobs.names()

    def read_sealed(self, blob: str) -> Iterator[bytes]:
        """A blob as it is stored, sealed, in pieces; for copies.

        Raises:
            NotFound: there is no such blob.
        """
        with self._blobs.open(blob) as sealed:
            yield from map(bytes, read_pieces(sealed))

    def write_sealed(self, blob: str, pieces: Iterable[bytes]) -> None:
        """Puts a sealed blob back under its id; durable when this returns."""
        self._blobs.write(blob, pieces)

    def delete_unfinished(self, *, before: float) -> int:
        """Removes what crashed writes left, older than a time in seconds since 1970; counts it."""
        return self._blobs.delete_unfinished(before=before)

    # Fields of the database and small secrets of the installation

    def seal_field(
        self, *, subject: str, key: WrappedKey, table: str, column: str, row: str, text: str
    ) -> bytes:
        """Seals a text for one cell of the database: 17 bytes longer than its UTF-8.

        The same text in the same cell seals to the same bytes.
        """
        context = bind(self.install, subject, table, column, row)
        return self._keys.open(subject, key).fields.seal(text.encode(), context)

    def open_field(
        self, *, subject: str, key: WrappedKey, table: str, column: str, row: str, sealed: bytes
    ) -> str:
        """The text of a cell."""
        context = bind(self.install, subject, table, column, row)
        newest, *older = key.readable
        try:
            return self._keys.open(subject, newest).fields.open(sealed, context).decode()
        except Tampered:
            if not older:
                raise
        return self._keys.open(subject, older[0]).fields.open(sealed, context).decode()

    def seal_bytes(self, *, purpose: str, data: bytes) -> bytes:
        """Seals bytes of the installation that belong to no subject; rotations leave them alone."""
        context = bind("store", self.install, purpose)
        return b"".join(seal_stream(self._ring.secret(STORE), context, _read(data)))

    def open_bytes(self, *, purpose: str, sealed: bytes) -> bytes:
        """What ``seal_bytes`` sealed for the same purpose."""
        context = bind("store", self.install, purpose)
        return open_whole(self._ring.secret(STORE), context, HeldBytes(sealed))

    # The erasure ledger's end, which the key ring remembers

    @property
    def ledger_end(self) -> tuple[int, str]:
        """Number and MAC of the erasure ledger's last line; 0 and "" before the first."""
        return self._ring.ledger_end

    def keep_ledger_end(self, number: int, mac: str) -> None:
        """Has the key ring remember the erasure ledger's last line, durably."""
        self._ring.keep_ledger_end(number, mac)

    # Indexes and signatures

    def blind_index(self, purpose: str, value: str | bytes) -> bytes:
        """32 bytes by which equal values of one purpose are found; says nothing without the key."""
        return authenticate(self._ring.secret(INDEX), bind("index", purpose, value))

    def sign(self, purpose: str, message: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes, by the key of a purpose (``log`` or ``export``)."""
        return self._signer(purpose).sign(message)

    def public_key(self, purpose: str) -> bytes:
        """The raw 32 bytes of a purpose's Ed25519 public key."""
        return self._signer(purpose).public_key().public_bytes_raw()

    def _signer(self, purpose: str) -> Ed25519PrivateKey:
        if purpose not in _SIGNERS:
            raise InvalidInput("There are signing keys for the log and for exports only.")
        return Ed25519PrivateKey.from_private_bytes(self._ring.secret(_SIGNERS[purpose]))


def _read(data: bytes | BinaryIO) -> Iterator[bytes]:
    source = BytesIO(data) if isinstance(data, bytes) else data
    return iter(lambda: source.read(PIECE_CHUNKS * CHUNK), b"")


def _start(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Opens the store and checks the commitment now, not when the first piece is asked for."""
    return chain([next(pieces, b"")], pieces)
