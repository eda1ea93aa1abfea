"""The people in the pictures, what they were told, and what they agreed to."""

import datetime as dt
from typing import Any

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
PARTIES = ("subject", "guardian")
ASSENTS = ("given", "not_able")  # what a minor said themselves; not able: too young to be asked


class Subject(Base):
    """One person in pictures of one dataset, known by a code. After withdrawal only the code stays.

    ``wrapped_key`` is the subject's key wrapped under a key-encryption key of ``key_epoch``; it is
    NULL after withdrawal, and with it everything sealed under it is beyond reach.

    ``majority_at`` is the day from which a minor speaks for themselves, NULL for adults; nothing
    else is kept of an age.

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
    sealed_guardian_name: Mapped[bytes | None] = mapped_column(LargeBinary)
    sealed_guardian_contact: Mapped[bytes | None] = mapped_column(LargeBinary)
    majority_at: Mapped[dt.datetime | None]
    created_at: Mapped[Created]
    withdrawn_at: Mapped[dt.datetime | None]

    events: Mapped[list["ConsentEvent"]] = relationship(
        back_populates="subject", order_by="ConsentEvent.id"
    )


class Notice(Base):
    """The exact text that people are told. Immutable; a change is a new version.

    A version has one set of purposes and one text per locale. ``facts`` are the fields that the
    text was made of, so that the next version can start from them; NULL for a text that was
    brought from elsewhere.
    """

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
    facts: Mapped[dict[str, Any] | None]
    created_at: Mapped[Created]


class Renewal(Base):
    """From a moment on, consent to a purpose counts only under a notice of at least a version."""

    __tablename__ = "renewals"
    __table_args__ = (
        UniqueConstraint("dataset_id", "purpose", "version"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Key]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    purpose: Mapped[str] = mapped_column(String(32))
    version: Mapped[int]
    at: Mapped[dt.datetime]


class ConsentStatement(Base):
    """How a consent was expressed: by whom, in which language, and the evidence, sealed.

    One statement carries the events of everything that was said with it. What is sealed goes when
    the person is erased; who spoke (``party``) stays.
    """

    __tablename__ = "statements"

    id: Mapped[Key]
    uid: Mapped[str] = mapped_column(String(32), unique=True)
    subject_id: Mapped[int] = mapped_column(ForeignKey("subjects.id"), index=True)
    party: Mapped[str] = mapped_column(String(16))
    assent: Mapped[str | None] = mapped_column(String(16))
    locale: Mapped[str] = mapped_column(String(16))
    sealed_name: Mapped[bytes | None] = mapped_column(LargeBinary)  # as it was typed or signed
    sealed_note: Mapped[bytes | None] = mapped_column(LargeBinary)  # what was said, and where
    evidence_blob: Mapped[str | None] = mapped_column(String(32))  # the scan; kind "evidence"
    evidence_type: Mapped[str | None] = mapped_column(String(32))  # its media type
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
    party: Mapped[str] = mapped_column(String(16), default="subject", server_default="subject")
    statement_id: Mapped[int | None] = mapped_column(ForeignKey("statements.id"))
    recorded_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))

    subject: Mapped[Subject] = relationship(back_populates="events")
    notice: Mapped[Notice | None] = relationship()
    statement: Mapped[ConsentStatement | None] = relationship()
