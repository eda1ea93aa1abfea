import datetime as dt
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.core import db
from annotator.core.config import Settings
from annotator.core.db import Base, open_engine
from annotator.core.errors import Busy
from annotator.models import AuditEntry, User


def make_user(number: int) -> User:
    return User(
        email=f"{number}@x.test", name="x", role="admin", password="x", fs_uniquifier=str(number)
    )


WANTED = {
    "journal_mode": "wal",
    "synchronous": 2,  # full
    "secure_delete": 1,
    "temp_store": 2,  # memory
    "foreign_keys": 1,
}


def read_flags(cursor: Any) -> dict[str, Any]:
    return {name: cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in WANTED}


def test_every_sqlite_connection_is_durable_and_erases(tmp_path: Path) -> None:
    """All that the pool can hold and all beyond it, in every thread, new or used before."""
    engine = open_engine(f"sqlite:///{tmp_path}/a.sqlite")
    for _ in range(2):
        open_ones = [engine.raw_connection() for _ in range(engine.pool.size() + 5)]
        assert len({id(each.dbapi_connection) for each in open_ones}) == len(open_ones)
        assert [read_flags(each.cursor()) for each in open_ones] == [WANTED] * len(open_ones)
        for each in open_ones:
            each.close()
    found: list[dict[str, Any]] = []

    def look() -> None:
        with closing(engine.raw_connection()) as connection:
            found.append(read_flags(connection.cursor()))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [WANTED] * len(threads)
    engine.dispose()


def test_the_flags_outlive_a_journal_that_is_cut_and_a_writer_s_turn(tmp_path: Path) -> None:
    """Both change how long their connection waits; they must leave nothing else changed."""
    engine = open_engine(f"sqlite:///{tmp_path}/a.sqlite")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.connection(execution_options={"writing": True})
        session.add(make_user(1))
        session.commit()
    db.empty_journal(engine, tables=(), patience=1)
    with closing(engine.raw_connection()) as connection:
        assert read_flags(connection.cursor()) == WANTED
        (waits,) = connection.cursor().execute("PRAGMA busy_timeout").fetchone()
        assert waits == db.LOCK_SECONDS * 1000
    engine.dispose()


def test_an_error_tells_no_value_of_its_statement(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/a.sqlite")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([make_user(7), make_user(7)])
        with pytest.raises(IntegrityError) as caught:
            session.commit()
    assert "7@x.test" not in str(caught.value)
    engine.dispose()


def test_a_number_is_never_used_twice(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/a.sqlite")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        first = make_user(1)
        session.add(first)
        session.commit()
        number = first.id
        session.delete(first)
        session.commit()
        second = make_user(2)
        session.add(second)
        session.commit()
        assert second.id > number
    engine.dispose()


def test_moments_come_back_in_utc_and_naive_ones_are_refused(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/a.sqlite")
    Base.metadata.create_all(engine)
    east = dt.datetime(2026, 5, 3, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    with Session(engine) as session:
        session.add(AuditEntry(at=east, action="x", actor="cli", details={}, leaf=b""))
        session.commit()
        session.expire_all()
        entry = session.get_one(AuditEntry, 1)
        assert entry.at == east
        assert entry.at.utcoffset() == dt.timedelta(0)
        entry.at = dt.datetime(2026, 5, 3)  # noqa: DTZ001 - what is refused
        with pytest.raises(StatementError, match="zone"):
            session.commit()
    engine.dispose()


def test_a_busy_writer_leaves_others_their_turn(tmp_path: Path) -> None:
    tools = Toolbox(Settings(data=tmp_path))
    Base.metadata.create_all(tools.engine)
    stop = threading.Event()

    def write_batches() -> None:
        while not stop.is_set():
            with tools.transaction():
                time.sleep(0.05)

    bulk = threading.Thread(target=write_batches)
    bulk.start()
    waits = []
    for number in range(20):
        began = time.monotonic()
        with tools.sessions() as session:
            session.connection(execution_options={"writing": True})
            session.add(make_user(number))
            session.commit()
        waits.append(time.monotonic() - began)
    stop.set()
    bulk.join()
    tools.engine.dispose()
    assert sorted(waits)[10] < 0.5


def test_a_writer_that_never_ends_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "LOCK_SECONDS", 0)
    engine = open_engine(f"sqlite:///{tmp_path}/a.sqlite")
    writing = {"writing": True}
    with engine.connect().execution_options(**writing) as one, one.begin():
        two = engine.connect().execution_options(**writing)
        with pytest.raises(OperationalError, match="locked") as caught:
            two.begin()
        assert isinstance(db.explain(caught.value), Busy)
        two.close()
    engine.dispose()
