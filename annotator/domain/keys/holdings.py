"""Everything that is sealed under a person's key, by table and column.

A new sealed column belongs in these lists, or a new key for a person would leave it behind; a test
compares them with the tables.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from annotator.domain.prediction import embedding_row
from annotator.models import Face, Image, Prediction, Subject

Table = Any  # a class of ``annotator.models`` with an ``id``


@dataclass(frozen=True, slots=True)
class BlobColumn:
    """A column that names blobs of a person.

    Attributes:
        table: the class.
        column: the attribute.
        kind: what the blob of a row was sealed as.
        of: which rows are a person's.
    """

    table: Table
    column: str
    kind: Callable[[Any], str]
    of: Callable[[int], ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class FieldColumn:
    """A column of sealed text of a person.

    Attributes:
        table: the class.
        column: the attribute.
        cell: table and column as the seal names them.
        row: the row as the seal names it.
        of: which rows are a person's.
    """

    table: Table
    column: str
    cell: tuple[str, str]
    row: Callable[[Any], str]
    of: Callable[[int], ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class HeldBlob:
    """One blob that a row names."""

    place: BlobColumn
    row_id: int
    blob: str
    kind: str


BLOBS: Sequence[BlobColumn] = (
    BlobColumn(
        Image,
        "original_blob",
        # The upload itself is replaced by its rebuilt pixels as soon as somebody looked at it.
        lambda image: "original" if image.state == "received" else "sanitised",
        lambda subject_id: Image.subject_id == subject_id,
    ),
    BlobColumn(
        Image,
        "redacted_blob",
        lambda _image: "redacted",
        lambda subject_id: Image.subject_id == subject_id,
    ),
    BlobColumn(
        Face,
        "crop_blob",
        lambda _face: "crop",
        lambda subject_id: Face.subject_id == subject_id,
    ),
)
FIELDS: Sequence[FieldColumn] = (
    FieldColumn(
        Subject,
        "sealed_name",
        ("subjects", "sealed_name"),
        lambda subject: str(subject.uid),
        lambda subject_id: Subject.id == subject_id,
    ),
    FieldColumn(
        Subject,
        "sealed_contact",
        ("subjects", "sealed_contact"),
        lambda subject: str(subject.uid),
        lambda subject_id: Subject.id == subject_id,
    ),
    FieldColumn(
        Image,
        "sealed_name",
        ("images", "name"),
        lambda image: str(image.uid),
        lambda subject_id: Image.subject_id == subject_id,
    ),
    FieldColumn(
        Prediction,
        "sealed_embedding",
        ("predictions", "embedding"),
        lambda said: embedding_row(said.model_id, said.face_id),
        lambda subject_id: Prediction.face_id.in_(
            select(Face.id).where(Face.subject_id == subject_id)
        ),
    ),
)


def list_blobs(session: Session, *, subject_id: int) -> list[HeldBlob]:
    """Every blob of a person that a row names."""
    found = []
    for place in BLOBS:
        column = getattr(place.table, place.column)
        rows: Sequence[Any] = session.scalars(
            select(place.table)
            .where(place.of(subject_id), column.is_not(None))
            .order_by(place.table.id)
        ).all()
        found += [
            HeldBlob(place, row.id, getattr(row, place.column), place.kind(row)) for row in rows
        ]
    return found
