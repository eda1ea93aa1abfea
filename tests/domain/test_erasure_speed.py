"""A withdrawal looks at one person's rows, however many others there are."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, Table, event, select
from sqlalchemy.orm import Session

from annotator.core import migrate
from annotator.core.db import Base, open_engine
from annotator.domain import erasure, labelling
from annotator.models import Dataset, Subject
from tests.factories import (
    make_dataset,
    make_face,
    make_model,
    make_prediction,
    make_subject,
    make_user,
)
from tests.fakes import FakeVault

# Small tables, or one row; and the one query that asks for the newest epoch of anybody's key.
SCANNED = {"audit_head", "model_versions", "subjects"}
# A person's rows in these are deleted, so that the database looks for what still points to them.
DELETED = {
    "annotations",
    "audit_salts",
    "cluster_members",
    "faces",
    "images",
    "leases",
    "predictions",
    "retired_blobs",
    "reviews",
    "skips",
    "tasks",
}


@pytest.fixture
def engine(tmp_path: Any) -> Iterator[Engine]:
    """With the tables as migrations make them: an index may be missing there only."""
    engine = open_engine(f"sqlite:///{tmp_path / 'test.sqlite'}")
    migrate.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def dataset(session: Session, vault: FakeVault) -> Dataset:
    dataset, model, user = make_dataset(session), make_model(session), make_user(session, "admin")
    for _ in range(3):
        subject = make_subject(session, vault, dataset, name="Any Body")
        for votes in ("fear", None):
            face = make_face(session, vault, subject, votes)
            make_prediction(session, vault, face, model)
            if votes is None:
                labelling.open_task(session, face=face, dataset=dataset)
    labelling.lease_tasks(session, dataset=dataset, user=user, n=2)
    session.commit()
    return dataset


def plans(session: Session, act: Any) -> list[tuple[str, list[str]]]:
    """Every statement of something, and how SQLite goes about it."""
    found: list[tuple[str, list[str]]] = []

    def look(raw: Any, cursor: Any, statement: str, values: Any, _: Any, many: bool) -> None:  # noqa: FBT001 - SQLAlchemy's own order
        if statement.split(maxsplit=1)[0] not in {"SELECT", "UPDATE", "DELETE"}:
            return
        asked = raw.connection.dbapi_connection.cursor()
        rows = asked.execute(f"EXPLAIN QUERY PLAN {statement}", values[0] if many else values)
        found.append((statement, [row[3] for row in rows.fetchall()]))

    engine = session.get_bind()
    event.listen(engine, "before_cursor_execute", look)
    try:
        act()
        session.commit()
    finally:
        event.remove(engine, "before_cursor_execute", look)
    return found


def scans(found: list[tuple[str, list[str]]]) -> set[str]:
    """Tables that are read from end to end; "CONSTANT" and "(subquery-2)" are none."""
    read = [step.split()[1] for _, steps in found for step in steps if step.startswith("SCAN ")]
    return {name for name in read if name != "CONSTANT" and not name.startswith("(")}


@pytest.mark.parametrize("purposes", [("store",), ("label",), ("prelabel", "train")])
def test_no_statement_reads_a_table_of_pictures_from_end_to_end(
    session: Session, dataset: Dataset, purposes: tuple[str, ...]
) -> None:
    subject = session.scalars(select(Subject).limit(1)).one()
    found = plans(
        session,
        lambda: erasure.withdraw_purposes(session, subject=subject, purposes=purposes, by=None),
    )
    tables = {name for statement, _ in found for name in DELETED if f" {name}" in statement}
    assert tables
    assert scans(found) <= SCANNED, [each for each in found if scans([each]) - SCANNED]
    newest = [each[0] for each in found if scans([each]) == {"subjects"}]
    assert all("max(subjects.key_epoch)" in statement for statement in newest)


def test_it_asks_as_often_for_fifty_faces_as_for_two(
    session: Session, vault: FakeVault, dataset: Dataset
) -> None:
    few, many = session.scalars(select(Subject).order_by(Subject.id)).all()[:2]
    for _ in range(48):
        make_face(session, vault, many, "fear")
    session.commit()
    counts = [
        len(plans(session, lambda who=who: erasure.withdraw_subject(session, subject=who, by=None)))
        for who in (few, many)
    ]
    assert counts[0] == counts[1]


def child_columns() -> Iterator[tuple[Table, str, str]]:
    """Columns that point to rows that a withdrawal deletes."""
    for table in Base.metadata.sorted_tables:
        for key in table.foreign_keys:
            if key.column.table.name in DELETED:
                yield table, key.parent.name, key.column.table.name


def test_whatever_points_to_a_deleted_row_is_found_by_an_index(engine: Engine) -> None:
    """Else deleting fifty pictures reads the whole table that points to them fifty times."""
    found = list(child_columns())
    assert {(table.name, parent) for table, _, parent in found} >= {
        ("faces", "images"),
        ("tasks", "faces"),
        ("export_items", "faces"),
        ("annotations", "tasks"),
    }
    with engine.connect() as connection:
        for table, column, _ in found:
            rows = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN SELECT 1 FROM {table.name} WHERE {column} = 1"
            )
            (plan,) = [row[3] for row in rows]
            assert plan.startswith("SEARCH"), (table.name, column, plan)


def test_the_list_of_deleted_tables_is_what_a_withdrawal_deletes_from(
    session: Session, dataset: Dataset
) -> None:
    subject = session.scalars(select(Subject).limit(1)).one()
    found = plans(session, lambda: erasure.withdraw_subject(session, subject=subject, by=None))
    deleted = {
        statement.split()[2] for statement, _ in found if statement.startswith("DELETE FROM")
    }
    assert deleted <= DELETED
    assert DELETED - deleted <= {"audit_salts"}  # the vault of this session is nobody's
