"""Models, what they said about faces, and how faces group."""

import datetime as dt
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from annotator.core.db import Base, Created, Key

MODEL_STATES = ("candidate", "current", "retired")


class TrainingRun(Base):
    """One training on one export."""

    __tablename__ = "training_runs"

    id: Mapped[Key]
    export_id: Mapped[int] = mapped_column(ForeignKey("exports.id"), index=True)
    job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"))
    kind: Mapped[str] = mapped_column(String(16))  # cnn, svm, ...
    name: Mapped[str] = mapped_column(String(80))
    options: Mapped[dict[str, Any]]
    curve: Mapped[list[Any]] = mapped_column(default=list)  # one {"epoch", "loss", ...} an epoch
    created_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[Created]
    finished_at: Mapped[dt.datetime | None]


class ModelVersion(Base):
    """One trained network. At most one is ``current``: it makes the pre-labels.

    ``sealed_blob`` names the weights in the vault; NULL means the network that the package brings.
    ``figures`` holds what was measured on the export's test split, beside the same figures of the
    model that was current then. ``withdrawn_at`` is set when a person whose pictures trained it
    withdrew.
    """

    __tablename__ = "model_versions"

    id: Mapped[Key]
    name: Mapped[str] = mapped_column(String(80), unique=True)
    kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(16), default="candidate")
    digest: Mapped[str] = mapped_column(String(64))  # SHA-256 of the weights, hex
    sealed_blob: Mapped[str | None] = mapped_column(String(32))
    training_run_id: Mapped[int | None] = mapped_column(ForeignKey("training_runs.id"))
    figures: Mapped[dict[str, Any]] = mapped_column(default=dict)
    promoted_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    promoted_at: Mapped[dt.datetime | None]
    withdrawn_at: Mapped[dt.datetime | None]
    created_at: Mapped[Created]

    training_run: Mapped[TrainingRun | None] = relationship()


class Prediction(Base):
    """What one model said about one face."""

    __tablename__ = "predictions"
    __table_args__ = (UniqueConstraint("face_id", "model_id"), {"sqlite_autoincrement": True})

    id: Mapped[Key]
    face_id: Mapped[int] = mapped_column(ForeignKey("faces.id"))
    model_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"), index=True)
    label: Mapped[str] = mapped_column(String(16))
    probability: Mapped[float]
    probabilities: Mapped[list[Any]]  # eight floats in the order of EMOTION_NAMES
    sealed_embedding: Mapped[bytes] = mapped_column(LargeBinary)  # float16, the subject's key
    created_at: Mapped[Created]


class ClusterRun(Base):
    """One grouping of a dataset's faces by how one model sees them."""

    __tablename__ = "cluster_runs"

    id: Mapped[Key]
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id"), index=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    method: Mapped[str] = mapped_column(String(16), default="kmeans")
    clusters: Mapped[int]
    seed: Mapped[int]
    silhouette: Mapped[float | None]
    created_at: Mapped[Created]


class ClusterMember(Base):
    """One face in one cluster: its distance to the centre, and its place on the plane."""

    __tablename__ = "cluster_members"
    __table_args__ = (
        UniqueConstraint("run_id", "face_id"),
        Index("ix_cluster_members_order", "run_id", "cluster", "distance"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Key]
    run_id: Mapped[int] = mapped_column(ForeignKey("cluster_runs.id"))
    face_id: Mapped[int] = mapped_column(ForeignKey("faces.id"), index=True)
    cluster: Mapped[int]
    distance: Mapped[float]
    x: Mapped[float | None]
    y: Mapped[float | None]
