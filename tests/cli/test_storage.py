"""`scrub` and `sweep` as they are typed."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from annotator.bootstrap import Toolbox
from annotator.cli import main, storage
from annotator.core.config import Settings
from annotator.models import AuditEntry, Face
from tests.factories import make_dataset, make_face, make_subject
from tests.installation import Installation


@pytest.fixture
def crops(installation: Installation) -> list[Path]:
    """Two faces' crops, as files."""
    tools = Toolbox(Settings.load(installation.environ))
    with tools.transaction() as session:
        subject = make_subject(session, tools.vault, make_dataset(session), name="Anna Canary")
        for _ in range(2):
            make_face(session, tools.vault, subject)
    with tools.sessions() as session:
        blobs = session.scalars(select(Face.crop_blob).order_by(Face.id)).all()
    tools.engine.dispose()
    return [installation.data / "blobs" / blob[:2] / blob[2] / blob for blob in blobs]


@pytest.fixture
def run(
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, str]]:
    """A command in this process: its exit code, and what it says."""
    monkeypatch.setenv("ANNOTATOR_DATA", str(installation.data))
    monkeypatch.setattr(storage, "_step_back", lambda: None)  # it cannot be undone

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        return main(arguments), *capsys.readouterr()

    return run


def test_scrub_names_damage_and_exits_with_one(
    run: Callable[..., tuple[int, str, str]], crops: list[Path]
) -> None:
    code, said, _ = run("scrub")
    assert code == 0
    assert "none is damaged" in said
    crops[0].unlink()
    code, said, _ = run("scrub")
    assert code == 1
    assert f"face 1 of dataset 'Clinic pilot': crop (blob {crops[0].name}): missing." in said
    _, said, _ = run("scrub", "--json")
    damage, summary = map(json.loads, said.splitlines())
    assert (damage["what"], damage["id"], damage["reason"]) == ("face", 1, "missing")
    assert (summary["damaged"], summary["stopped_at"]) == (1, "")
    assert run("scrub", "--from", "faces.crop_blob:1")[0] == 0
    code, _, complaint = run("scrub", "--from", "faces.crop_blob")
    assert (code, len(complaint.strip().splitlines())) == (1, 1)


def test_an_interrupted_scrub_says_how_to_go_on(
    run: Callable[..., tuple[int, str, str]], crops: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_meter: object, done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(storage.Meter, "show", interrupt)
    code, said, complaint = run("scrub", "--json")
    stopped = json.loads(said)["stopped_at"]
    assert code == 1
    assert f"scrub --from {stopped}" in complaint
    monkeypatch.undo()


def test_sweep_looks_first_and_then_deletes(
    installation: Installation, run: Callable[..., tuple[int, str, str]], crops: list[Path]
) -> None:
    orphan = crops[0].with_name(crops[0].name[:-4] + "0000")
    orphan.write_bytes(b"left")
    os.utime(orphan, (0, 0))
    _, said, _ = run("sweep", "--dry-run", "--json")
    assert json.loads(said) == {
        "blobs": 5,
        "orphans": [orphan.name],
        "unfinished": 0,
        "dry_run": True,
    }
    assert orphan.exists()
    assert "1 belong to no row and were deleted" in run("sweep")[1]
    assert not orphan.exists()
    assert all(path.exists() for path in crops)
    assert json.loads(run("sweep", "--grace", "0", "--json")[1])["orphans"] == []
    assert run("sweep", "--grace", "-1")[0] == 2
    tools = Toolbox(Settings.load(installation.environ))
    with tools.sessions() as session:
        entries = session.scalars(
            select(AuditEntry).where(AuditEntry.action == "storage.swept")
        ).all()
        assert [(entry.actor, entry.details["orphans"]) for entry in entries] == [("cli", 1)]
    tools.engine.dispose()
