"""The tables' history: up, down, no drift, and with data; on SQLite and on PostgreSQL."""

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.orm import Session

from annotator.core import migrate
from annotator.core.db import open_engine
from annotator.core.errors import Conflict
from annotator.models import PURPOSES, Dataset, Erasure, Subject


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        opened = open_engine(f"sqlite:///{tmp_path}/a.sqlite")
    else:
        url = os.environ.get("ANNOTATOR_TEST_POSTGRES")
        if not url:
            pytest.skip("no PostgreSQL server: ANNOTATOR_TEST_POSTGRES is not set")
        opened = open_engine(url)
        with opened.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    yield opened
    opened.dispose()


def test_up_gives_the_models_tables(engine: Engine) -> None:
    migrate.upgrade(engine)
    assert migrate.find_drift(engine) == []


def test_up_twice_is_once(engine: Engine) -> None:
    migrate.upgrade(engine)
    migrate.upgrade(engine)
    assert migrate.find_drift(engine) == []


def test_down_leaves_nothing(engine: Engine) -> None:
    migrate.upgrade(engine)
    migrate.downgrade(engine, "base")
    left = set(inspect(engine).get_table_names()) - {"alembic_version", "sqlite_sequence"}
    assert left == set()


def test_data_survives_a_second_upgrade(engine: Engine) -> None:
    migrate.upgrade(engine, "0001")
    with Session(engine) as session:
        dataset = Dataset(name="Pilot")
        session.add(dataset)
        session.flush()
        session.add(Subject(uid="u", dataset_id=dataset.id, code="P-1", wrapped_key=b"k"))
        session.commit()
    migrate.upgrade(engine)
    with Session(engine) as session:
        assert session.query(Subject).one().code == "P-1"


def test_a_newer_database_is_refused(engine: Engine) -> None:
    migrate.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict, match="newer version"):
        migrate.upgrade(engine)


def test_those_who_withdrew_before_wait_for_the_ledger(engine: Engine) -> None:
    migrate.upgrade(engine, "0001")
    moment = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    with Session(engine) as session:
        dataset = Dataset(name="Pilot")
        session.add(dataset)
        session.flush()
        for code, when in (("P-1", None), ("P-2", moment)):
            session.add(Subject(uid=code, dataset_id=dataset.id, code=code, withdrawn_at=when))
        session.commit()
    migrate.upgrade(engine)
    with Session(engine) as session:
        row = session.query(Erasure).one()
        assert session.get_one(Subject, row.subject_id).code == "P-2"
        assert (row.step, row.created_at, row.blobs) == ("close", moment, [])
        assert row.purposes == list(PURPOSES)
        assert row.finished_at is None
