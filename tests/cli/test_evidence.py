"""The log on the command line: signed, mirrored, checked, and edited behind its back."""

import json
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from annotator.vault import notes
from tests.installation import ROOT, Installation, wait_for


def verify(installation: Installation, *more: str | Path, ok: bool = True) -> dict[str, Any]:
    done = installation.run("audit", "verify", "--json", *more, ok=ok)
    assert done.returncode == (0 if ok else 1)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def change(installation: Installation, edit: str) -> None:
    database = sqlite3.connect(installation.data / "annotator.sqlite")
    with database:
        database.execute(edit)
    database.close()


def test_a_log_is_signed_mirrored_and_checked(installation: Installation, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    installation.environ["ANNOTATOR_WITNESS"] = f"file:{mirror}"
    made = json.loads(installation.run("audit", "checkpoint", "--json").stdout)
    assert made["problem"] is None
    assert mirror.read_text() == f"{made['note']}\n"
    key = notes.Verifier.parse(installation.run("audit", "key").stdout)
    assert notes.is_signed(notes.read_checkpoint(made["note"]), key)
    found = verify(installation)
    assert found == {
        "entries": made["size"],
        "root": notes.read_checkpoint(made["note"]).root.hex(),
        "checkpoints": 2,
        "first_bad": None,
        "problems": [],
        "witness": "",
    }
    change(installation, "UPDATE audit_entries SET actor = 'user-9' WHERE position = 1")
    assert verify(installation, ok=False)["first_bad"] == 1
    told = installation.run("audit", "verify", ok=False)
    assert "cannot be trusted from entry 1 on" in told.stderr


def test_a_log_that_was_set_back_is_found_by_whoever_kept_a_checkpoint(
    installation: Installation, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    installation.run("token", "create", "admin@clinic.example")
    kept.write_text(installation.run("audit", "checkpoint").stdout)
    size = notes.read_checkpoint(kept.read_text()).size
    assert verify(installation, "--checkpoint", kept)["first_bad"] is None
    for edit in (
        f"DELETE FROM audit_entries WHERE position = {size - 1}",
        "DELETE FROM checkpoints",
    ):
        change(installation, edit)
    found = verify(installation, "--checkpoint", kept, ok=False)
    assert found["first_bad"] == size - 1
    assert verify(installation, "--witness", kept, ok=False)["first_bad"] == size - 1


def test_a_witness_is_a_process_of_its_own(
    installation: Installation, tmp_path: Path, free_port: int
) -> None:
    key = installation.run("audit", "key").stdout.strip()
    files = ("--state", str(tmp_path / "state"), "--key", str(tmp_path / "key"))
    nobody = installation.run("witness", *files, ok=False)
    assert (nobody.returncode, "Name a log with --log" in nobody.stderr) == (1, True)
    url = f"http://127.0.0.1:{free_port}"
    installation.environ["ANNOTATOR_WITNESS"] = url
    with installation.process("witness", *files, "--log", key, "--port", str(free_port)):
        wait_for(lambda: _is_up(url))
        done = json.loads(installation.run("audit", "checkpoint", "--json").stdout)
        assert (done["problem"], done["witness"]) == (None, f"the witness at {url}")
        assert verify(installation)["checkpoints"] == 2
    installation.run("token", "create", "admin@clinic.example")
    down = installation.run("audit", "checkpoint")
    assert "could not be reached. The checkpoint is kept" in down.stderr
    found = verify(installation)
    assert (found["first_bad"], found["witness"]) == (None, "The witness could not be reached.")


def test_a_worker_signs_the_log_by_itself(installation: Installation, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    installation.environ["ANNOTATOR_WITNESS"] = f"file:{mirror}"
    installation.environ["ANNOTATOR_CHECKPOINT_SECONDS"] = "1"
    with installation.process("worker"):
        wait_for(lambda: mirror.exists() and mirror.read_text().endswith("\n\n"))
    assert notes.read_checkpoint(mirror.read_text()[:-1]).size > 0


def _is_up(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/checkpoint", timeout=5)
    except urllib.error.HTTPError as error:
        with error:
            return error.code == 404
    except OSError:
        return False
    return False


@pytest.fixture
def person(installation: Installation, tmp_path: Path) -> str:
    from annotator.bootstrap import Toolbox
    from annotator.core.config import Settings
    from tests.factories import make_dataset, make_subject

    tools = Toolbox(Settings(data=installation.data))
    with tools.transaction() as session:
        make_subject(session, tools.vault, make_dataset(session, name="Pilot"), code="P-1")
    tools.engine.dispose()
    return "Pilot/P-1"


def test_a_receipt_is_written_and_checked_without_the_app(
    installation: Installation, person: str, tmp_path: Path
) -> None:
    out, key = tmp_path / "receipt.json", installation.run("audit", "key").stdout.strip()
    told = installation.run("subject", "receipt", person, "--out", out)
    assert "verify_receipt.py" in told.stderr
    program = ROOT / "static/verify_receipt.py"
    checked = subprocess.run(
        [sys.executable, "-I", "-S", program, out, key],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
    assert "consent.given" in checked.stdout
    assert json.loads(installation.run("subject", "receipt", person).stdout) == json.loads(
        out.read_text()
    )
    assert verify(installation)["first_bad"] is None
    erased = tmp_path / "erased.json"
    installation.run("subject", "withdraw", person, "--yes", "--receipt", erased)
    checked = subprocess.run(
        [sys.executable, "-I", "-S", program, erased, key],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, "Your key was destroyed." in checked.stdout) == (0, True)
    gone = installation.run("subject", "receipt", person, ok=False)
    assert (gone.returncode, "withdrew" in gone.stderr or "withdrawn" in gone.stderr) == (1, True)
    assert verify(installation)["first_bad"] is None
