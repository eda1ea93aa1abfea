"""Links join people who are there already, and go without a trace."""

from pathlib import Path

from sqlalchemy import inspect, text

from annotator.core import migrate
from annotator.core.db import open_engine

PERSON = (
    "INSERT INTO subjects (id, uid, dataset_id, code, created_at) VALUES (1, 'u', 1, 'P-1', :at)"
)
LINK = (
    "INSERT INTO invitations (subject_id, kind, digest, created_at)"
    " VALUES (1, 'own', X'00', '2026-01-01')"
)


def test_links_join_people_who_are_there_already(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/a.sqlite")
    before = "0004"
    migrate.upgrade(engine, before)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO datasets (id, name, description, votes_per_face, blind_share,"
                " prelabel_threshold, approve_alone, seed, created_at)"
                " VALUES (1, 'Pilot', '', 3, 0.15, 0.5, 1, 0, '2026-01-01')"
            )
        )
        connection.execute(text(PERSON), {"at": "2026-01-01"})
    migrate.upgrade(engine, "0005")
    with engine.begin() as connection:
        connection.execute(text(LINK))
        joined = connection.execute(
            text("SELECT code FROM subjects JOIN invitations ON subject_id = subjects.id")
        )
        assert joined.scalars().all() == ["P-1"]
    migrate.downgrade(engine, before)
    assert "invitations" not in inspect(engine).get_table_names()
    with engine.begin() as connection:
        assert connection.execute(text("SELECT code FROM subjects")).scalar_one() == "P-1"
    engine.dispose()
