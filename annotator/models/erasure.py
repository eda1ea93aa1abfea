"""Withdrawals on their way: what is still to be destroyed, so that a crash forgets nothing."""

import datetime as dt

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from annotator.core.db import Base, Created, Key

ERASURE_STEPS = ("note", "blobs", "journal", "epoch", "close", "done")


class Erasure(Base):
    """One withdrawal and how far it has come. Written in the transaction that withdraws.

    Attributes:
        purposes: what was taken back; with ``store`` it is everything.
        step: what is to be done next, one of ``ERASURE_STEPS``.
        epoch: every key epoch up to this one has to be destroyed; NULL when no key was.
        blobs: ids of sealed bytes that nothing points to any more; emptied when they are deleted.
        job_id: the job that does it, or did it last.
        attempts: how often it was begun.
        error: why an earlier job failed; the present job tells its own reason.
        retry_at: when it is tried again, should the present attempt fail.
    """

    __tablename__ = "erasures"
    __table_args__ = (
        Index("ix_erasures_open", "finished_at", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Key]
    subject_id: Mapped[int] = mapped_column(ForeignKey("subjects.id"), index=True)
    purposes: Mapped[list[str]]
    step: Mapped[str] = mapped_column(String(16), default=ERASURE_STEPS[0])
    epoch: Mapped[int | None]
    blobs: Mapped[list[str]]
    job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"))
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(String(300))
    created_at: Mapped[Created]
    retry_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]
