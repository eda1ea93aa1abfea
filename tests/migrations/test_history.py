"""The tables' history: up, down, no drift, and with data; on SQLite and on PostgreSQL."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.orm import Session

from annotator.core import migrate
from annotator.core.db import open_engine
from annotator.core.errors import Conflict
from annotator.domain import consent
from annotator.models import PURPOSES, Dataset, Erasure, ExportItem, Subject


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        opened = open_engine(f"sqlite:///{tmp_path}/a.sqlite")
    else:
        opened = open_engine(request.getfixturevalue("postgres"))
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


OLD = (
    (
        "INSERT INTO datasets (id, name, description, votes_per_face, blind_share,"
        " prelabel_threshold, approve_alone, seed, created_at)"
        " VALUES (1, 'Pilot', '', 3, 0.1, 0.5, '1', 0, '2026-01-01')"
    ),
    (
        "INSERT INTO subjects (id, uid, dataset_id, code, created_at)"
        " VALUES (1, 'u', 1, 'P-1', '2026-01-01')"
    ),
    (
        "INSERT INTO notices (id, dataset_id, version, locale, text, digest, purposes, created_at)"
        " VALUES (1, 1, 1, 'en', 'x', 'd', '[\"store\"]', '2026-01-01')"
    ),
    (
        "INSERT INTO consent_events (id, subject_id, purpose, kind, notice_id, expression, at,"
        " expires_at) VALUES (1, 1, 'store', 'given', 1, 'paper', '2026-01-01', '2126-01-01')"
    ),
    (
        "INSERT INTO exports (id, uid, dataset_id, tier, format, balance, seed, recipient, state,"
        " counts, created_at) VALUES (1, 'e', 1, 'T1', 'folder', 'none', 0, 'X', 'ready', '{}',"
        " '2026-01-01')"
    ),
    (
        "INSERT INTO export_items (id, export_id, subject_id, consent_event_id, split, file)"
        " VALUES (1, 1, 1, 1, 'train', 'a.png')"
    ),
)


def test_consents_of_before_count_as_they_did(engine: Engine) -> None:
    migrate.upgrade(engine, "0001")
    with engine.begin() as connection:
        for statement in OLD:
            connection.execute(text(statement))
    migrate.upgrade(engine)
    with Session(engine) as session:
        subject = session.query(Subject).one()
        event = consent.allowed(session, subject=subject, purpose="store")
        assert event is not None
        assert (event.party, event.statement, event.notice.version) == ("subject", None, 1)
        assert session.query(Dataset).one().grace_days == 30
        assert session.query(ExportItem).one().consent_event_id == event.id


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


def test_those_who_withdrew_before_wait_for_the_ledger(engine: Engine) -> None:
    migrate.upgrade(engine, "0001")
    moment = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    add_person(engine)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO subjects (uid, dataset_id, code, created_at, withdrawn_at) "
                "VALUES ('w', 1, 'P-2', '2026-01-01 00:00:00', :moment)"
            ),
            {"moment": moment.replace(tzinfo=None) if engine.name == "sqlite" else moment},
        )
    migrate.upgrade(engine)
    with Session(engine) as session:
        row = session.query(Erasure).one()
        assert session.get_one(Subject, row.subject_id).code == "P-2"
        assert (row.step, row.created_at, row.blobs) == ("close", moment, [])
        assert row.purposes == list(PURPOSES)
        assert row.finished_at is None
