"""The database as one SQLite file, whatever database it comes from, and back.

From SQLite the file is copied page by page by SQLite itself, from one moment, while others write.
From PostgreSQL the rows are read in one snapshot. One format means that an installation may also
move from one database to the other.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Engine,
    Table,
    Text,
    cast,
    column,
    create_engine,
    delete,
    func,
    insert,
    inspect,
    select,
    table,
    text,
)
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeDecorator

from annotator.core import migrate
from annotator.core.db import Base, open_engine
from annotator.core.errors import Conflict
from annotator.domain.holdings import blob_columns

ROWS = 1000  # read and written at a time
VERSIONS = "alembic_version"
Report = Callable[[int, int], None]


class _JsonText(TypeDecorator[str]):
    """JSON passed through as text, so that SQL's NULL and JSON's null stay apart."""

    impl = Text
    cache_ok = True

    def bind_expression(self, bindvalue: Any) -> Any:
        return cast(bindvalue, JSON)


def copy_database(engine: Engine, path: Path, *, report: Report) -> None:
    """Writes the whole database, as it is at one moment, to a new SQLite file.

    Args:
        engine: the running database.
        path: the file; must not exist. It is whole, in one file, when this returns.
        report: is told rows done and in all, when rows are copied one by one.
    """
    if engine.dialect.name == "sqlite":
        with closing(sqlite3.connect(path)) as target, _raw(engine) as source:
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, no log beside it
        return
    with _sqlite(path) as target_engine:
        migrate.upgrade(target_engine)
        snapshot = engine.connect().execution_options(isolation_level="REPEATABLE READ")
        with snapshot as source, target_engine.begin() as target:
            _copy_rows(source, target, report)
            _note_numbers(source, target)


def load_database(path: Path, engine: Engine, *, report: Report) -> None:
    """Fills an empty PostgreSQL database from a SQLite file of the newest schema, or not at all.

    Raises:
        Conflict: there are tables already.
    """
    refuse_tables(engine)
    migrate.upgrade(engine)
    try:
        with reading(path) as copy, copy.connect() as source, engine.begin() as target:
            _copy_rows(source, target, report)
            _set_numbers(source, target)
    except BaseException:
        migrate.downgrade(engine, "base")
        with engine.begin() as connection:
            connection.execute(text(f"DROP TABLE IF EXISTS {VERSIONS}"))
        raise


def refuse_tables(engine: Engine) -> None:
    """Never writes over an installation.

    Raises:
        Conflict: there are tables already.
    """
    if inspect(engine).get_table_names():
        raise Conflict("The database has tables already; a backup is restored into an empty one.")


def settle_database(engine: Engine) -> None:
    """Leaves a SQLite database in one file, with no log beside it."""
    with _raw(engine) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")
    engine.dispose()


def find_blobs(engine: Engine) -> Iterator[str]:
    """Ids of every blob that a row names; a database of an older schema has fewer places."""
    with Session(engine) as session:
        there = inspect(session.connection())
        tables = set(there.get_table_names())
        for place in blob_columns():
            name = place.table.name
            if name in tables and place.name in {each["name"] for each in there.get_columns(name)}:
                query = select(place).where(place.is_not(None))
                yield from session.scalars(query.execution_options(yield_per=ROWS))


def read_schema(path: Path) -> str:
    """Revision of the tables in a SQLite file."""
    with reading(path) as engine, engine.connect() as connection:
        return str(connection.scalar(select(column("version_num")).select_from(table(VERSIONS))))


@contextmanager
def reading(path: Path) -> Iterator[Engine]:
    """A SQLite file, to be read only."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(address, uri=True))
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _raw(engine: Engine) -> Iterator[sqlite3.Connection]:
    connection = engine.raw_connection()
    try:
        assert isinstance(connection.driver_connection, sqlite3.Connection)
        yield connection.driver_connection
    finally:
        connection.close()


@contextmanager
def _sqlite(path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{path.absolute()}")
    try:
        yield engine
        settle_database(engine)
    finally:
        engine.dispose()


def _copy_rows(source: Connection, target: Connection, report: Report) -> None:
    tables = Base.metadata.sorted_tables
    total = sum(source.scalar(select(func.count()).select_from(each)) or 0 for each in tables)
    for each in reversed(tables):  # a migration may have written rows of its own
        target.execute(delete(each))
    done = 0
    for each in tables:
        reading = select(*(_as_text(one) for one in each.columns))
        writing = insert(_plain(each, target.dialect.name))
        result = source.execution_options(yield_per=ROWS).execute(reading)
        for rows in result.mappings().partitions():
            target.execute(writing, [dict(row) for row in rows])
            done += len(rows)
            report(done, total)


def _as_text(each: Column[Any]) -> Any:
    return cast(each, Text).label(each.name) if isinstance(each.type, JSON) else each


def _plain(each: Table, dialect: str) -> Any:
    """The table without defaults; JSON is taken as text."""
    as_json: Any = _JsonText() if dialect == "postgresql" else Text()
    return table(
        each.name,
        *(column(one.name, as_json if isinstance(one.type, JSON) else one.type) for one in each.c),
    )


def _numbered() -> Iterator[tuple[str, str]]:
    """Tables whose rows are numbered, and the column; no number is ever used twice."""
    for each in Base.metadata.sorted_tables:
        if each.autoincrement_column is not None:
            yield each.name, each.autoincrement_column.name


def _note_numbers(source: Connection, target: Connection) -> None:
    for name, number in _numbered():
        sequence = source.scalar(select(func.pg_get_serial_sequence(name, number)))
        last, used = source.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()  # noqa: S608 - a name that PostgreSQL gave
        if used:
            target.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": name})
            target.execute(
                text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"),
                {"name": name, "last": last},
            )


def _set_numbers(source: Connection, target: Connection) -> None:
    numbers = source.execute(text("SELECT name, seq FROM sqlite_sequence"))
    last = {str(name): int(number) for name, number in numbers}
    for name, number in _numbered():
        if last.get(name):
            sequence = func.pg_get_serial_sequence(name, number)
            target.execute(select(func.setval(sequence, last[name])))
