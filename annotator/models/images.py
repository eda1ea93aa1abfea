"""Pictures and the faces in them. Pixels are in the vault; rows hold blob ids."""

import datetime as dt
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from annotator.core.db import Base, Created, Key
from annotator.models.consent import Subject

IMAGE_STATES = ("received", "review", "approved", "ready", "rejected", "failed")


class Image(Base):
    """One uploaded picture of one subject.

    States: ``received`` (sealed, not yet looked at), ``review`` (a person must say which face is
    the subject's), ``approved`` (a person said it), ``ready`` (redacted; its face may be
    labelled), ``rejected`` (a person said no), ``failed`` (not readable, or no face; ``error``
    says why).

    ``fingerprint`` is a keyed blind index of the bytes within the dataset, so that the same upload
    twice is one picture; ``sealed_name`` the file's name under the subject's key.
    """

    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("dataset_id", "fingerprint"),
        Index("ix_images_dataset_state", "dataset_id", "state"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Key]
    uid: Mapped[str] = mapped_column(String(32), unique=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    subject_id: Mapped[int] = mapped_column(ForeignKey("subjects.id"), index=True)
    state: Mapped[str] = mapped_column(String(16), default="received")
    cropped: Mapped[bool] = mapped_column(default=False)  # the picture is a face crop already
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary(32))
    sealed_name: Mapped[bytes | None] = mapped_column(LargeBinary)
    original_blob: Mapped[str | None] = mapped_column(String(32))
    redacted_blob: Mapped[str | None] = mapped_column(String(32))
    width: Mapped[int | None]
    height: Mapped[int | None]
    detections: Mapped[list[Any] | None]  # every face found: {"box", "landmarks", "score"}
    error: Mapped[str | None] = mapped_column(String(300))
    received_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    received_at: Mapped[Created]

    subject: Mapped[Subject] = relationship()
    face: Mapped["Face | None"] = relationship(back_populates="image")


class Face(Base):
    """The subject's face in one picture: the thing that is labelled.

    ``box`` is [x, y, width, height] in pixels of the upright picture; the crop is a PNG blob.
    """

    __tablename__ = "faces"

    id: Mapped[Key]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"), index=True)
    subject_id: Mapped[int] = mapped_column(ForeignKey("subjects.id"), index=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), unique=True)
    box: Mapped[list[Any]]
    score: Mapped[float | None]
    crop_blob: Mapped[str] = mapped_column(String(32))
    quality: Mapped[dict[str, Any] | None]
    created_at: Mapped[Created]

    image: Mapped[Image] = relationship(back_populates="face")
    subject: Mapped[Subject] = relationship()


class RetiredBlob(Base):
    """A blob that was sealed anew under a person's next key; deleted when that key is in force.

    Until then somebody who read the row before may still open it.
    """

    __tablename__ = "retired_blobs"

    blob: Mapped[str] = mapped_column(String(32), primary_key=True)
    subject_id: Mapped[int] = mapped_column(ForeignKey("subjects.id"), index=True)
    retired_at: Mapped[dt.datetime]
