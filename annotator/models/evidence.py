"""The log, its tree, and what was signed over it."""

import datetime as dt
from typing import Any

from sqlalchemy import Connection, ForeignKey, LargeBinary, String, Table, Text, event
from sqlalchemy.orm import Mapped, mapped_column

from annotator.core.db import Base, Created, Key


class AuditEntry(Base):
    """One thing that happened, without personal data.

    ``position`` is its place in the tree, from 0 without gaps, given when its transaction commits;
    ``leaf`` is its RFC 6962 leaf hash. ``subject`` is a commitment to the person whom it is about,
    which says nothing to anybody who has not that person's salt.
    """

    __tablename__ = "audit_entries"

    id: Mapped[Key]
    position: Mapped[int | None] = mapped_column(unique=True)
    at: Mapped[dt.datetime]
    action: Mapped[str] = mapped_column(String(48), index=True)
    actor: Mapped[str] = mapped_column(String(32))  # user-7, worker, cli
    subject: Mapped[bytes | None] = mapped_column(LargeBinary(32), index=True)
    details: Mapped[dict[str, Any]]
    leaf: Mapped[bytes] = mapped_column(LargeBinary(32), default=b"")


class AuditHead(Base):
    """One row: the right edge of the tree. Whoever appends holds it until their commit."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True)
    size: Mapped[int]
    frontier: Mapped[bytes] = mapped_column(LargeBinary)


class AuditNode(Base):
    """The hash of a whole part of the tree, of 256, 65,536, ... entries: proofs stay short work."""

    __tablename__ = "audit_nodes"
    __table_args__ = ()

    level: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))


class AuditSalt(Base):
    """By what a person's entries are found, sealed under their key; gone when the key is gone."""

    __tablename__ = "audit_salts"
    __table_args__ = ()

    subject_id: Mapped[int] = mapped_column(
        ForeignKey("subjects.id"), primary_key=True, autoincrement=False
    )
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    count: Mapped[int] = mapped_column(default=0)  # entries about this person


class Checkpoint(Base):
    """A C2SP checkpoint that was signed, and whether the witness has it."""

    __tablename__ = "checkpoints"

    id: Mapped[Key]
    size: Mapped[int] = mapped_column(index=True)
    note: Mapped[str] = mapped_column(Text)
    created_at: Mapped[Created]
    mirrored_at: Mapped[dt.datetime | None]
    cosignatures: Mapped[str] = mapped_column(Text, default="")
    problem: Mapped[str | None] = mapped_column(String(300))


def _begin_log(table: Table, connection: Connection, **_: Any) -> None:
    """A log begins empty; without this row nothing can be appended."""
    connection.execute(table.insert().values(id=1, size=0, frontier=b""))


event.listen(AuditHead.__table__, "after_create", _begin_log)
