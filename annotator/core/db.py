"""The database base: declarative class, column types, engine."""

import datetime as dt
import sqlite3
import time
from collections.abc import Collection
from typing import Annotated, Any

from sqlalchemy import DateTime, Dialect, Engine, MetaData, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column
from sqlalchemy.types import JSON, TypeDecorator

from annotator.core.errors import AnnotatorError, Busy, StorageFull, SyncFailed

# Constraint names must be known to migrations on every database.
NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

LOCK_SECONDS = 30  # how long a writer waits for another one, on SQLite
ASK_AGAIN_SECONDS = 0.002
GAP_SECONDS = 0.01  # between two transactions of one job, so that people get their turn
SYNC_FAILED = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)
BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_SNAPSHOT)


def now() -> dt.datetime:
    """The present moment, aware, in UTC."""
    return dt.datetime.now(dt.UTC)


class UtcDateTime(TypeDecorator[dt.datetime]):
    """An aware moment in UTC, also on SQLite, which keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:
        """Refuses a naive moment; hands UTC to the driver."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a zone cannot be stored")
        value = value.astimezone(dt.UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(
        self, value: dt.datetime | None, dialect: Dialect
    ) -> dt.datetime | None:
        """Gives UTC back."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class Base(DeclarativeBase):
    """Base of every table. Numbers are never used twice, also after a deletion."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it as a class attribute
        dt.datetime: UtcDateTime(),
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
        list[int]: JSON(),
        list[str]: JSON(),
    }
    __table_args__: Any = {"sqlite_autoincrement": True}  # noqa: RUF012 - likewise


Key = Annotated[int, mapped_column(primary_key=True)]
Created = Annotated[dt.datetime, mapped_column(default=now)]


def open_engine(url: str) -> Engine:
    """Opens the database.

    Args:
        url: SQLAlchemy address. SQLite runs in WAL, synchronous, with deleted bytes overwritten
            and without temporary files; those are connection flags, so they are set on every
            connection. No error tells the values of a statement: it would end up in a log.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
        return create_engine(parsed, pool_pre_ping=True, hide_parameters=True)
    engine = create_engine(parsed, connect_args={"timeout": LOCK_SECONDS}, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin)
    return engine


def oldest_transaction(session: Session) -> dt.datetime | None:
    """When the oldest transaction began that others have open now; ``None`` when there is none.

    SQLite tells nothing of others; there, whoever takes the write lock knows that nobody writes.
    PostgreSQL tells a user about their own connections, and the app has one user.
    """
    if session.get_bind().dialect.name != "postgresql":
        return None
    query = text(
        "SELECT min(xact_start) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    moment: dt.datetime | None = session.scalar(query)
    return moment


def empty_journal(engine: Engine, *, tables: Collection[str], patience: float) -> None:
    """Removes deleted rows from where the database may still keep them.

    SQLite: everything in the write-ahead log is moved to the database, where deleted bytes are
    overwritten, and the log is cut to nothing. PostgreSQL: the tables are vacuumed at once, so that
    dead rows are freed now and not when autovacuum comes by; its own write-ahead log and archives
    of it keep what they hold until they are recycled.

    Args:
        engine: the database; the caller has no transaction open on it.
        tables: those whose rows were deleted.
        patience: seconds to wait for readers that still look at the old state.

    Raises:
        Busy: they still do.
    """
    if engine.dialect.name == "sqlite":
        _cut_log(engine, patience)
        return
    names = ", ".join(engine.dialect.identifier_preparer.quote(name) for name in tables)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"VACUUM {names}")


def _cut_log(engine: Engine, patience: float) -> None:
    deadline = time.monotonic() + patience
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        # Asking again ourselves keeps writers waiting only while the log is really being moved.
        cursor.execute("PRAGMA busy_timeout=0")
        try:
            while True:
                busy, frames, _ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not busy and frames <= 0:
                    return
                if time.monotonic() >= deadline:
                    raise Busy("Somebody still reads the database's old state; it is tried again.")
                time.sleep(ASK_AGAIN_SECONDS * 10)
        finally:
            cursor.execute(f"PRAGMA busy_timeout={LOCK_SECONDS * 1000}")
    finally:
        raw.close()


def explain(error: Exception) -> AnnotatorError | None:
    """What a database's own error means to a person; ``None`` when it means nothing we know."""
    if getattr(getattr(error, "orig", None), "sqlite_errorcode", None) in SYNC_FAILED:
        return SyncFailed()
    said = str(error.orig).lower() if isinstance(error, DBAPIError) else ""
    if "full" in said:
        return StorageFull()
    if "locked" in said:
        return Busy()
    return None


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's begin event below opens transactions
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        "temp_store=MEMORY",
        "foreign_keys=ON",
        f"busy_timeout={LOCK_SECONDS * 1000}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Any) -> None:
    # A deferred transaction that reads first and writes later fails at once when another writer
    # was faster; the sessions that write ask for the lock when they begin.
    if connection.get_execution_options().get("writing"):
        _begin_writing(connection)
    else:
        connection.exec_driver_sql("BEGIN DEFERRED")


def _begin_writing(connection: Any) -> None:
    """Takes the write lock, in turn with others.

    SQLite itself asks again only every 100 ms after a while, and somebody who writes one batch
    after the other would leave no gap that long: votes would wait for a bulk import to end.
    """
    raw, deadline = connection.connection.dbapi_connection, time.monotonic() + LOCK_SECONDS
    raw.execute("PRAGMA busy_timeout=0")
    try:
        while time.monotonic() < deadline:
            try:
                raw.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode not in BUSY:
                    break
                time.sleep(ASK_AGAIN_SECONDS)
            else:
                return
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # fails in the words of SQLAlchemy
    finally:
        raw.execute(f"PRAGMA busy_timeout={LOCK_SECONDS * 1000}")
