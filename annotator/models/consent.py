"""The people in the pictures, what they were told, and what they agreed to."""

import datetime as dt

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from annotator.core.db import Base, Created, Key

PURPOSES = (
    "store",
    "label",
    "prelabel",
    "train",
    "export_pseudonymised",
    "export_anonymised",
    "publish_weights",
)
EVENT_KINDS = ("given", "renewed", "withdrawn", "expired")
EXPRESSIONS = ("ticked", "paper", "verbal", "imported")


class Subject(Base):
    """One person in pictures of one dataset, known by a code. After withdrawal only the code stays.

    ``wrapped_key`` is the subject's key wrapped under a key-encryption key of ``key_epoch``; it is
    NULL after withdrawal, and with it everything sealed under it is beyond reach.

    The ``next_`` columns hold the key that replaces it, while everything of the person is being
    sealed anew: new things are sealed with it, and old ones may be sealed with either.
    """

    __tablename__ = "subjects"
    __table_args__ = (UniqueConstraint("dataset_id", "code"), {"sqlite_autoincrement": True})

    id: Mapped[Key]
    uid: Mapped[str] = mapped_column(String(32), unique=True)  # random hex; bound into every seal
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"), index=True)
    code: Mapped[str] = mapped_column(String(80))
    group: Mapped[str | None] = mapped_column("group_name", String(80))  # self-declared
    wrapped_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    key_epoch: Mapped[int | None]
    key_version: Mapped[int | None]
    next_wrapped_key: Mapped[bytes | None] = mapped_column(LargeBinary)
    next_key_epoch: Mapped[int | None]
    next_key_version: Mapped[int | None]
    sealed_name: Mapped[bytes | None] = mapped_column(LargeBinary)
    sealed_contact: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[Created]
    withdrawn_at: Mapped[dt.datetime | None]

    events: Mapped[list["ConsentEvent"]] = relationship(
        back_populates="subject", order_by="ConsentEvent.id"
    )


class Notice(Base):
    """The exact text that people are told. Immutable; a change is a new version."""

    __tablename__ = "notices"
    __table_args__ = (
        UniqueConstraint("dataset_id", "version", "locale"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Key]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"), index=True)
    version: Mapped[int]
    locale: Mapped[str] = mapped_column(String(16), default="en")
    text: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64))  # SHA-256 of the UTF-8 text, hex
    purposes: Mapped[list[str]]
    created_at: Mapped[Created]


class ConsentEvent(Base):
    """One thing a person said about one purpose. Rows are added, never changed."""

    __tablename__ = "consent_events"
    __table_args__ = (
        Index("ix_consent_events_subject_purpose", "subject_id", "purpose", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Key]
    subject_id: Mapped[int] = mapped_column(ForeignKey("subjects.id"))
    purpose: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(16))
    notice_id: Mapped[int | None] = mapped_column(ForeignKey("notices.id"))
    expression: Mapped[str | None] = mapped_column(String(16))
    at: Mapped[dt.datetime]
    expires_at: Mapped[dt.datetime | None]
    recorded_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))

    subject: Mapped[Subject] = relationship(back_populates="events")
    notice: Mapped[Notice | None] = relationship()
