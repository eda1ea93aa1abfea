"""Training sets that left, whom they hold, and which consent let them."""

import datetime as dt
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from annotator.core.db import Base, Created, Key

TIERS = ("T1", "T2", "T3")
BALANCES = ("none", "undersample", "oversample", "weights")


class Export(Base):
    """One training set. Its archive is sealed in the vault until somebody fetches it.

    ``sealed_blob`` is NULL until it is built, and again after a person in it withdrew.
    """

    __tablename__ = "exports"

    id: Mapped[Key]
    uid: Mapped[str] = mapped_column(String(32), unique=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"), index=True)
    tier: Mapped[str] = mapped_column(String(2))
    format: Mapped[str] = mapped_column(String(16), default="folder")
    balance: Mapped[str] = mapped_column(String(16))
    seed: Mapped[int]
    recipient: Mapped[str] = mapped_column(String(200))
    job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"))
    state: Mapped[str] = mapped_column(String(8), default="queued")  # queued, ready, failed
    sealed_blob: Mapped[str | None] = mapped_column(String(32))
    manifest_digest: Mapped[str | None] = mapped_column(String(64))
    counts: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]
    withdrawn_at: Mapped[dt.datetime | None]


class ExportItem(Base):
    """One face in one export, with the consent event that allowed it."""

    __tablename__ = "export_items"
    __table_args__ = (UniqueConstraint("export_id", "face_id"), {"sqlite_autoincrement": True})

    id: Mapped[Key]
    export_id: Mapped[int] = mapped_column(ForeignKey("exports.id"))
    face_id: Mapped[int | None] = mapped_column(
        ForeignKey("faces.id", ondelete="SET NULL"), index=True
    )
    subject_id: Mapped[int] = mapped_column(ForeignKey("subjects.id"), index=True)
    consent_event_id: Mapped[int] = mapped_column(ForeignKey("consent_events.id"))
    split: Mapped[str] = mapped_column(String(8))
    file: Mapped[str] = mapped_column(String(120))
