"""Instruments without cryptography, pixels or tensors, for tests of the rooms above them."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from annotator.core.emotions import EMOTION_NAMES
from annotator.core.errors import Cancelled, Conflict, KeyDestroyed, NotFound, Tampered
from annotator.domain import audit
from annotator.domain.ports import Grouping, Guess, Lesson


@dataclass(frozen=True, slots=True)
class FakeKey:
    """A "wrapped" key: its bytes name the secret."""

    wrapped: bytes
    epoch: int
    version: int = 1


class FakeVault:
    """Keeps everything in memory, and opens nothing whose epoch was destroyed."""

    install = "test"
    broken = False

    def __init__(self) -> None:
        self.ledger_end = (0, "")
        self.epochs = {1}
        self.blobs: dict[str, tuple[Any, bytes]] = {}
        self._signers: dict[str, Ed25519PrivateKey] = {}

    @property
    def epoch(self) -> int:
        return self.primary

    @property
    def primary(self) -> int:
        return max(self.epochs)

    def create_key(self, subject: str, version: int = 1) -> FakeKey:
        return FakeKey(f"{subject}.{secrets.token_hex(8)}".encode(), self.primary, version)

    def restore_key(
        self, wrapped: bytes, epoch: int, version: int, previous: FakeKey | None = None
    ) -> FakeKey:
        return FakeKey(wrapped, epoch, version)

    def _check(self, subject: str, key: FakeKey) -> None:
        if key.epoch not in self.epochs:
            raise KeyDestroyed
        if not key.wrapped.startswith(f"{subject}.".encode()):
            raise Tampered

    def _store(self, context: Any, data: bytes | BinaryIO) -> str:
        blob = secrets.token_hex(16)
        self.blobs[blob] = (context, data if isinstance(data, bytes) else data.read())
        return blob

    def _open(self, context: Any, blob: str) -> bytes:
        if blob not in self.blobs:
            raise NotFound
        bound, data = self.blobs[blob]
        if bound != context:
            raise Tampered
        return data

    def seal_blob(
        self, *, subject: str, key: Any, kind: str, data: bytes | BinaryIO, revision: int = 1
    ) -> str:
        self._check(subject, key)
        return self._store((subject, kind, revision), data)

    def open_blob(
        self, *, subject: str, key: Any, blob: str, kind: str, revision: int = 1
    ) -> bytes:
        self._check(subject, key)
        return self._open((subject, kind, revision), blob)

    def delete_blob(self, blob: str) -> None:
        self.blobs.pop(blob, None)

    def seal_field(
        self, *, subject: str, key: Any, table: str, column: str, row: str, text: str
    ) -> bytes:
        self._check(subject, key)
        return json.dumps([subject, table, column, row, text]).encode()

    def open_field(
        self, *, subject: str, key: Any, table: str, column: str, row: str, sealed: bytes
    ) -> str:
        self._check(subject, key)
        *context, text = json.loads(sealed)
        if context != [subject, table, column, row]:
            raise Tampered
        return str(text)

    def seal_bytes(self, *, purpose: str, data: bytes) -> bytes:
        return purpose.encode() + b"\0" + data

    def open_bytes(self, *, purpose: str, sealed: bytes) -> bytes:
        bound, _, data = sealed.partition(b"\0")
        if bound != purpose.encode():
            raise Tampered
        return data

    def store_archive(self, *, purpose: str, data: bytes | BinaryIO) -> str:
        return self._store(("archive", purpose), data)

    def measure_archive(self, *, blob: str) -> int:
        if blob not in self.blobs:
            raise NotFound
        return len(self.blobs[blob][1])

    def open_archive(
        self, *, purpose: str, blob: str, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes]:
        data = self._open(("archive", purpose), blob)[start:stop]
        return iter([data[at : at + 65536] for at in range(0, len(data), 65536)])

    def blind_index(self, purpose: str, value: str | bytes) -> bytes:
        raw = value if isinstance(value, bytes) else value.encode()
        return hmac.digest(purpose.encode(), raw, hashlib.sha256)

    def _signer(self, purpose: str) -> Ed25519PrivateKey:
        return self._signers.setdefault(purpose, Ed25519PrivateKey.generate())

    def sign(self, purpose: str, message: bytes) -> bytes:
        return self._signer(purpose).sign(message)

    def public_key(self, purpose: str) -> bytes:
        return self._signer(purpose).public_key().public_bytes_raw()

    def rotate(self, keys: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, FakeKey]]:
        epoch = self.primary + 1
        self.epochs.add(epoch)

        def wrap() -> Iterator[tuple[str, FakeKey]]:
            for subject, key in keys:
                self._check(subject, key)
                yield subject, FakeKey(key.wrapped, epoch, key.version)

        return wrap()

    def rewrap(self, subject: str, key: Any) -> FakeKey:
        self._check(subject, key)
        return FakeKey(key.wrapped, self.primary, key.version)

    def keep_ledger_end(self, number: int, mac: str) -> None:
        self.ledger_end = (number, mac)

    def destroy_epoch(self, epoch: int) -> None:
        if epoch == self.primary or epoch not in self.epochs:
            raise Conflict
        self.epochs.remove(epoch)


@dataclass
class FakeLearning:
    """Trains in no time; remembers what it was given.

    Attributes:
        better: whether a candidate beats the current model.
        epochs: how many it reports.
        lessons: every (start, train, valid, options).
    """

    better: bool = True
    epochs: int = 3
    lessons: list[tuple[bytes | None, Lesson, Lesson, dict[str, Any]]] = field(default_factory=list)

    def digest(self, weights: bytes | None) -> str:
        return hashlib.sha256(weights or b"bundled").hexdigest()

    def guess(self, weights: bytes | None, crops: Sequence[bytes]) -> list[Guess]:
        sure = [1.0] + [0.0] * (len(EMOTION_NAMES) - 1)
        return [Guess(EMOTION_NAMES[0], 1.0, sure, b"\0\0" * 4) for _ in crops]

    def group(self, embeddings: Sequence[bytes], *, clusters: int | None, seed: int) -> Grouping:
        """Groups by the first byte; the second is the distance to the centre."""
        k = clusters or 2
        return Grouping(
            clusters=[item[0] % k for item in embeddings],
            distances=[float(item[1]) for item in embeddings],
            places=[(float(item[0]), float(item[1])) for item in embeddings],
            k=k,
            silhouette=0.5,
        )

    def train(
        self,
        kind: str,
        *,
        start: bytes | None,
        train: Lesson,
        valid: Lesson,
        options: dict[str, Any],
        report: Callable[[int, int, dict[str, float]], None],
    ) -> bytes:
        self.lessons.append((start, train, valid, options))
        for epoch in range(1, self.epochs + 1):
            for part in (0.5, 0.0):
                report(epoch, self.epochs, {"loss": 1 / epoch + part, "accuracy": 0.5})
        return f"{kind} trained on {len(train.crops)}".encode()

    def evaluate(
        self, weights: bytes | None, test: Lesson, against: bytes | None, *, seed: int
    ) -> dict[str, Any]:
        gain = 0.1 if self.better else -0.1

        def measured(value: float) -> dict[str, Any]:
            one = {"recall": value, "precision": value, "support": 3}
            return {
                "n": len(test.crops),
                "accuracy": value,
                "macro_f1": value,
                "ece": 0.02,
                "kl": 0.4,
                "per_class": {"neutral": one, "fear": one},
            }

        return {
            "candidate": measured(0.5 + gain),
            "current": measured(0.5),
            "comparison": {
                "n": len(test.crops),
                "difference": gain,
                "interval": [gain - 0.05, gain + 0.05],
                "probability": 0.99 if self.better else 0.01,
                "better": self.better,
            },
        }


class FakeLedger:
    """Keeps records in memory."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def append(self, record: Mapping[str, Any]) -> None:
        if dict(record) not in self.records:
            self.records.append(dict(record))

    def read(self) -> list[dict[str, Any]]:
        return list(self.records)


@dataclass
class FakeTools:
    """A toolbox of fakes."""

    vault: Any = field(default_factory=FakeVault)
    ledger: Any = field(default_factory=FakeLedger)
    imaging: Any = None
    learning: Any = field(default_factory=FakeLearning)
    data: Path = Path()
    witness: Any = None


class FakeWork:
    """A job's surroundings: real transactions, and progress that is only remembered.

    ``cancel_at`` raises ``Cancelled`` when so much is done; ``before_commit`` runs between steps.
    """

    job_id = 1

    def __init__(self, engine: Engine, tools: FakeTools) -> None:
        self.engine, self.tools = engine, tools
        self.reports: list[tuple[int, int]] = []
        self.cancel_at: int | None = None

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        info = {audit.VAULT: lambda: self.tools.vault}
        with Session(self.engine, expire_on_commit=False, info=info) as session:
            yield session
            session.commit()
            bury(session, self.tools.vault)

    def report(self, done: int, total: int) -> None:
        self.reports.append((done, total))
        if self.cancel_at is not None and done >= self.cancel_at:
            raise Cancelled


class WritingWork(FakeWork):
    """Takes the write lock when a transaction begins, as a worker does."""

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        info = {audit.VAULT: lambda: self.tools.vault}
        with Session(self.engine, expire_on_commit=False, info=info) as session:
            session.connection(execution_options={"writing": True})
            yield session
            session.commit()
            bury(session, self.tools.vault)


def bury(session: Session, vault: Any) -> None:
    """Deletes the blobs that a committed session left without a row, as the doors do."""
    for blob in session.info.pop("dead_blobs", []):
        vault.delete_blob(blob)


def read_all(pieces: Iterable[bytes]) -> BytesIO:
    """Pieces as one file."""
    return BytesIO(b"".join(pieces))
