"""The house keeps its rules: what imports what, what starts how heavy, what is written down."""

import ast
import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from annotator.cli import cli
from annotator.core.config import PREFIX, Settings
from annotator.worker import KINDS

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("tensorflow", "keras", "sklearn", "scipy", "cv2", "PIL", "numpy")


def in_a_fresh_process(code: str, **environ: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | environ,
    ).stdout


def test_imports_keep_to_the_floors_and_rooms() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([lint], capture_output=True, text=True, cwd=ROOT, check=False)
    assert run.returncode == 0, run.stdout


def test_the_web_process_loads_no_heavy_library(tmp_path: Path) -> None:
    code = f"""
import sys
from annotator.web import create_app
app = create_app()
app.test_client().get("/sign-in")
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    assert in_a_fresh_process(code, ANNOTATOR_DATA=str(tmp_path)).strip() == "[]"


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs/guide/settings.md").read_text()
    told = set(re.findall(rf"^\| `({PREFIX}[A-Z0-9_]+)`", text, re.MULTILINE))
    assert told == {PREFIX + field.name.upper() for field in dataclasses.fields(Settings)}


def test_every_command_is_documented() -> None:
    text = (ROOT / "docs/guide/commands.md").read_text()
    names = {name for name, command in cli.commands.items() if not command.hidden}
    assert {name for name in names if f"`{name}" not in text} == set()


def test_every_job_kind_is_documented() -> None:
    text = (ROOT / "docs/guide/operations.md").read_text()
    assert {kind for kind in KINDS if f"`{kind}`" not in text} == set()


@pytest.mark.parametrize(
    ("folder", "pattern"),
    [("templates", "*"), ("static/js", "*"), ("static/css", "*.css")],
)
def test_every_asset_belongs_to_a_page_module(folder: str, pattern: str) -> None:
    pages = {path.stem for path in (ROOT / "annotator/web").glob("*.py")}
    shared = {"macros", "errors", "lib", "main", "tokens", "base", "layout", "components", "reset"}
    found = {path.stem for path in (ROOT / folder).glob(pattern)}
    assert found - pages - shared == set()


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty = {"utils", "helpers", "common", "manager", "misc"}
    found = {path for path in (ROOT / "annotator").rglob("*.py") if path.stem in empty}
    assert found == set()


def test_files_and_functions_stay_small() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in (ROOT / "annotator").rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 420
    }
    assert long == {}


def test_pixels_are_opened_in_few_rooms_and_each_asks_the_gate() -> None:
    rooms = {
        path.relative_to(ROOT / "annotator").as_posix()
        for path in (ROOT / "annotator").rglob("*.py")
        if "vault" not in path.relative_to(ROOT / "annotator").parts
        and re.search(r"\.(open|stream)_blob\(", path.read_text())
    }
    assert rooms == {
        "domain/viewing.py",
        "domain/redaction/review.py",
        "domain/redaction/processing.py",
        "domain/prediction.py",
        "domain/exports/building.py",
        "domain/consent/statements.py",
        "domain/upkeep/scrubbing.py",
    }
    # Exports ask through their selection; a signed paper is evidence and no picture for a purpose;
    # a scrub opens to check, and keeps and shows nothing.
    asking = rooms - {
        "domain/exports/building.py",
        "domain/consent/statements.py",
        "domain/upkeep/scrubbing.py",
    }
    for room in asking:
        text = (ROOT / "annotator" / room).read_text()
        assert re.search(r"consent\.(require|allowed|allowing)\(", text), room
    selection = (ROOT / "annotator/domain/exports/selection.py").read_text()
    assert "consent.allow" in selection
    papers = (ROOT / "annotator/domain/consent/statements.py").read_text()
    opened = re.findall(r"\.open_blob\(([^)]*)\)", papers)
    assert len(opened) == 1
    assert "kind=KIND" in opened[0]
    assert 'KIND = "evidence"' in papers


def test_no_entry_of_the_log_is_given_the_number_of_a_person_or_a_picture() -> None:
    naming = {"image", "face", "task", "review", "annotation", "event", "consent", "code", "name"}
    for path in (ROOT / "annotator").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or ast.unparse(call.func) != "audit.append":
                continue
            for keyword in call.keywords:
                where = f"{path.name}:{call.lineno}"
                assert keyword.arg not in naming, where
                if keyword.arg == "subject":
                    assert not ast.unparse(keyword.value).endswith((".id", ".uid", ".code")), where


def test_sessions_are_made_in_one_place_which_gives_them_the_vault() -> None:
    makers = {
        path.relative_to(ROOT / "annotator").as_posix()
        for path in (ROOT / "annotator").rglob("*.py")
        if re.search(r"\b(sessionmaker|Session)\((?!Base|\))", path.read_text())
    }
    # These only read, by way of an engine that is not the app's, or for longer than a transaction.
    readers = {
        "domain/backups/tables.py",
        "domain/upkeep/scrubbing.py",
        "domain/upkeep/sweeping.py",
        "domain/viewing.py",
    }
    # An installation that is being restored has no tools yet: the vault is given by hand.
    assert makers - readers == {"bootstrap/__init__.py", "domain/backups/restoring.py"}
    for name in readers:
        text = (ROOT / "annotator" / name).read_text()
        assert not re.search(r"session\.(add|commit|flush)\(", text), name
    assert "audit.entrust" in (ROOT / "annotator/domain/backups/restoring.py").read_text()
