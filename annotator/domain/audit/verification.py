"""Checks the whole log against itself, against what was signed, and against the witness.

Everything is computed anew from the entries. An entry that does not fit its own leaf, a gap and a
double are found where they are; what was changed together with its leaf is found by the first
checkpoint that was signed over it, and blamed on the first entry that no earlier one vouches for.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from annotator.core.errors import Tampered
from annotator.domain.audit.entries import STEP, canonical, describe
from annotator.models import AuditEntry, AuditHead, AuditNode, Checkpoint
from annotator.vault import merkle, notes

BATCH = 1000
_COLUMNS = (
    AuditEntry.id,
    AuditEntry.position,
    AuditEntry.at,
    AuditEntry.action,
    AuditEntry.actor,
    AuditEntry.subject,
    AuditEntry.details,
    AuditEntry.leaf,
)


class Row(NamedTuple):
    """An entry as it lies in the database; ``body`` is ``None`` when it cannot be read."""

    id: int
    position: int | None
    body: dict[str, Any] | None
    leaf: bytes


class Signed(NamedTuple):
    """A checkpoint's note, where it was kept, and the size under which it was filed, if any."""

    note: str
    kept: str
    size: int | None = None


class Problem(NamedTuple):
    """What is wrong, and the first entry that it touches."""

    entry: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found.

    Attributes:
        size: number of entries, as far as the tree goes.
        root: the root that was computed over them.
        checkpoints: how many signed notes fit.
        problems: what is wrong, by the first entry that each touches; empty is good.
    """

    size: int
    root: bytes
    checkpoints: int
    problems: tuple[Problem, ...]

    @property
    def first_bad(self) -> int | None:
        """The first entry that cannot be trusted; ``None`` when all can."""
        return self.problems[0].entry if self.problems else None


def verify_log(
    session: Session, *, verifier: notes.Verifier, mirrored: Iterable[Signed] = ()
) -> Report:
    """Checks everything.

    Args:
        session: the open transaction; it reads only.
        verifier: the log's public key.
        mirrored: checkpoints from the witness, or from whoever kept one.
    """
    head = session.execute(select(AuditHead.size, AuditHead.frontier)).one_or_none()
    stored = session.execute(select(Checkpoint.size, Checkpoint.note).order_by(Checkpoint.id))
    nodes = session.execute(select(AuditNode.level, AuditNode.number, AuditNode.hash))
    return check_log(
        _read_rows(session),
        head=(head.size, head.frontier) if head else None,
        nodes={(level, number): value for level, number, value in nodes},
        signed=[
            *(Signed(note, "in the database", size) for size, note in stored),
            *mirrored,
        ],
        verifier=verifier,
    )


def check_log(
    rows: Iterable[Row],
    *,
    head: tuple[int, bytes] | None,
    nodes: Mapping[tuple[int, int], bytes],
    signed: Sequence[Signed],
    verifier: notes.Verifier,
) -> Report:
    """The check itself.

    Args:
        rows: the entries by position, those without one last.
        head: size and frontier as stored.
        nodes: the stored nodes.
        signed: checkpoints from everywhere.
        verifier: the log's public key.
    """
    check = _Check(nodes)
    check.read_notes(signed, verifier)
    for row in rows:
        check.take(row)
    return check.finish(head)


@dataclass(slots=True)
class _Check:
    nodes: Mapping[tuple[int, int], bytes]
    frontier: merkle.Frontier = field(default_factory=merkle.Frontier)
    problems: list[Problem] = field(default_factory=list)
    claims: dict[int, list[tuple[bytes, str]]] = field(default_factory=dict)
    vouched: int = 0  # entries below this are as they were signed
    fitting: int = 0
    gap: bool = False  # the tree ends here, whatever comes later
    placeless: list[int] = field(default_factory=list)
    made: set[tuple[int, int]] = field(default_factory=set)

    def blame(self, index: int, sentence: str) -> None:
        self.problems.append(Problem(index, sentence))

    def read_notes(self, signed: Sequence[Signed], verifier: notes.Verifier) -> None:
        good: list[int] = []
        bad: list[tuple[int | None, str]] = []
        for item in signed:
            try:
                found = notes.read_checkpoint(item.note)
            except Tampered as error:
                bad.append((item.size, f"A checkpoint {item.kept} is damaged: {error.message}"))
                continue
            if found.origin != verifier.name or not notes.is_signed(found, verifier):
                sentence = f"The checkpoint of {found.size} entries {item.kept} is not signed by "
                bad.append((found.size, f"{sentence}this log's key."))
            elif item.size is not None and item.size != found.size:
                sentence = f"The checkpoint of {found.size} entries {item.kept} is filed under "
                bad.append((min(found.size, item.size), f"{sentence}{item.size}."))
            else:
                good.append(found.size)
                self.claims.setdefault(found.size, []).append((found.root, item.kept))
        for size, sentence in bad:
            before = [known for known in good if size is not None and known < size]
            self.blame(max(before, default=0), sentence)
        self.compare()  # a checkpoint of the empty log

    def take(self, row: Row) -> None:
        index = self.frontier.size
        if row.position is None or row.position < 0:
            self.placeless.append(row.id)
        elif row.position < index:
            self.blame(row.position, f"More than one entry is at {row.position}.")
        elif self.gap:
            return
        elif row.position > index:
            self.gap = True
            self.blame(index, f"Entries from {index} to {row.position - 1} are missing.")
        else:
            self.append(index, row)

    def append(self, index: int, row: Row) -> None:
        leaf = merkle.hash_leaf(b"" if row.body is None else canonical(row.body))
        if leaf != row.leaf:
            what = "cannot be read" if row.body is None else "was changed"
            self.blame(index, f"Entry {index} {what}: it does not fit its leaf.")
        for node in self.frontier.append(leaf):
            if node.level and node.level % STEP == 0:
                self.made.add((node.level, node.number))
                if self.nodes.get((node.level, node.number)) != node.hash:
                    first = node.number << node.level
                    self.doubt(first, f"The stored node over {first} to {index} does not fit.")
        self.compare()

    def compare(self) -> None:
        """Compares the root with everything that was signed for this size."""
        size = self.frontier.size
        for root, kept in self.claims.pop(size, []):
            if root == self.frontier.root:
                self.fitting += 1
                self.vouched = size
                continue
            self.doubt(
                self.vouched,
                f"Entries from {self.vouched} to {size - 1} are not those that were signed: the "
                f"checkpoint of {size} entries {kept} has another root.",
            )

    def doubt(self, first: int, sentence: str) -> None:
        """Blames a range, unless something in it is known to be wrong already."""
        if not any(first <= problem.entry < self.frontier.size for problem in self.problems):
            self.blame(first, sentence)

    def finish(self, head: tuple[int, bytes] | None) -> Report:
        size = self.frontier.size
        for number in self.placeless:
            self.blame(size, f"The entry with id {number} has no place in the tree.")
        for claimed, claims in self.claims.items():
            for _, kept in claims:
                sentence = f"Entries from {size} on are missing: the checkpoint {kept} tells of "
                self.blame(size, f"{sentence}{claimed}.")
        if head is None:
            self.blame(size, "The log has no head.")
        elif head[0] > size and not self.gap:
            self.blame(size, f"Entries from {size} to {head[0] - 1} are missing at the end.")
        elif head[0] < size and not self.gap:
            self.blame(head[0], f"Entries from {head[0]} on were added past the log's head.")
        elif head[0] == size and head[1] != self.frontier.data:
            self.doubt(self.vouched, "The log's head does not fit its entries.")
        strays = [] if self.problems else sorted(set(self.nodes) - self.made)
        for level, number in strays:
            self.blame(min(number << level, size), "A node is stored that is in no tree.")
        problems = tuple(sorted(self.problems))
        return Report(size, self.frontier.root, self.fitting, problems)


def _read_rows(session: Session) -> Iterator[Row]:
    """All entries by position, those without one last; one that is damaged stops nobody."""
    order = (AuditEntry.position.is_(None), AuditEntry.position, AuditEntry.id)
    places = session.execute(select(AuditEntry.id, AuditEntry.position).order_by(*order)).all()
    for start in range(0, len(places), BATCH):
        batch = places[start : start + BATCH]
        try:
            found = {row.id: row for row in _load(session, [place.id for place in batch])}
        except (ValueError, TypeError, DBAPIError):
            found = dict(_load_each(session, [place.id for place in batch]))
        for place in batch:
            yield found.get(place.id) or Row(place.id, place.position, None, b"")


def _load_each(session: Session, ids: Sequence[int]) -> Iterator[tuple[int, Row]]:
    for number in ids:
        try:
            for row in _load(session, [number]):
                yield number, row
        except (ValueError, TypeError, DBAPIError):
            continue


def _load(session: Session, ids: Sequence[int]) -> list[Row]:
    return [
        Row(found.id, found.position, describe(cast("AuditEntry", found)), found.leaf)
        for found in session.execute(select(*_COLUMNS).where(AuditEntry.id.in_(ids)))
    ]
