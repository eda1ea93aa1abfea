"""What domain code needs from the instruments. ``bootstrap`` supplies the real ones, tests fakes.

Pixels pass through domain code unopened: ``Pixels`` is an RGB uint8 array of shape (H, W, 3), and
only ``imaging`` and ``ml`` look inside.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol

Pixels = Any
Box = tuple[float, float, float, float]  # x, y, width, height in pixels of the upright picture


class SubjectKey(Protocol):
    """A subject's wrapped key, as the vault makes it and the database keeps it."""

    @property
    def wrapped(self) -> bytes: ...
    @property
    def epoch(self) -> int: ...
    @property
    def version(self) -> int: ...


class Vault(Protocol):
    """Seals and opens; see ``annotator.vault``."""

    @property
    def install(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    @property
    def epochs(self) -> Collection[int]: ...
    @property
    def broken(self) -> bool: ...  # an fsync failed: nothing is stored until a restart
    def create_key(self, subject: str, version: int = 1) -> SubjectKey: ...
    def restore_key(
        self, wrapped: bytes, epoch: int, version: int, previous: SubjectKey | None = None
    ) -> SubjectKey: ...
    def seal_blob(
        self,
        *,
        subject: str,
        key: SubjectKey,
        kind: str,
        data: bytes | BinaryIO,
        revision: int = 1,
    ) -> str: ...
    def open_blob(
        self, *, subject: str, key: SubjectKey, blob: str, kind: str, revision: int = 1
    ) -> bytes: ...
    def stream_blob(
        self, *, subject: str, key: SubjectKey, blob: str, kind: str, revision: int = 1
    ) -> Iterator[bytes]: ...
    def opens_blob(
        self, *, subject: str, key: SubjectKey, blob: str, kind: str, revision: int = 1
    ) -> bool: ...
    def reseal_blob(
        self, *, subject: str, key: SubjectKey, blob: str, kind: str, revision: int = 1
    ) -> str: ...
    def delete_blob(self, blob: str) -> None: ...
    def list_blobs(self) -> Iterator[tuple[str, float]]: ...  # id, seconds since 1970
    def delete_unfinished(self, *, before: float) -> int: ...
    def read_sealed(self, blob: str) -> Iterator[bytes]: ...
    def write_sealed(self, blob: str, pieces: Iterable[bytes]) -> None: ...
    def seal_field(
        self, *, subject: str, key: SubjectKey, table: str, column: str, row: str, text: str
    ) -> bytes: ...
    def open_field(
        self, *, subject: str, key: SubjectKey, table: str, column: str, row: str, sealed: bytes
    ) -> str: ...
    def seal_bytes(self, *, purpose: str, data: bytes) -> bytes: ...
    def open_bytes(self, *, purpose: str, sealed: bytes) -> bytes: ...
    def store_archive(self, *, purpose: str, data: bytes | BinaryIO) -> str: ...
    def open_archive(
        self, *, purpose: str, blob: str, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes]: ...
    def measure_archive(self, *, blob: str) -> int: ...
    @property
    def ledger_end(self) -> tuple[int, str]: ...
    def blind_index(self, purpose: str, value: str | bytes) -> bytes: ...
    def sign(self, purpose: str, message: bytes) -> bytes: ...
    def public_key(self, purpose: str) -> bytes: ...
    def rotate(
        self, keys: Sequence[tuple[str, SubjectKey]]
    ) -> Iterator[tuple[str, SubjectKey]]: ...
    def rewrap(self, subject: str, key: SubjectKey) -> SubjectKey: ...
    def destroy_epoch(self, epoch: int) -> None: ...


class Ledger(Protocol):
    """Who was erased, kept apart from what is backed up; see ``annotator.vault.ledger``."""

    def append(self, record: Mapping[str, Any]) -> None: ...
    def read(self) -> list[dict[str, Any]]: ...


class Detection(NamedTuple):
    """One face that a detector found: box and five landmarks in pixels, score 0 to 1."""

    box: Box
    landmarks: tuple[tuple[float, float], ...]
    score: float


class Imaging(Protocol):
    """Pixels in and out; see ``annotator.imaging``."""

    def sniff(self, head: bytes) -> str: ...
    def decode(self, data: bytes) -> Pixels: ...
    def size(self, pixels: Pixels) -> tuple[int, int]: ...  # width, height
    def detect(
        self, pixels: Pixels, purpose: Literal["subject", "redaction"]
    ) -> list[Detection]: ...
    def redact(self, pixels: Pixels, keep: Box, others: Sequence[Box]) -> Pixels: ...
    def crop(self, pixels: Pixels, face: Detection) -> Pixels: ...
    def encode(self, pixels: Pixels) -> bytes: ...  # PNG of the pixels alone
    def measure(self, crop: Pixels) -> dict[str, Any]: ...
    def model_inputs(self, crops: Sequence[bytes]) -> Any: ...  # (N, 48, 48) uint8, of PNGs


class Guess(NamedTuple):
    """What a model says about one face; ``embedding`` is float16, little-endian."""

    label: str
    probability: float
    probabilities: list[float]
    embedding: bytes


class Grouping(NamedTuple):
    """A clustering of N embeddings: per item the cluster, distance to its centre, and place."""

    clusters: list[int]
    distances: list[float]
    places: list[tuple[float, float]]
    k: int
    silhouette: float | None


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a training needs: crops as PNG bytes, vote distributions and weights, per split."""

    crops: Sequence[bytes]
    targets: Sequence[Sequence[float]]  # eight floats each, sum 1
    weights: Sequence[float]


class Learning(Protocol):
    """Tensors behind a door; see ``annotator.ml``."""

    def digest(self, weights: bytes | None) -> str: ...
    def guess(self, weights: bytes | None, crops: Sequence[bytes]) -> list[Guess]: ...
    def group(
        self, embeddings: Sequence[bytes], *, clusters: int | None, seed: int
    ) -> Grouping: ...
    def train(
        self,
        kind: str,
        *,
        start: bytes | None,
        train: Lesson,
        valid: Lesson,
        options: dict[str, Any],
        report: Callable[[int, int, dict[str, float]], None],
    ) -> bytes: ...  # the weights
    def evaluate(
        self, weights: bytes | None, test: Lesson, against: bytes | None, *, seed: int
    ) -> dict[str, Any]: ...


class Queue(Protocol):
    """Wakes a worker for a job that is committed already."""

    def wake(self, job_id: int) -> None: ...


class Witness(Protocol):
    """Keeps checkpoints where this program cannot rewrite them."""

    @property
    def place(self) -> str: ...  # in words, for the admin
    def add(
        self, note: str, *, old: int, prove: Callable[[int], Sequence[bytes]]
    ) -> str: ...  # its signature lines, perhaps none
    def read(self, origin: str) -> list[str]: ...  # the notes that it has, oldest first


class Artist(Protocol):
    """Draws people who do not exist; every picture as the bytes of a PNG or JPEG."""

    @property
    def people(self) -> int: ...  # how many there are, numbered from 0
    def emotions_of(self, person: int) -> Sequence[str]: ...  # those that they can show
    def draw_crop(self, person: int, emotion: str, *, seed: int) -> bytes: ...
    def draw_portrait(self, person: int, emotion: str, *, seed: int) -> bytes: ...
    def draw_scene(self, people: Sequence[tuple[int, str]], *, seed: int) -> bytes: ...


class Tools(Protocol):
    """Everything at once, each opened on first use."""

    @property
    def vault(self) -> Vault: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def imaging(self) -> Imaging: ...
    @property
    def learning(self) -> Learning: ...
    @property
    def witness(self) -> Witness | None: ...
    @property
    def data(self) -> Path: ...
