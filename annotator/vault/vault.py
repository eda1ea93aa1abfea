"""The vault: one object over a key ring and a store of sealed blobs."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from itertools import chain
from os import urandom
from typing import BinaryIO, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from annotator.core.errors import InvalidInput, Tampered
from annotator.vault.blobs import BlobStore, new_blob_id
from annotator.vault.cipher import (
    CHUNK,
    KEY_BYTES,
    PIECE_CHUNKS,
    SIV_KEY_BYTES,
    HeldBytes,
    Siv,
    authenticate,
    bind,
    derive_key,
    extend,
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

_Read = TypeVar("_Read")
_SIGNERS = {"log": LOG, "export": EXPORT}
# Opened subject keys are kept this long, and this many, so that a page of one person's pictures
# unwraps once. A change of the key ring empties the cache at once, in every process.
_CACHE_SECONDS = 60.0
_CACHE_SIZE = 256


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A subject's key as the database stores it; useless without the key ring.

    Attributes:
        wrapped: 49 bytes: format byte, AES-SIV of the 32-byte key.
        epoch: which key-encryption key wrapped it.
        version: counts the keys that the subject has had, from 1.
        previous: the key before this one, while the subject's things are being sealed anew: what
            does not open with this key is tried with that one. Nothing is sealed with it.
    """

    wrapped: bytes
    epoch: int
    version: int
    previous: "WrappedKey | None" = field(default=None, compare=False)

    @property
    def readable(self) -> "tuple[WrappedKey, ...]":
        """The keys that open, in the order in which they are tried."""
        return (self,) if self.previous is None else (self, self.previous)


@dataclass(frozen=True, slots=True)
class _SubjectKey:
    """A subject's key, opened: one part for blobs, one for fields."""

    blobs: bytes
    fields: Siv
    opened: float


class Vault:
    """Seals and opens; safe to share between threads, cheap per call.

    Every open call raises ``Tampered`` for changed, swapped or foreign bytes and ``KeyDestroyed``
    for a key whose epoch was destroyed; every sealing call that stores raises ``StorageFull`` or
    ``StorageFailed`` when nothing was stored. Use ``open_vault`` or ``create_vault`` to get one.
    """

    def __init__(self, ring: KeyRing, blobs: BlobStore) -> None:
        self.install = ring.install
        self._key_prefix = bind("subject-key", ring.install)
        self._ring = ring
        self._blobs = blobs
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[str, WrappedKey], _SubjectKey] = OrderedDict()
        self._cached_generation = ring.generation

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
        epoch = self._ring.primary
        context = self._key_context(subject, epoch, version)
        sealed = self._ring.epoch_cipher(epoch).seal(urandom(KEY_BYTES), context)
        return WrappedKey(sealed, epoch, version)

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
        return self._rewrap(keys, self._ring.add_epoch())

    def rewrap(self, subject: str, key: WrappedKey) -> WrappedKey:
        """The same key wrapped under the primary epoch; nothing sealed with it changes."""
        (_, wrapped), *_ = self._rewrap([(subject, key)], self._ring.primary)
        return wrapped

    def _rewrap(
        self, keys: Iterable[tuple[str, WrappedKey]], epoch: int
    ) -> Iterator[tuple[str, WrappedKey]]:
        # A hundred thousand in about a second: each epoch's cipher is looked up once.
        ciphers = {epoch: self._ring.epoch_cipher(epoch)}
        target = ciphers[epoch]
        for subject, key in keys:
            source = ciphers.get(key.epoch)
            if source is None:
                source = ciphers[key.epoch] = self._ring.epoch_cipher(key.epoch)
            prefix = extend(self._key_prefix, subject)
            secret = source.open(key.wrapped, extend(prefix, key.epoch, key.version))
            sealed = target.seal(secret, extend(prefix, epoch, key.version))
            yield subject, WrappedKey(sealed, epoch, key.version)

    def destroy_epoch(self, epoch: int) -> None:
        """Destroys an old epoch's key, durably: what is still wrapped under it never opens again.

        Raises:
            Conflict: it is the primary epoch, or none.
        """
        self._ring.destroy_epoch(epoch)
        with self._lock:
            self._cache.clear()

    def _unwrap(self, subject: str, key: WrappedKey) -> bytes:
        cipher = self._ring.epoch_cipher(key.epoch)
        return cipher.open(key.wrapped, self._key_context(subject, key.epoch, key.version))

    def _key_context(self, subject: str, epoch: int, version: int) -> bytes:
        return extend(self._key_prefix, subject, epoch, version)

    def _subject_key(self, subject: str, key: WrappedKey) -> _SubjectKey:
        generation, now, name = self._ring.generation, time.monotonic(), (subject, key)
        with self._lock:
            if generation != self._cached_generation:
                self._cache.clear()
                self._cached_generation = generation
            found = self._cache.get(name)
            if found is not None and now - found.opened < _CACHE_SECONDS:
                self._cache.move_to_end(name)
                return found
        secret = self._unwrap(subject, key)
        info = bind("subject-keys", self.install, subject)
        both = derive_key(secret, info=info, length=KEY_BYTES + SIV_KEY_BYTES)
        opened = _SubjectKey(both[:KEY_BYTES], Siv(both[KEY_BYTES:]), now)
        with self._lock:
            if generation == self._cached_generation:
                # What nobody asked for in time goes as well, so that keys do not linger.
                old = [each for each, at in self._cache.items() if now - at.opened > _CACHE_SECONDS]
                for each in old:
                    del self._cache[each]
                self._cache[name] = opened
                while len(self._cache) > _CACHE_SIZE:
                    self._cache.popitem(last=False)
        return opened

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
        secret, blob = self._subject_key(subject, key).blobs, new_blob_id()
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
        with self._blobs.open(blob) as sealed:
            return self._with_either(
                subject, key, lambda secret: open_whole(secret, context, sealed)
            )

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
            secret = self._subject_key(subject, keys.pop(0)).blobs
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
        secret, new = self._subject_key(subject, key).blobs, new_blob_id()
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
        return self._subject_key(subject, key).fields.seal(text.encode(), context)

    def open_field(
        self, *, subject: str, key: WrappedKey, table: str, column: str, row: str, sealed: bytes
    ) -> str:
        """The text of a cell."""
        context = bind(self.install, subject, table, column, row)
        newest, *older = key.readable
        try:
            return self._subject_key(subject, newest).fields.open(sealed, context).decode()
        except Tampered:
            if not older:
                raise
        return self._subject_key(subject, older[0]).fields.open(sealed, context).decode()

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
