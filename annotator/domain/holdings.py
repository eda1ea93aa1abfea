"""The one list of all that is sealed: every column that names a blob, and every sealed field.

``sweep`` deletes blobs that no column names, ``scrub`` opens what these columns hold, a person's
new key seals all of it again, a backup carries the blobs, and a withdrawal destroys them. A column
that is missing here would lose data, hide damage or outlive its person, so a test compares the list
with the tables. Should it be wrong all the same, what any column called ``...blob`` names is kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, ColumnElement, Select, String, case, cast, func, literal, select
from sqlalchemy import inspect as look_into
from sqlalchemy.orm import InstrumentedAttribute, Session

from annotator.core.db import Base
from annotator.core.errors import KeyDestroyed
from annotator.domain import consent
from annotator.domain.ports import SubjectKey, Vault
from annotator.models import (
    AuditSalt,
    ConsentStatement,
    Export,
    Face,
    Image,
    ModelVersion,
    Prediction,
    RetiredBlob,
    Subject,
)

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
    def owner(self) -> Any:
        """The class of ``annotator.models``."""
        return self.column.class_

    @property
    def number(self) -> Any:
        """The column that numbers the rows."""
        return getattr(self.owner, look_into(self.owner).primary_key[0].key)

    @property
    def name(self) -> str:
        """As people type it: ``faces.crop_blob``."""
        return f"{self.owner.__tablename__}.{self.column.key}"


def _text_of_person(column: InstrumentedAttribute[Any], part: str) -> Holding:
    return Holding(
        column,
        "person",
        part,
        f"The {part} is gone; the person's code, consent and pictures stay.",
        kind=literal(column.key),
        table="subjects",
        row=Subject.uid,
    )


BLOBS = (
    Holding(
        Image.original_blob,
        "image",
        "upload",
        "The picture must be sent again; nothing was made of it yet.",
        # The upload itself is replaced by its rebuilt pixels as soon as somebody looked at it.
        kind=case((Image.state == "received", "original"), else_="sanitised"),
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
        ConsentStatement.evidence_blob,
        "statement",
        "signed paper",
        "The scan is gone; the consent stays, so put the paper itself away safely.",
        kind=literal("evidence"),
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

# Whoever names a person in the log holds its head and writes to this row: see ``keys.rekeying``.
SALTS = Holding(
    AuditSalt.sealed,
    "person",
    "salt",
    "Nobody can tell which entries of the log are about this person, and no new one can be "
    "written: restore the row from a backup, or withdraw them.",
    kind=literal("sealed"),
    table="audit_salts",
    row=Subject.uid,
)
FIELDS = (
    _text_of_person(Subject.sealed_name, "name"),
    _text_of_person(Subject.sealed_contact, "contact"),
    _text_of_person(Subject.sealed_guardian_name, "guardian's name"),
    _text_of_person(Subject.sealed_guardian_contact, "guardian's contact"),
    Holding(
        ConsentStatement.sealed_name,
        "statement",
        "typed name",
        "The name is gone; the consent stays.",
        kind=literal("sealed_name"),
        table="statements",
        row=ConsentStatement.uid,
    ),
    Holding(
        ConsentStatement.sealed_note,
        "statement",
        "note",
        "What was said is gone; the consent stays.",
        kind=literal("sealed_note"),
        table="statements",
        row=ConsentStatement.uid,
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
    SALTS,
)

KEY = Holding(
    Subject.wrapped_key,
    "person",
    "key",
    "Nothing of this person opens any more: restore the row from a backup, or withdraw them.",
    kind=literal("key"),
)
NEXT_KEY = Holding(
    Subject.next_wrapped_key,
    "person",
    "next key",
    "What was sealed with it opens no more: restore the row from a backup, or withdraw them.",
    kind=literal("key"),
)
KEYS = (KEY, NEXT_KEY)

# Named by a row, so kept; nobody needs to open them again.
LEAVING = (RetiredBlob.blob,)


@dataclass(frozen=True, slots=True)
class Item:
    """One sealed thing, with all that is needed to open it.

    ``value`` is the blob's id, or the sealed bytes of a field or key. ``key`` opens it: for a key
    it is that key itself; for anything else it is what ``consent.key_of`` says.
    """

    holding: Holding
    id: int
    value: Any
    kind: str
    row: str
    subject: str
    key: SubjectKey | None
    dataset: int | None


def list_items(
    session: Session,
    *,
    holding: Holding,
    vault: Vault,
    after: int = 0,
    limit: int | None = None,
    only: int | None = None,
    subject_id: int | None = None,
) -> list[Item]:
    """What one column holds, as it is now, in the order of its rows, from behind a cursor.

    Args:
        session: the open transaction; it reads only.
        holding: which column.
        vault: makes keys of their columns.
        after: the number of the last row that was seen.
        limit: how many; all when omitted.
        only: one row's number, to look at it again.
        subject_id: one person's only; nothing that the installation sealed is.
    """
    row = literal("") if holding.row is None else holding.row
    columns = (holding.number, holding.column, holding.kind, row)
    if holding.archive:
        dataset = getattr(holding.owner, "dataset_id", literal(None))
        query: Select[Any] = select(*columns, literal(None), dataset)
    else:
        query = _join_person(holding, select(*columns, Subject, Subject.dataset_id))
    query = query.where(holding.column.is_not(None), holding.number > after)
    if only is not None:
        query = query.where(holding.number == only)
    if subject_id is not None:
        query = query.where(Subject.id == subject_id)
    query = query.order_by(holding.number).limit(limit)
    found = session.execute(query.execution_options(populate_existing=True)).all()
    return [_as_item(holding, vault, tuple(line)) for line in found]


def _join_person(holding: Holding, query: Select[Any]) -> Select[Any]:
    owner = holding.owner
    query = query.select_from(owner)
    if owner is Subject:
        return query
    if owner is Prediction:
        query, owner = query.join(Face, Face.id == Prediction.face_id), Face
    return query.join(Subject, Subject.id == owner.subject_id)


def _as_item(holding: Holding, vault: Vault, line: tuple[Any, ...]) -> Item:
    number, value, kind, row, subject, dataset = line
    key, uid = None, ""
    if subject is not None:
        key, uid = _key_for(holding, vault, subject), subject.uid
    return Item(holding, number, value, kind, row, uid, key, dataset)


def _key_for(holding: Holding, vault: Vault, subject: Subject) -> SubjectKey | None:
    try:
        if holding is KEY:
            return consent.present_key_of(vault, subject)
        if holding is NEXT_KEY:
            return consent.next_key_of(vault, subject)
        return consent.key_of(vault, subject)
    except KeyDestroyed:
        return None


def count_items(session: Session, *, holding: Holding, after: int = 0) -> int:
    """How many rows hold something in a column, behind a cursor."""
    query = select(func.count()).where(holding.column.is_not(None), holding.number > after)
    return session.scalar(query) or 0


def list_blobs(session: Session, *, subject_id: int) -> list[str]:
    """The id of every blob of one person that any row names, those on their way out included."""
    found: list[str] = []
    for holding in BLOBS:
        if not holding.archive:
            query = _join_person(holding, select(holding.column))
            query = query.where(Subject.id == subject_id, holding.column.is_not(None))
            found += session.scalars(query.order_by(holding.number))
    retired = select(RetiredBlob.blob).where(RetiredBlob.subject_id == subject_id)
    return [*found, *session.scalars(retired)]


def list_named(session: Session) -> Iterator[str]:
    """The id of every blob that any row names; in one transaction, so that none is missed."""
    for column in blob_columns():
        query = select(column).where(column.is_not(None))
        yield from session.scalars(query.execution_options(yield_per=NAMES_AT_ONCE))


def blob_columns() -> list[Any]:
    """Every column that names blobs: those that are listed, and any that is called like one."""
    columns = {str(column): column for table in Base.metadata.tables.values() for column in table.c}
    named = (*(holding.column for holding in BLOBS), *LEAVING)
    listed = {str(column.property.columns[0]) for column in named}
    return [
        column
        for name, column in sorted(columns.items())
        if name in listed or (name.endswith("blob") and not isinstance(column.type, JSON))
    ]
