import datetime as dt
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from annotator.core.db import Base, open_engine
from annotator.models import AuditEntry, User


def make_user(number: int) -> User:
    return User(
        email=f"{number}@x.test", name="x", role="admin", password="x", fs_uniquifier=str(number)
    )


def test_every_sqlite_connection_is_durable_and_erases(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/a.sqlite")
    with engine.connect() as one, engine.connect() as two:
        for connection in (one, two):
            read = {
                name: connection.execute(text(f"PRAGMA {name}")).scalar()
                for name in ("journal_mode", "synchronous", "secure_delete", "foreign_keys")
            }
            assert read == {
                "journal_mode": "wal",
                "synchronous": 2,
                "secure_delete": 1,
                "foreign_keys": 1,
            }
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
