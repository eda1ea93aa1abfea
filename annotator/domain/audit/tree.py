"""The tree over the log: its head and its proofs."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.errors import Tampered
from annotator.domain.audit.entries import STEP
from annotator.models import AuditEntry, AuditHead, AuditNode
from annotator.vault import merkle


class Head(NamedTuple):
    """The tree as it is now."""

    size: int
    root: bytes


def read_head(session: Session) -> Head:
    """Size and root of the tree of all that is committed.

    Raises:
        Tampered: the stored head is damaged.
    """
    row = session.execute(select(AuditHead.size, AuditHead.frontier)).one_or_none()
    if row is None:
        raise Tampered("The log has no head.")
    return Head(row.size, merkle.Frontier(row.size, row.frontier).root)


def source_of(session: Session) -> merkle.Source:
    """Nodes from the stored ones and from leaves; each tile of 256 is read once.

    Raises:
        Tampered: from the source, when a part of the log is missing.
    """
    tiles: dict[tuple[int, int], list[list[bytes]]] = {}

    def node(level: int, number: int) -> bytes:
        above = level % STEP
        key = (level - above, number >> (STEP - above))
        if key not in tiles:
            tiles[key] = _grow(_read(session, *key))
        row, place = tiles[key][above], number & ((1 << (STEP - above)) - 1)
        if place >= len(row):
            raise Tampered("A part of the log is missing; see `audit verify`.")
        return row[place]

    return node


def _grow(hashes: Sequence[bytes]) -> list[list[bytes]]:
    """The whole nodes over a tile's hashes, level by level."""
    levels = [list(hashes)]
    for _ in range(1, STEP):
        below = levels[-1]
        pairs = zip(below[::2], below[1::2], strict=False)
        levels.append([merkle.hash_children(left, right) for left, right in pairs])
    return levels


def _read(session: Session, level: int, tile: int) -> list[bytes]:
    """A tile's hashes up to the first that is missing."""
    first, end = tile << STEP, (tile + 1) << STEP
    if level == 0:
        query = select(AuditEntry.position, AuditEntry.leaf).where(
            AuditEntry.position >= first, AuditEntry.position < end
        )
        rows = session.execute(query.order_by(AuditEntry.position)).all()
    else:
        nodes = select(AuditNode.number, AuditNode.hash).where(
            AuditNode.level == level, AuditNode.number >= first, AuditNode.number < end
        )
        rows = session.execute(nodes.order_by(AuditNode.number)).all()
    return [value for at, (place, value) in enumerate(rows, start=first) if place == at]


def root_at(session: Session, *, size: int) -> bytes:
    """The root of the tree of the first ``size`` entries."""
    return merkle.root_at(size=size, source=source_of(session))


def prove_inclusion(
    session: Session, *, index: int, size: int, source: merkle.Source | None = None
) -> list[bytes]:
    """The audit path of an entry in the tree of the first ``size`` entries.

    Args:
        session: the open transaction.
        index: the entry's position.
        size: of the tree.
        source: from ``source_of``, when many entries are proven.
    """
    source = source or source_of(session)
    return merkle.prove_inclusion(index=index, size=size, source=source)


def prove_consistency(session: Session, *, old: int, size: int) -> list[bytes]:
    """Shows that the log of ``size`` entries begins with the log of ``old`` entries."""
    return merkle.prove_consistency(old=old, size=size, source=source_of(session))
