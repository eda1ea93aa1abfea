"""Entries of before the tree keep their order and lose what names people."""

import json
from pathlib import Path

from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from annotator.core import migrate
from annotator.core.db import open_engine
from annotator.domain import audit
from annotator.models import AuditEntry, AuditNode
from annotator.vault import merkle

MANY = 700


def write_old_log(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO audit_entries (at, action, actor, details, leaf)"
                " VALUES (:at, :action, 'cli', :details, X'00')"
            ),
            [
                {
                    "at": f"2026-01-01 00:00:00.{number:06}",
                    "action": "image.received",
                    "details": json.dumps({"subject": 7, "image": number, "dataset": 1}),
                }
                for number in range(MANY)
            ],
        )


def test_old_entries_get_places_in_a_tree_that_goes_on(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/old.sqlite")
    migrate.upgrade(engine, "0001")
    write_old_log(engine)
    migrate.upgrade(engine)
    with Session(engine) as session:
        audit.append(session, action="thing.done", actor="cli")
        session.commit()
        rows = list(session.scalars(select(AuditEntry).order_by(AuditEntry.id)))
        assert [row.position for row in rows] == list(range(MANY + 1))
        assert all(row.details == {"dataset": 1} for row in rows[:-1])
        leaves = [merkle.hash_leaf(audit.canonical(audit.describe(row))) for row in rows]
        assert [row.leaf for row in rows] == leaves
        assert audit.read_head(session) == (MANY + 1, merkle.compute_root(leaves))
        stored = {(row.level, row.number): row.hash for row in session.scalars(select(AuditNode))}
        assert stored == {
            (8, number): merkle.compute_root(leaves[number * 256 : number * 256 + 256])
            for number in (0, 1)
        }
    migrate.downgrade(engine, "0001")
    with engine.connect() as connection:
        count = connection.execute(text("SELECT count(*) FROM audit_entries")).scalar()
    assert count == MANY + 1
    engine.dispose()
