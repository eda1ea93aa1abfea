"""What is sealed for a person is listed, or a new key would leave it behind."""

from sqlalchemy import LargeBinary

from annotator.core.db import Base
from annotator.domain.keys import BLOBS, FIELDS

# Sealed under the installation's own key, which a person's key does not touch.
ARCHIVES = {("exports", "sealed_blob"), ("model_versions", "sealed_blob")}
# Old blobs, which nobody needs any more.
RETIRED = {("retired_blobs", "blob")}


def columns() -> list[tuple[str, str, bool]]:
    """Table, column, and whether it is bytes."""
    return [
        (table.name, column.name, isinstance(column.type, LargeBinary))
        for table in Base.metadata.tables.values()
        for column in table.columns
    ]


def test_every_sealed_text_of_the_tables_is_listed() -> None:
    sealed = {(table, name) for table, name, raw in columns() if raw and "sealed" in name}
    assert {(place.table.__tablename__, place.column) for place in FIELDS} == sealed


def test_every_blob_of_the_tables_is_listed() -> None:
    blobs = {(table, name) for table, name, raw in columns() if not raw and "blob" in name}
    listed = {(place.table.__tablename__, place.column) for place in BLOBS}
    assert listed == blobs - ARCHIVES - RETIRED
