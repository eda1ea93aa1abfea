"""Datasets: what belongs together, and the rules that hold for it."""

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from annotator.core.db import Base, Created, Key


class Dataset(Base):
    """A collection of pictures with one purpose, one notice and one way of labelling.

    Attributes:
        votes_per_face: how many different people vote on a face (1 to 10).
        blind_share: share of faces (0 to 1) shown without a pre-label.
        prelabel_threshold: calibrated probability below which no pre-label is shown.
        approve_alone: pictures with one confident face approve their own redaction.
        retention_days: days after which a person's pictures go, counted from the first; NULL: only
            their consent limits it.
        grace_days: days between the end of a consent to ``store`` and the erasure.
        seed: repeats the order of tasks and the choice of blind faces.
    """

    __tablename__ = "datasets"

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(String(120), unique=True)
    description: Mapped[str] = mapped_column(Text, default="")
    votes_per_face: Mapped[int] = mapped_column(default=3)
    blind_share: Mapped[float] = mapped_column(default=0.15)
    prelabel_threshold: Mapped[float] = mapped_column(default=0.5)
    approve_alone: Mapped[bool] = mapped_column(default=True)
    retention_days: Mapped[int | None]
    grace_days: Mapped[int] = mapped_column(default=30, server_default="30")
    seed: Mapped[int] = mapped_column(default=0)
    created_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]
