"""The tables of PostgreSQL as a SQLite file, and back, to the last NULL."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, Engine, Text, cast, delete, select, text
from sqlalchemy.orm import Session

from annotator.core import migrate
from annotator.core.db import Base, open_engine
from annotator.core.errors import Conflict
from annotator.domain.backups import tables
from annotator.models import Image, Job, Subject
from tests.factories import make_dataset, make_face, make_subject, make_user
from tests.fakes import FakeVault


@pytest.fixture
def server(postgres: str) -> Iterator[Engine]:
    engine = open_engine(postgres)
    yield engine
    engine.dispose()


def empty(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))


def fill(engine: Engine) -> None:
    vault = FakeVault()
    with Session(engine) as session:
        dataset = make_dataset(session)
        for _ in range(3):
            make_face(session, vault, make_subject(session, vault, dataset, name="Ä Name"))
        make_user(session)
        nulls: list[Any] = [{"detections": None}, {"detections": [1.5, "ä", None]}, {}]
        for number, more in enumerate(nulls):
            session.add(
                Image(
                    uid=f"{number}",
                    dataset_id=dataset.id,
                    subject_id=1,
                    fingerprint=bytes([number]),
                    **more,
                )
            )
        session.add_all([Job(kind="x", arguments={"a": [1]}), Job(kind="y", arguments={})])
        session.flush()
        session.execute(delete(Job).where(Job.kind == "y"))  # its number is never used again
        session.commit()


def rows(engine: Engine) -> dict[str, list[Any]]:
    """Everything; JSON as text, so that NULL and null differ."""
    with engine.connect() as connection:
        return {
            table.name: [
                tuple(row)
                for row in connection.execute(
                    select(
                        *(cast(c, Text) if isinstance(c.type, JSON) else c for c in table.columns)
                    ).order_by(*table.primary_key.columns)
                )
            ]
            for table in Base.metadata.sorted_tables
        }


def test_everything_goes_to_a_file_and_back(server: Engine, tmp_path: Path) -> None:
    migrate.upgrade(server)
    fill(server)
    before = rows(server)
    found = {value for row in before["images"] for value in row}
    assert {None, "null"} < found  # the two differ, and both are there
    tables.copy_database(server, tmp_path / "copy", report=lambda *_: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy"]
    with tables.reading(tmp_path / "copy") as copy:
        assert rows(copy) == before
        assert migrate.find_drift(copy) == []
    with pytest.raises(Conflict, match="tables already"):
        tables.load_database(tmp_path / "copy", server, report=lambda *_: None)
    empty(server)
    told: list[tuple[int, int]] = []
    tables.load_database(tmp_path / "copy", server, report=lambda *at: told.append(at))
    assert rows(server) == before
    assert migrate.find_drift(server) == []
    assert told[-1][0] == told[-1][1] == sum(map(len, before.values()))
    with Session(server) as session:
        job = Job(kind="z", arguments={})
        session.add(job)
        session.flush()
        assert job.id == 3
        subject = session.get_one(Subject, 1)
        assert subject.wrapped_key is not None


def test_a_load_that_fails_leaves_an_empty_database(server: Engine, tmp_path: Path) -> None:
    migrate.upgrade(server)
    fill(server)
    tables.copy_database(server, tmp_path / "copy", report=lambda *_: None)
    empty(server)

    def stop(done: int, _total: int) -> None:
        if done > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tables.load_database(tmp_path / "copy", server, report=stop)
    tables.refuse_tables(server)
