"""Whoever opens the database file does it by the one engine: web, worker and command line."""

import ast
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.engine import Engine

from annotator.cli import main
from annotator.cli.installing import install
from annotator.core.config import Settings
from annotator.domain import jobs
from annotator.models import Dataset
from annotator.web import create_app
from annotator.worker import run_job, sweep_jobs
from tests.core.test_db import WANTED, read_flags
from tests.factories import make_dataset
from tests.installation import ROOT


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The flags of every connection by which any engine of this process runs a statement."""
    seen: list[dict[str, Any]] = []
    known: set[int] = set()

    def look(connection: Any, *_: object) -> None:
        raw = connection.connection.dbapi_connection
        if isinstance(raw, sqlite3.Connection) and id(raw) not in known:
            known.add(id(raw))
            keep.append(raw)  # so that no id is used twice
            seen.append(read_flags(raw))

    keep: list[sqlite3.Connection] = []
    event.listen(Engine, "before_cursor_execute", look)
    yield seen
    event.remove(Engine, "before_cursor_execute", look)


def test_web_worker_and_command_line_use_the_same_flags(
    tmp_path: Path, connections: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, _ = install(Settings(data=tmp_path / "data"), context="research")
    with tools.transaction() as session:
        make_dataset(session)
        job = jobs.enqueue(session, kind="checkpoint", arguments={}).id
    before = len(connections)
    assert run_job(tools, job)
    sweep_jobs(tools)
    assert create_app(tools).test_client().get("/sign-in").status_code == 200
    monkeypatch.setenv("ANNOTATOR_DATA", str(tmp_path / "data"))
    assert main(["user", "list"]) == 0
    assert main(["audit", "verify"]) == 0
    with tools.sessions() as session:
        assert session.scalars(select(Dataset)).all()
    tools.engine.dispose()
    assert len(connections) > before
    assert connections == [WANTED] * len(connections)


def test_nobody_else_opens_a_database_file() -> None:
    """Beside the engine there is only the making and reading of a backup's file."""
    callers = set()
    for path in (ROOT / "annotator").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name in {"sqlite3.connect", "create_engine", "sqlalchemy.create_engine"}:
                    callers.add(str(path.relative_to(ROOT / "annotator")))
    assert callers == {"core/db.py", "domain/backups/tables.py"}
