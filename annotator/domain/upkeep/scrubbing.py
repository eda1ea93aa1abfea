"""``scrub``: opens everything that is sealed, to its end, and names what does not open.

It reads in short transactions and holds none while it opens blobs, so that the app goes on. What
fails is looked up again before it counts: its row may have changed meanwhile.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from annotator.core.errors import (
    AnnotatorError,
    InvalidInput,
    KeyDestroyed,
    NotFound,
    StorageFailed,
    Tampered,
)
from annotator.domain.holdings import (
    BLOBS,
    FIELDS,
    KEYS,
    Holding,
    Item,
    count_items,
    list_items,
)
from annotator.domain.ports import Vault
from annotator.models import Dataset

ORDER = (*KEYS, *FIELDS, *BLOBS)  # a key that does not open explains what follows
AT_ONCE = 200  # rows
THREADS = 4  # opened at once: an object store's answers overlap
REASONS = {
    NotFound: "missing",
    Tampered: "damaged",
    KeyDestroyed: "its key was destroyed",
    StorageFailed: "the disk cannot read it",
}


@dataclass(frozen=True, slots=True)
class Damage:
    """One sealed thing that does not open; no personal data in it.

    Attributes:
        what: ``image``, ``face``, ``export``, ``model``, ``person``, ``statement``, ``prediction``.
        id: its number.
        part: which part of it.
        blob: the blob's id; empty for a field of the database.
        dataset: the dataset's name, where it has one.
        reason: why it does not open.
        lost: what is gone, and what to do.
    """

    what: str
    id: int
    part: str
    blob: str
    dataset: str
    reason: str
    lost: str

    @property
    def sentence(self) -> str:
        """All of it, for people."""
        where = f" of dataset '{self.dataset}'" if self.dataset else ""
        blob = f" (blob {self.blob})" if self.blob else ""
        return f"{self.what} {self.id}{where}: {self.part}{blob}: {self.reason}. {self.lost}"


class Scrub:
    """One pass over everything; iterate to do it.

    Args:
        engine: the database.
        vault: opens.
        start: where to begin: a column's name and the last id that was looked at.
        report: is told how many things were opened, and of how many.

    Attributes:
        opened: things looked at.
        bytes: of blobs that were opened.
        position: where to go on after an interruption, for ``parse_position``.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        vault: Vault,
        start: tuple[str, int] = (ORDER[0].name, 0),
        report: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        self._engine, self._vault, self._report = engine, vault, report
        self._start = start
        self.opened = self.bytes = 0
        self.position = f"{start[0]}:{start[1]}"

    def __iter__(self) -> Iterator[Damage]:
        """Opens everything; gives each damaged thing as it is found."""
        name, after = self._start
        first = next(at for at, holding in enumerate(ORDER) if holding.name == name)
        with Session(self._engine) as session:
            named = session.execute(select(Dataset.id, Dataset.name))
            datasets = {number: name for number, name in named}  # noqa: C416 - rows are no pairs
            total = count_items(session, holding=ORDER[first], after=after)
            total += sum(count_items(session, holding=holding) for holding in ORDER[first + 1 :])
        with ThreadPoolExecutor(THREADS, thread_name_prefix="scrub") as pool:
            for holding in ORDER[first:]:
                for item, reason in self._look(pool, holding, after, total):
                    yield _describe(item, reason, datasets)
                after = 0

    def _look(
        self, pool: ThreadPoolExecutor, holding: Holding, after: int, total: int
    ) -> Iterator[tuple[Item, str]]:
        while True:
            with Session(self._engine) as session:
                items = list_items(
                    session, holding=holding, vault=self._vault, after=after, limit=AT_ONCE
                )
            if not items:
                return
            for item, (reason, size) in zip(items, pool.map(self._open, items), strict=True):
                if reason and (changed := self._again(item)):
                    yield changed
                self.opened, self.bytes, after = self.opened + 1, self.bytes + size, item.id
                self.position = f"{holding.name}:{after}"
                self._report(self.opened, max(total, self.opened))

    def _again(self, item: Item) -> tuple[Item, str] | None:
        """What the row says now, if that does not open either."""
        with Session(self._engine) as session:
            found = list_items(session, holding=item.holding, vault=self._vault, only=item.id)
        reason = self._open(found[0])[0] if found else ""
        return (found[0], reason) if reason else None

    def _open(self, item: Item) -> tuple[str, int]:
        """Why it does not open (empty when it does), and its bytes."""
        try:
            return "", self._drain(item)
        except AnnotatorError as error:
            reason = next((text for kind, text in REASONS.items() if isinstance(error, kind)), None)
            if reason is None:  # the vault is locked: nothing can be said about anything
                raise
            return reason, 0

    def _drain(self, item: Item) -> int:
        if item.holding.archive:
            pieces = self._vault.open_archive(purpose=item.kind, blob=str(item.value))
            return sum(map(len, pieces))
        if item.key is None:
            raise KeyDestroyed
        if item.holding in KEYS:
            self._vault.rewrap(item.subject, item.key)  # opens it; what comes out is thrown away
        elif isinstance(item.value, bytes):
            self._vault.open_field(
                subject=item.subject,
                key=item.key,
                table=item.holding.table,
                column=item.kind,
                row=item.row,
                sealed=item.value,
            )
        else:
            pieces = self._vault.stream_blob(
                subject=item.subject, key=item.key, blob=item.value, kind=item.kind
            )
            return sum(map(len, pieces))
        return 0


def _describe(item: Item, reason: str, datasets: dict[int, str]) -> Damage:
    return Damage(
        what=item.holding.what,
        id=item.id,
        part=item.holding.part,
        blob=item.value if isinstance(item.value, str) else "",
        dataset=datasets.get(item.dataset or 0, ""),
        reason=reason,
        lost=item.holding.lost,
    )


def parse_position(text: str) -> tuple[str, int]:
    """Reads what an interrupted scrub said: a column and the last id, ``faces.crop_blob:120``.

    Raises:
        InvalidInput: there is no such place.
    """
    name, _, number = text.rpartition(":")
    known = name in {holding.name for holding in ORDER}
    if not known or not number.isascii() or not number.isdigit():
        raise InvalidInput(f"'{text}' is no place that a scrub can begin at.")
    return name, int(number)
