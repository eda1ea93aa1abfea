"""The list of all that is sealed is whole: a new column must be added, or said to be no such."""

import re
from pathlib import Path

from sqlalchemy import LargeBinary, String

from annotator.core.db import Base
from annotator.domain.holdings import BLOBS, FIELDS, KEYS, LEAVING, blob_columns

ROOT = Path(__file__).resolve().parents[2]
BLOB_ID = 32  # hexadecimal digits

# Columns as long as a blob's id that name no blob, and what they are.
NO_BLOBS = {
    "annotations.rater": "a number or an imported column",
    "audit_entries.actor": "who did it",
    "consent_events.purpose": "one of seven words",
    "exports.uid": "random",
    "images.uid": "random",
    "jobs.kind": "one of a few words",
    "renewals.purpose": "one of seven words",
    "statements.evidence_type": "a media type",
    "statements.uid": "random",
    "subjects.uid": "random",
}
# Bytes that are not sealed under a subject's key, and why they need not be.
NOT_SEALED = {
    "api_tokens.digest": "a hash of a random token of somebody who works here",
    "audit_entries.leaf": "a hash of an entry without personal data",
    "audit_entries.subject": "a commitment; it says nothing without the salt, which is sealed",
    "audit_head.frontier": "hashes of hashes",
    "audit_nodes.hash": "a hash of hashes",
    "browser_sessions.digest": "a hash of a random token of somebody who works here",
    "images.fingerprint": "a keyed blind index; its row goes with the picture",
    "invitations.digest": "a keyed blind index of a random secret",
}


def columns(kind: type) -> dict[str, object]:
    return {
        str(column): column
        for table in Base.metadata.tables.values()
        for column in table.c
        if isinstance(column.type, kind)
    }


def names(listed: tuple[object, ...]) -> set[str]:
    return {str(holding.column.property.columns[0]) for holding in listed}  # type: ignore[attr-defined]


def names_of_blobs() -> set[str]:
    return names(BLOBS) | {str(column.property.columns[0]) for column in LEAVING}


def test_every_column_that_could_name_a_blob_is_listed() -> None:
    texts = columns(String)
    could = {name for name, column in texts.items() if column.type.length == BLOB_ID}  # type: ignore[attr-defined]
    assert could - set(NO_BLOBS) == names_of_blobs()
    assert set(NO_BLOBS) < could
    assert {name for name in texts if "blob" in name} <= names_of_blobs()


def test_every_sealed_column_is_listed() -> None:
    raw = set(columns(LargeBinary))
    assert raw - set(NOT_SEALED) == names((*FIELDS, *KEYS))
    assert set(NOT_SEALED) < raw
    every = {str(column) for table in Base.metadata.tables.values() for column in table.c}
    sealed = {name for name in every if "sealed" in name or "wrapped" in name}
    assert sealed <= names((*FIELDS, *KEYS, *BLOBS))


def test_whoever_seals_is_known() -> None:
    """A new place seals for a column of its own: add that to the list, then the place here."""

    def callers(calls: str) -> set[str]:
        return {
            path.relative_to(ROOT / "annotator/domain").as_posix()
            for path in (ROOT / "annotator").rglob("*.py")
            if "vault" not in path.relative_to(ROOT / "annotator").parts
            and re.search(rf"\.({calls})\(", path.read_text())
        }

    assert callers("seal_blob|store_archive") == {
        "consent/statements.py",
        "exports/building.py",
        "intake.py",
        "redaction/processing.py",
        "redaction/rendition.py",
        "training/running.py",
    }
    assert callers("seal_field") == {
        "audit/entries.py",
        "consent/subjects.py",
        "intake.py",
        "keys/rekeying.py",
        "prediction.py",
    }


def test_an_unlisted_column_that_is_called_like_one_still_keeps_its_blobs() -> None:
    assert {str(column) for column in blob_columns()} == names_of_blobs()
    assert all(str(column).endswith("blob") for column in blob_columns())
