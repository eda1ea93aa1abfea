"""The tables' history: up, down, no drift, and with data; on SQLite and on PostgreSQL."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.orm import Session

from annotator.core import migrate
from annotator.core.db import open_engine
from annotator.core.errors import Conflict
from annotator.models import Subject


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


def add_person(engine: Engine) -> None:
    """A dataset with one person, as the first version wrote them."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO datasets (name, description, votes_per_face, blind_share, "
                "prelabel_threshold, approve_alone, seed, created_at) "
                "VALUES ('Pilot', '', 3, 0.1, 0.5, true, 1, '2026-01-01 00:00:00')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO subjects (uid, dataset_id, code, wrapped_key, key_epoch, "
                "key_version, created_at) "
                "VALUES ('u', 1, 'P-1', :key, 3, 1, '2026-01-01 00:00:00')"
            ),
            {"key": b"k"},
        )


def test_data_survives_a_second_upgrade(engine: Engine) -> None:
    migrate.upgrade(engine, "0001")
    add_person(engine)
    migrate.upgrade(engine)
    with Session(engine) as session:
        assert session.query(Subject).one().code == "P-1"


def test_people_of_before_have_one_key_and_the_way_back_keeps_them(engine: Engine) -> None:
    migrate.upgrade(engine, "0001")
    add_person(engine)
    migrate.upgrade(engine, "0002")
    columns = "wrapped_key, key_epoch, key_version"
    with engine.connect() as connection:
        found = connection.execute(
            text(f"SELECT {columns}, next_wrapped_key, next_key_epoch FROM subjects")
        ).one()
        assert (bytes(found[0]), *found[1:]) == (b"k", 3, 1, None, None)
    migrate.downgrade(engine, "0001")
    with engine.connect() as connection:
        found = connection.execute(text(f"SELECT {columns} FROM subjects")).one()
        assert (bytes(found[0]), *found[1:]) == (b"k", 3, 1)
    assert "retired_blobs" not in inspect(engine).get_table_names()


def test_a_newer_database_is_refused(engine: Engine) -> None:
    migrate.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Conflict, match="newer version"):
        migrate.upgrade(engine)
