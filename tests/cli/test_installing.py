import json
import re
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from annotator.bootstrap import Toolbox
from annotator.cli import installing
from annotator.cli.processes import StartFailed, check_port
from annotator.core.config import Settings
from annotator.core.errors import Conflict
from annotator.models import Installation as InstallationRow
from annotator.models import ModelVersion, User
from annotator.vault import opening
from tests.installation import ADMIN, PASSWORD, Installation

WHO = ("--email", ADMIN, "--name", "Ada", "--context", "research")


def test_init_makes_keys_tables_an_admin_and_the_bundled_model(installation: Installation) -> None:
    tools = Toolbox(Settings.load(installation.environ))
    key_file = tools.key_file
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    with tools.sessions() as session:
        row = session.scalars(select(InstallationRow)).one()
        assert row.install == tools.vault.install
        assert row.context == "research"
        assert session.scalars(select(User.role)).all() == ["admin"]
        model = session.scalars(select(ModelVersion)).one()
        assert (model.name, model.state) == ("bundled", "current")
        assert model.digest == tools.learning.digest(None)
    tools.engine.dispose()


def test_init_twice_is_refused(installation: Installation) -> None:
    again = installation.run("init", *WHO, ok=False)
    assert again.returncode == 1
    assert "already" in again.stderr


@pytest.mark.parametrize(
    ("change", "sentence", "code"),
    [
        (("--password", "short"), "at least 12 characters", 1),
        (("--email", "nobody"), "not an e-mail address", 1),
        (("--context", "fun"), "'fun' is not one of", 2),
    ],
)
def test_init_refuses_with_a_sentence(
    tmp_path: Path, change: tuple[str, str], sentence: str, code: int
) -> None:
    done = Installation(tmp_path / "data").run("init", *WHO, *change, ok=False)
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_init_can_begin_anew_after_a_failure(tmp_path: Path) -> None:
    made = Installation(tmp_path / "data")
    assert made.run("init", *WHO, "--email", "nobody", ok=False).returncode == 1
    made.init()


def test_the_passphrase_alone_opens_an_installation_made_with_it(tmp_path: Path) -> None:
    made = Installation(tmp_path / "data", ANNOTATOR_PASSPHRASE="a passphrase of some length")
    made.init()
    assert made.run("token", "create", ADMIN).returncode == 0
    made.environ["ANNOTATOR_PASSPHRASE"] = "another one"
    tools = Toolbox(Settings.load(made.environ))
    with pytest.raises(Exception, match=r"[Pp]assphrase"):
        _ = tools.vault


def test_a_command_without_an_installation_says_what_to_do(tmp_path: Path) -> None:
    done = Installation(tmp_path / "none").run("models", "list", ok=False)
    assert done.returncode == 1
    assert "make one with `init`" in done.stderr


def test_a_setting_with_a_typing_error_is_refused(installation: Installation) -> None:
    installation.environ["ANNOTATOR_PROT"] = "1"
    done = installation.run("user", "list", ok=False)
    assert (done.returncode, "ANNOTATOR_PROT is not known" in done.stderr) == (1, True)


def test_a_database_that_does_not_answer_is_one_sentence(
    installation: Installation, free_port: int
) -> None:
    secret = "kept-to-itself"
    address = f"postgresql://somebody:{secret}@127.0.0.1:{free_port}/none"
    installation.environ["ANNOTATOR_DATABASE_URL"] = address
    done = installation.run("user", "list", ok=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("The database does not answer")
    assert "Traceback" not in done.stderr
    assert secret not in done.stderr


def test_a_taken_port_is_one_sentence(free_port: int) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        with pytest.raises(StartFailed, match="--port"):
            check_port("127.0.0.1", free_port)


def test_the_password_given_is_the_one_that_signs_in(installation: Installation) -> None:
    from annotator.web import create_app

    tools = Toolbox(Settings.load(installation.environ))
    client = create_app(tools).test_client()

    def sign_in(password: str) -> int:
        page = client.get("/sign-in").text
        token = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert token is not None
        form = {"email": ADMIN, "password": password, "csrf_token": token[1]}
        return client.post("/sign-in", data=form).status_code

    assert sign_in("something else entirely") >= 400
    assert sign_in(PASSWORD) == 303
    tools.engine.dispose()


def test_the_answer_of_init_is_one_json_object(tmp_path: Path) -> None:
    done = Installation(tmp_path / "data").run("init", *WHO, "--json")
    answer = json.loads(done.stdout)
    assert {"data", "email", "password", "recovery_code"} == set(answer)
    assert len(answer["password"]) >= 12


# Interrupted by a crash


class Crash(BaseException):
    """The power is gone."""


def crash_at(monkeypatch: pytest.MonkeyPatch, data: Path, place: str) -> None:
    """Begins an installation that stops at a place, with nothing cleared up."""
    modules: dict[str, Any] = {"ring": opening, "tables": installing.migrate, "rows": installing}
    names = {"ring": "create_ring", "tables": "upgrade", "rows": "remove_durably"}

    def crash(*_: object, **__: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(modules[place], names[place], crash)
        for name in (
            "shutil.rmtree",
            "pathlib.Path.unlink",
            "annotator.vault.opening.remove_quietly",
        ):
            patch.setattr(name, crash)
        with pytest.raises(Crash):
            installing.install(Settings(data=data), context="research")


def files(data: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}


@pytest.mark.parametrize("place", ["ring", "tables"])
def test_init_begins_anew_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    data = tmp_path / "data"
    crash_at(monkeypatch, data, place)
    assert (data / "keys" / "unlock.key").exists()
    assert (data / "keys" / "ring.json").exists() == (place == "tables")
    made = Installation(data)
    made.init()
    assert made.run("token", "create", ADMIN).returncode == 0
    assert not [path for path in data.iterdir() if path.name.startswith("init")]


def test_a_crash_after_everything_was_done_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    crash_at(monkeypatch, data, "rows")
    ring = (data / "keys" / "ring.json").read_bytes()
    for _ in range(2):
        with pytest.raises(Conflict, match="already"):
            installing.install(Settings(data=data), context="research")
    assert (data / "keys" / "ring.json").read_bytes() == ring
    assert not (data / "init-unfinished").exists()


@pytest.mark.parametrize("what", ["no mark", "no mark, no ring", "a blob", "a ledger"])
def test_keys_that_may_be_of_use_are_never_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    data = tmp_path / "data"
    crash_at(monkeypatch, data, "ring" if "no ring" in what else "tables")
    if what == "a blob":
        tools = Toolbox(Settings(data=data))
        tools.vault.store_archive(purpose="export", data=b"sealed")
    elif what == "a ledger":
        (data / "keys" / "erasures.jsonl").write_text("{}")
    else:
        (data / "init-unfinished").unlink()
    (data / "init-lock").unlink(missing_ok=True)
    before = files(data / "keys")
    with pytest.raises(Conflict) as refused:
        installing.install(Settings(data=data), context="research")
    said = {"no mark": "already", "no mark, no ring": "remove it", "a blob": "sealed since"}
    assert said.get(what, "sealed since") in refused.value.message
    assert files(data / "keys") == before


def test_two_at_once_make_one(tmp_path: Path) -> None:
    data = tmp_path / "data"
    told: list[str] = []

    def begin() -> None:
        try:
            tools, _ = installing.install(Settings(data=data), context="research")
            told.append(tools.vault.install)
            tools.engine.dispose()
        except Conflict as refused:
            told.append(refused.message)

    threads = [threading.Thread(target=begin) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refusals = [each for each in told if "already" in each]
    (made,) = set(told) - set(refusals)
    assert len(refusals) == 2
    tools = Toolbox(Settings(data=data))
    with tools.sessions() as session:
        assert session.scalars(select(InstallationRow.install)).all() == [made]
    tools.engine.dispose()
