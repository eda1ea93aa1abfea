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
    """Nodes from the stored ones and from at most 128 leaves or nodes below each.

    Raises:
        Tampered: from the source, when a part of the log is missing.
    """

    def node(level: int, number: int) -> bytes:
        below = level // STEP * STEP
        first, count = number << (level - below), 1 << (level - below)
        hashes = _read(session, below, first, count)
        if len(hashes) != count:
            raise Tampered("A part of the log is missing; see `audit verify`.")
        return merkle.compute_root(hashes)

    return node


def _read(session: Session, level: int, first: int, count: int) -> Sequence[bytes]:
    if level == 0:
        leaves = select(AuditEntry.leaf).where(
            AuditEntry.position >= first, AuditEntry.position < first + count
        )
        return session.scalars(leaves.order_by(AuditEntry.position)).all()
    nodes = select(AuditNode.hash).where(
        AuditNode.level == level, AuditNode.number >= first, AuditNode.number < first + count
    )
    return session.scalars(nodes.order_by(AuditNode.number)).all()


def root_at(session: Session, *, size: int) -> bytes:
    """The root of the tree of the first ``size`` entries."""
    return merkle.root_at(size=size, source=source_of(session))


def prove_inclusion(session: Session, *, index: int, size: int) -> list[bytes]:
    """The audit path of an entry in the tree of the first ``size`` entries."""
    return merkle.prove_inclusion(index=index, size=size, source=source_of(session))


def prove_consistency(session: Session, *, old: int, size: int) -> list[bytes]:
    """Shows that the log of ``size`` entries begins with the log of ``old`` entries."""
    return merkle.prove_consistency(old=old, size=size, source=source_of(session))
