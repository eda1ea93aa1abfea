"""Tasks, leases, votes and decisions."""

import datetime as dt

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from annotator.core.db import Base, Created, Key
from annotator.models.images import Face

MODES = ("focus", "sweep", "map", "review", "import")
FLAGS = ("occluded", "several_faces", "poor_quality")


class Task(Base):
    """One face that wants votes.

    ``free`` counts the votes that are neither given nor leased to somebody: a lease takes one, a
    skip or an expired lease gives it back, a vote keeps it. ``rank`` is the place in the order
    (smaller first). A blind task never shows a pre-label.
    """

    __tablename__ = "tasks"
    __table_args__ = (
        Index(
            "ix_tasks_free",
            "dataset_id",
            "rank",
            "id",
            sqlite_where=text("free > 0"),
            postgresql_where=text("free > 0"),
        ),
        Index("ix_tasks_dataset_state", "dataset_id", "state"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Key]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    face_id: Mapped[int] = mapped_column(ForeignKey("faces.id"), unique=True)
    state: Mapped[str] = mapped_column(String(8), default="open")  # open, done
    wanted: Mapped[int]  # votes wanted from different people
    given: Mapped[int] = mapped_column(default=0)
    free: Mapped[int]
    rank: Mapped[float] = mapped_column(default=0.0)
    blind: Mapped[bool] = mapped_column(default=False)
    gold_label: Mapped[str | None] = mapped_column(String(16))
    created_at: Mapped[Created]

    face: Mapped[Face] = relationship()


class Lease(Base):
    """One task lent to one person.

    While ``held`` it owns one of the task's votes. An expired lease gives that vote back but its
    row stays, so that a late vote can still be taken when nobody else took the place. What was
    suggested to the person is written here, because a vote must record what was really shown.
    """

    __tablename__ = "leases"
    __table_args__ = (
        UniqueConstraint("task_id", "user_id"),
        Index(
            "ix_leases_held",
            "expires_at",
            sqlite_where=text("held = 1"),
            postgresql_where=text("held"),
        ),
        Index(
            "ix_leases_own",
            "user_id",
            sqlite_where=text("held = 1"),
            postgresql_where=text("held"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Key]
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    mode: Mapped[str] = mapped_column(String(8))
    held: Mapped[bool] = mapped_column(default=True)
    expires_at: Mapped[dt.datetime]
    prelabel: Mapped[str | None] = mapped_column(String(16))
    prelabel_probability: Mapped[float | None]
    model_id: Mapped[int | None] = mapped_column(ForeignKey("model_versions.id"))


class Place(Base):
    """How far down a dataset's order one person has come, so that a lease never starts over."""

    __tablename__ = "places"
    __table_args__ = (UniqueConstraint("user_id", "dataset_id"), {"sqlite_autoincrement": True})

    id: Mapped[Key]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"))
    rank: Mapped[float]
    task_id: Mapped[int]  # breaks ties of rank; the task itself may be gone


class Annotation(Base):
    """One vote of one person on one face; see labelling in the guide for every field.

    ``client_id`` is chosen by whoever sends the vote, so that a repeat is not a second vote.
    ``rater`` names the person in figures and exports without saying who it is: a user's number, or
    ``import-3`` for the third column of an imported table. A vote taken back keeps its row.
    """

    __tablename__ = "annotations"
    __table_args__ = (
        Index(
            "uq_annotations_standing",
            "task_id",
            "rater",
            unique=True,
            sqlite_where=text("taken_back_at IS NULL"),
            postgresql_where=text("taken_back_at IS NULL"),
        ),
        Index("ix_annotations_user_created", "user_id", "created_at"),
        # For erasing a face: the index above leaves out votes that were taken back.
        Index("ix_annotations_task_id", "task_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Key]
    client_id: Mapped[str] = mapped_column(String(36), unique=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    rater: Mapped[str] = mapped_column(String(32))
    label: Mapped[str] = mapped_column(String(16))
    second_label: Mapped[str | None] = mapped_column(String(16))
    intensity: Mapped[int | None]  # 1 to 5
    valence: Mapped[float | None]  # -1 to 1
    arousal: Mapped[float | None]  # -1 to 1
    flags: Mapped[list[str]] = mapped_column(default=list)
    mode: Mapped[str] = mapped_column(String(8))
    prelabel_shown: Mapped[bool] = mapped_column(default=False)
    prelabel: Mapped[str | None] = mapped_column(String(16))
    prelabel_probability: Mapped[float | None]
    model_id: Mapped[int | None] = mapped_column(ForeignKey("model_versions.id"))
    duration_ms: Mapped[int | None]  # from paint to vote
    page: Mapped[str | None] = mapped_column(String(36))  # the sweep page it was given on
    created_at: Mapped[Created]
    taken_back_at: Mapped[dt.datetime | None]

    task: Mapped[Task] = relationship()


class Skip(Base):
    """A person passed over a task: no vote, and not shown to them again."""

    __tablename__ = "skips"
    __table_args__ = (UniqueConstraint("task_id", "user_id"), {"sqlite_autoincrement": True})

    id: Mapped[Key]
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    created_at: Mapped[Created]


class Review(Base):
    """A reviewer's decision beside the votes; decisions are added, never overwritten."""

    __tablename__ = "reviews"

    id: Mapped[Key]
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"), index=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    label: Mapped[str] = mapped_column(String(16))
    comment: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[Created]
