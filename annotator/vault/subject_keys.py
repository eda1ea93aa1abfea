"""Subjects' keys: wrapped in the database, opened here, and kept open for a short while."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from os import urandom

from annotator.vault.cipher import KEY_BYTES, SIV_KEY_BYTES, Siv, bind, derive_key, extend
from annotator.vault.keys import KeyRing

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
class SubjectKey:
    """A subject's key, opened: one part for blobs, one for fields."""

    blobs: bytes
    fields: Siv
    opened: float


class SubjectKeys:
    """Makes, wraps and opens the keys of subjects; safe to share between threads.

    Args:
        ring: holds the epochs' keys.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._prefix = bind("subject-key", ring.install)
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[str, WrappedKey], SubjectKey] = OrderedDict()
        self._cached_generation = ring.generation

    def create(self, subject: str, version: int) -> WrappedKey:
        """A new random key, wrapped under the primary epoch."""
        epoch = self._ring.primary
        context = extend(self._prefix, subject, epoch, version)
        sealed = self._ring.epoch_cipher(epoch).seal(urandom(KEY_BYTES), context)
        return WrappedKey(sealed, epoch, version)

    def rewrap(
        self, keys: Iterable[tuple[str, WrappedKey]], epoch: int
    ) -> Iterator[tuple[str, WrappedKey]]:
        """The same keys wrapped under another epoch, one by one as they are asked for."""
        # A hundred thousand in about a second: each epoch's cipher is looked up once.
        ciphers = {epoch: self._ring.epoch_cipher(epoch)}
        target = ciphers[epoch]
        for subject, key in keys:
            source = ciphers.get(key.epoch)
            if source is None:
                source = ciphers[key.epoch] = self._ring.epoch_cipher(key.epoch)
            prefix = extend(self._prefix, subject)
            secret = source.open(key.wrapped, extend(prefix, key.epoch, key.version))
            sealed = target.seal(secret, extend(prefix, epoch, key.version))
            yield subject, WrappedKey(sealed, epoch, key.version)

    def open(self, subject: str, key: WrappedKey) -> SubjectKey:
        """A key, opened now or a short while ago.

        Raises:
            KeyDestroyed: its epoch was destroyed.
            Locked: its epoch is disabled.
            Tampered: it is another subject's, or was changed.
        """
        generation, now, name = self._ring.generation, time.monotonic(), (subject, key)
        with self._lock:
            if generation != self._cached_generation:
                self._cache.clear()
                self._cached_generation = generation
            found = self._cache.get(name)
            if found is not None and now - found.opened < _CACHE_SECONDS:
                self._cache.move_to_end(name)
                return found
        info = bind("subject-keys", self._ring.install, subject)
        both = derive_key(self._unwrap(subject, key), info=info, length=KEY_BYTES + SIV_KEY_BYTES)
        opened = SubjectKey(both[:KEY_BYTES], Siv(both[KEY_BYTES:]), now)
        with self._lock:
            if generation == self._cached_generation:
                self._keep(name, opened)
        return opened

    def forget(self) -> None:
        """Lets every opened key go."""
        with self._lock:
            self._cache.clear()

    def _keep(self, name: tuple[str, WrappedKey], opened: SubjectKey) -> None:
        # What nobody asked for in time goes as well, so that keys do not linger.
        oldest = opened.opened - _CACHE_SECONDS
        for each in [each for each, at in self._cache.items() if at.opened < oldest]:
            del self._cache[each]
        self._cache[name] = opened
        while len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)

    def _unwrap(self, subject: str, key: WrappedKey) -> bytes:
        cipher = self._ring.epoch_cipher(key.epoch)
        return cipher.open(key.wrapped, extend(self._prefix, subject, key.epoch, key.version))
