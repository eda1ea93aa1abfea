"""The one list of all that is sealed: every column that names a blob, and every sealed field.

``sweep`` deletes blobs that no column names, and ``scrub`` opens what these columns name, so a
column that is missing here would lose data or hide damage. A test compares the list with the
tables. Should it be wrong all the same, ``sweep`` keeps what any column called ``..._blob`` names.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, String, case, cast, func, literal, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from annotator.core.db import Base
from annotator.domain.ports import SubjectKey, Vault
from annotator.models import Dataset, Export, Face, Image, ModelVersion, Prediction, Subject

WAITING = ("review", "approved")  # such a picture's bytes are rebuilt ones, sealed as "sanitised"
NAMES_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Holding:
    """One column with something sealed in it, or the name of something sealed.

    Attributes:
        column: where it stands.
        what: what its row is to people: ``image``, ``face``, ``export``, ``model``, ``person``.
        part: which part of that is sealed here.
        lost: what is gone when it does not open, and what to do; one sentence.
        kind: the vault's kind, purpose, or name of the field; a value, or an expression on the row.
        archive: sealed by the installation, not by a subject's key.
        table: for a field, the table that its seal names.
        row: for a field, the expression that its seal names as its row.
    """

    column: InstrumentedAttribute[Any]
    what: str
    part: str
    lost: str
    kind: ColumnElement[str]
    archive: bool = False
    table: str = ""
    row: Any = None

    @property
    def name(self) -> str:
        """As people type it: ``faces.crop_blob``."""
        return f"{self.column.class_.__tablename__}.{self.column.key}"


BLOBS = (
    Holding(
        Image.original_blob,
        "image",
        "upload",
        "The picture must be sent again; nothing was made of it yet.",
        kind=case((Image.state.in_(WAITING), "sanitised"), else_="original"),
    ),
    Holding(
        Image.redacted_blob,
        "image",
        "redacted picture",
        "The picture cannot be shown any more; its face, votes and exports stay.",
        kind=literal("redacted"),
    ),
    Holding(
        Face.crop_blob,
        "face",
        "crop",
        "The face cannot be labelled, predicted or exported any more; its votes stay.",
        kind=literal("crop"),
    ),
    Holding(
        Export.sealed_blob,
        "export",
        "archive",
        "It cannot be fetched or trained on any more; build a new one.",
        kind=literal("export"),
        archive=True,
    ),
    Holding(
        ModelVersion.sealed_blob,
        "model",
        "weights",
        "It cannot predict any more; promote another one or train it again.",
        kind=literal("model"),
        archive=True,
    ),
)

FIELDS = (
    Holding(
        Subject.sealed_name,
        "person",
        "name",
        "The name is gone; the person's code, consent and pictures stay.",
        kind=literal("sealed_name"),
        table="subjects",
        row=Subject.uid,
    ),
    Holding(
        Subject.sealed_contact,
        "person",
        "contact",
        "The contact is gone; the person's code, consent and pictures stay.",
        kind=literal("sealed_contact"),
        table="subjects",
        row=Subject.uid,
    ),
    Holding(
        Image.sealed_name,
        "image",
        "file name",
        "The file's name is gone; the picture stays.",
        kind=literal("name"),
        table="images",
        row=Image.uid,
    ),
    Holding(
        Prediction.sealed_embedding,
        "prediction",
        "embedding",
        "Grouping faces fails on it; delete the prediction and predict again.",
        kind=literal("embedding"),
        table="predictions",
        row=cast(Prediction.model_id, String) + "/" + cast(Prediction.face_id, String),
    ),
)

KEYS = Holding(
    Subject.wrapped_key,
    "person",
    "key",
    "Nothing of this person opens any more: restore the row from a backup, or withdraw them.",
    kind=literal("key"),
)


@dataclass(frozen=True, slots=True)
class Item:
    """One sealed thing, with all that is needed to open it."""

    holding: Holding
    id: int
    value: str | bytes
    kind: str
    row: str
    subject: str
    key: SubjectKey | None
    dataset: int | None


def list_items(
    session: Session, *, holding: Holding, vault: Vault, after: int, limit: int, only: int = 0
) -> list[Item]:
    """What one column holds, in the order of its rows, from behind a cursor.

    Args:
        session: the open transaction; it reads only.
        holding: which column.
        vault: makes keys of their columns.
        after: the id of the last row that was seen.
        limit: how many.
        only: one row's id, to look at it again.
    """
    owner = holding.column.class_
    row = literal("") if holding.row is None else holding.row
    query = select(owner.id, holding.column, holding.kind, row).select_from(owner)
    person = (Subject.uid, Subject.wrapped_key, Subject.key_epoch, Subject.key_version)
    if holding.archive:
        query = query.add_columns(*(literal(None) for _ in person))
    else:
        query = query.add_columns(*person)
        if owner is Prediction:
            query = query.join(Face, Face.id == Prediction.face_id)
            query = query.join(Subject, Subject.id == Face.subject_id)
        elif owner is not Subject:
            query = query.join(Subject, Subject.id == owner.subject_id)
    nearest = Face if owner is Prediction else owner
    dataset = getattr(nearest, "dataset_id", literal(None))
    query = query.add_columns(dataset).where(holding.column.is_not(None), owner.id > after)
    if only:
        query = query.where(owner.id == only)
    found = session.execute(query.order_by(owner.id).limit(limit)).all()
    return [_as_item(holding, vault, tuple(line)) for line in found]


def _as_item(holding: Holding, vault: Vault, line: tuple[Any, ...]) -> Item:
    number, value, kind, row, subject, wrapped, epoch, version, dataset = line
    key = None if wrapped is None else vault.restore_key(wrapped, epoch, version)
    return Item(holding, number, value, kind, row, subject or "", key, dataset)


def count_items(session: Session, *, holding: Holding, after: int = 0) -> int:
    """How many rows hold something in a column, behind a cursor."""
    owner = holding.column.class_
    query = select(func.count()).where(holding.column.is_not(None), owner.id > after)
    return session.scalar(query) or 0


def name_datasets(session: Session) -> dict[int, str]:
    """The names of all datasets."""
    return {number: name for number, name in session.execute(select(Dataset.id, Dataset.name))}  # noqa: C416 - rows are no pairs


def list_named(session: Session) -> Iterator[str]:
    """The id of every blob that any row names; in one transaction, so that none is missed."""
    for column in blob_columns():
        query = select(column).where(column.is_not(None))
        yield from session.scalars(query.execution_options(yield_per=NAMES_AT_ONCE))


def blob_columns() -> list[Any]:
    """Every column that names blobs: those that are listed, and any that is called like one."""
    columns = {str(column): column for table in Base.metadata.tables.values() for column in table.c}
    listed = {str(holding.column.property.columns[0]) for holding in BLOBS}
    return [c for name, c in sorted(columns.items()) if name in listed or name.endswith("_blob")]
