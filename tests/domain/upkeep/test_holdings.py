"""The list of all that is sealed is whole: a new column must be added, or said to be no such."""

import re
from pathlib import Path

from sqlalchemy import LargeBinary, String

from annotator.core.db import Base
from annotator.domain.upkeep.holdings import BLOBS, FIELDS, KEYS, blob_columns

ROOT = Path(__file__).resolve().parents[3]
BLOB_ID = 32  # hexadecimal digits

# Columns as long as a blob's id that name no blob.
NO_BLOBS = {
    "annotations.rater",
    "audit_entries.actor",
    "consent_events.purpose",
    "exports.uid",
    "images.uid",
    "jobs.kind",
    "subjects.uid",
}
# Bytes that are not sealed text: keyed or plain hashes.
NOT_SEALED = {
    "api_tokens.digest",
    "audit_entries.leaf",
    "browser_sessions.digest",
    "images.fingerprint",
}


def columns(kind: type) -> dict[str, object]:
    return {
        str(column): column
        for table in Base.metadata.tables.values()
        for column in table.c
        if isinstance(column.type, kind)
    }


def names(holdings: tuple[object, ...]) -> set[str]:
    return {str(holding.column.property.columns[0]) for holding in holdings}  # type: ignore[attr-defined]


def test_every_column_that_could_name_a_blob_is_listed() -> None:
    texts = columns(String)
    could = {name for name, column in texts.items() if column.type.length == BLOB_ID}  # type: ignore[attr-defined]
    assert could - NO_BLOBS == names(BLOBS)
    assert {name for name in texts if "blob" in name} <= names(BLOBS)


def test_every_sealed_column_is_listed() -> None:
    assert set(columns(LargeBinary)) - NOT_SEALED == names((*FIELDS, KEYS))


def test_whoever_stores_a_blob_is_known() -> None:
    stores = {
        path.relative_to(ROOT / "annotator").as_posix()
        for path in (ROOT / "annotator/domain").rglob("*.py")
        if re.search(r"\.(seal_blob|store_archive)\(", path.read_text())
    }
    # A new place stores for a column of its own: add that to the list, then the place here.
    assert stores == {
        "domain/exports/building.py",
        "domain/intake.py",
        "domain/redaction/processing.py",
        "domain/redaction/rendition.py",
        "domain/training/running.py",
    }


def test_an_unlisted_column_that_is_called_like_one_still_keeps_its_blobs() -> None:
    assert {str(column) for column in blob_columns()} == names(BLOBS)
    assert all(str(column).endswith("_blob") for column in blob_columns())
