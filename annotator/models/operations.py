"""The installation itself and its jobs."""

import datetime as dt
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from annotator.core.db import Base, Created, Key

CONTEXTS = ("research", "medical", "safety", "product", "workplace", "education")
JOB_STATES = ("queued", "running", "done", "failed", "cancelled")


class Installation(Base):
    """One row: which installation this is, and what it is used for."""

    __tablename__ = "installation"

    id: Mapped[Key]
    install: Mapped[str] = mapped_column(String(64))  # the key ring's install id
    context: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[Created]


class Job(Base):
    """Long work. This row is the truth about it; the broker only wakes a worker."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_state", "state", "id"), {"sqlite_autoincrement": True})

    id: Mapped[Key]
    kind: Mapped[str] = mapped_column(String(32))
    arguments: Mapped[dict[str, Any]]
    dataset_id: Mapped[int | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    state: Mapped[str] = mapped_column(String(16), default="queued")
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(String(300))
    result: Mapped[dict[str, Any] | None]
    attempts: Mapped[int] = mapped_column(default=0)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    created_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]
    started_at: Mapped[dt.datetime | None]
    heartbeat_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]
