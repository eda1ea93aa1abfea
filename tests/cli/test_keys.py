"""Commands for the key ring, in a real installation."""

import io
import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from annotator.bootstrap import Toolbox
from annotator.cli import main
from annotator.core.config import Settings
from annotator.core.errors import Locked
from annotator.domain import consent, viewing
from annotator.models import AuditEntry, Face, Subject, User
from tests.factories import make_dataset, make_face, make_subject
from tests.installation import Installation

PROGRAM = Path(__file__).parents[1] / "vault" / "kms_program.py"
PASSPHRASE = "a passphrase of some length"
WHO = ("--email", "a@b.example", "--name", "Ada", "--context", "research")


class Door:
    """The command line on one data folder, in this process."""

    def __init__(
        self,
        data: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.data, self._patch, self._capsys = data, monkeypatch, capsys
        self.environ = {"ANNOTATOR_DATA": str(data)}
        monkeypatch.setenv("ANNOTATOR_DATA", str(data))

    def set(self, name: str, text: str) -> None:
        self.environ[name] = text
        self._patch.setenv(name, text)

    def unset(self, name: str) -> None:
        self.environ.pop(name, None)
        self._patch.delenv(name, raising=False)

    def run(self, *arguments: object, typed: str = "", ok: bool = True) -> str:
        """The answer on stdout, or what a refusal says."""
        self._patch.setattr("sys.stdin", io.StringIO(typed))
        self._capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = self._capsys.readouterr()
        assert (code == 0) == ok, err
        assert "Traceback" not in err
        return out if ok else err

    def json(self, *arguments: object, typed: str = "") -> Any:
        return json.loads(self.run(*arguments, "--json", typed=typed))

    def tools(self) -> Toolbox:
        return Toolbox(Settings.load(self.environ))

    def slots(self) -> dict[str, str]:
        """Kinds of the slots, by name."""
        return {slot["id"]: slot["kind"] for slot in self.json("keys", "status")["slots"]}

    def logged(self) -> list[tuple[str, str, dict[str, Any]]]:
        tools = self.tools()
        with tools.sessions() as session:
            entries = session.scalars(
                select(AuditEntry).where(AuditEntry.action.like("keys.%")).order_by(AuditEntry.id)
            ).all()
        tools.engine.dispose()
        return [(entry.action, entry.actor, entry.details) for entry in entries]


@pytest.fixture
def door(
    fresh: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Door:
    shutil.copytree(fresh, tmp_path / "data")
    return Door(tmp_path / "data", monkeypatch, capsys)


@pytest.fixture
def empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Door:
    return Door(tmp_path / "data", monkeypatch, capsys)


@pytest.fixture
def kms(tmp_path: Path) -> str:
    service = tmp_path / "service-key"
    service.write_text("07" * 32)
    return shlex.join([sys.executable, str(PROGRAM), str(service)])


def add_people(door: Door) -> tuple[int, int]:
    """Two people with a face each; answers the numbers of the faces."""
    tools = door.tools()
    with tools.transaction() as session:
        dataset = make_dataset(session, name="Pilot")
        faces = [
            make_face(
                session,
                tools.vault,
                make_subject(session, tools.vault, dataset, code=code, name=f"Name {code}"),
            ).id
            for code in ("P-1", "P-2")
        ]
    tools.engine.dispose()
    return faces[0], faces[1]


def look(door: Door, face: int) -> bytes:
    tools = door.tools()
    with tools.sessions() as session:
        admin = session.scalars(select(User)).first()
        assert admin is not None
        data = viewing.open_crop(session, vault=tools.vault, face_id=face, user=admin)
    tools.engine.dispose()
    return data


def test_status_tells_everything_and_warns(door: Door) -> None:
    add_people(door)
    told = door.json("keys", "status")
    assert told["opens"]
    assert [slot["kind"] for slot in told["slots"]] == ["recovery-code", "key-file"]
    (epoch,) = told["epochs"]
    assert (epoch["epoch"], epoch["state"], epoch["keys"]) == (1, "primary", {"1": 2})
    assert (told["primary"], told["primary_age_days"], told["root"]) == (1, 0, 1)
    assert told["ring"] == str(door.data / "keys" / "ring.json")
    assert told["key_file"] == str(door.data / "keys" / "unlock.key")
    (warning,) = told["warnings"]
    assert "beside the key ring" in warning
    text = door.run("keys", "status")
    for part in (told["install"], "key-file", "primary", "2 of version 1", warning):
        assert part in text


def test_status_warns_of_modes_that_are_too_open(door: Door, tmp_path: Path) -> None:
    (door.data / "keys" / "ring.json").chmod(0o644)
    (door.data / "keys").chmod(0o755)
    moved = tmp_path / "elsewhere"
    shutil.move(door.data / "keys" / "unlock.key", moved)
    moved.chmod(0o640)
    door.set("ANNOTATOR_KEY_FILE", str(moved))
    told = door.json("keys", "status")
    assert not told["opens"]
    assert "0600" in told["trouble"]
    assert len(told["warnings"]) == 4
    assert "same disk" in told["warnings"][0]
    assert "0700" in told["warnings"][3]
    assert "does not open" in door.run("keys", "status")


def test_a_passphrase_is_added_used_changed_and_removed(
    door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    face, _ = add_people(door)
    added = door.json("keys", "add-slot", "passphrase", "--label", "Bea", typed=f"{PASSPHRASE}\n")
    assert added["label"] == "Bea"
    door.set("ANNOTATOR_PASSPHRASE", PASSPHRASE)
    assert look(door, face)
    door.run("keys", "change-passphrase", typed="quite another passphrase\n")
    assert "passphrase is wrong" in door.run("keys", "rotate", ok=False)
    door.set("ANNOTATOR_PASSPHRASE", "quite another passphrase")
    assert look(door, face)
    (name,) = [name for name, kind in door.slots().items() if kind == "passphrase"]
    assert name != added["id"]
    door.unset("ANNOTATOR_PASSPHRASE")
    asked = door.run(
        "keys", "change-passphrase", typed="quite another passphrase\nthe third passphrase\n"
    )
    assert asked == ""
    (third,) = [name for name, kind in door.slots().items() if kind == "passphrase"]
    door.set("ANNOTATOR_PASSPHRASE", "the third passphrase")
    assert main(["keys", "remove-slot", third]) == 0  # a key file is there, but is not named
    assert "Change the settings" in capsys.readouterr().err
    door.unset("ANNOTATOR_PASSPHRASE")
    assert sorted(door.slots().values()) == ["key-file", "recovery-code"]
    assert [(action, actor) for action, actor, _ in door.logged()] == [
        ("keys.slot_added", "cli"),
        ("keys.passphrase_changed", "cli"),
        ("keys.passphrase_changed", "cli"),
        ("keys.slot_removed", "cli"),
    ]
    assert PASSPHRASE not in json.dumps(door.logged())


@pytest.mark.parametrize("typed", ["", "\n", "short\n"])
def test_a_passphrase_that_is_none_changes_nothing(door: Door, typed: str) -> None:
    ring = (door.data / "keys" / "ring.json").read_bytes()
    said = door.run("keys", "add-slot", "passphrase", typed=typed, ok=False)
    assert "assphrase" in said
    assert (door.data / "keys" / "ring.json").read_bytes() == ring
    assert door.logged() == []


def test_a_lost_key_file_is_replaced_with_the_recovery_code(empty: Door, tmp_path: Path) -> None:
    code = empty.json("init", *WHO)["recovery_code"]
    face, _ = add_people(empty)
    key_file = empty.data / "keys" / "unlock.key"
    key_file.unlink()
    assert "not there" in empty.run("keys", "rotate", ok=False)
    wrong = empty.run("keys", "add-slot", "key-file", "--recovery", typed="XXXX\n", ok=False)
    assert "not a recovery code" in wrong
    assert not key_file.exists()
    added = empty.json("keys", "add-slot", "key-file", "--recovery", typed=f"{code.lower()}\n")
    assert added["file"] == str(key_file)
    assert look(empty, face)
    lost = next(name for name, kind in empty.slots().items() if kind == "key-file")
    empty.run("keys", "remove-slot", lost)
    assert list(empty.slots()) == [name for name in empty.slots() if name != lost]
    again = empty.run("keys", "add-slot", "key-file", ok=False)
    assert "exists already" in again
    assert key_file.exists()


def test_the_last_way_in_stays(door: Door) -> None:
    for name, kind in door.slots().items():
        if kind == "key-file":
            said = door.run("keys", "remove-slot", name, ok=False)
            assert "that you use" in said
    assert "no slot" in door.run("keys", "remove-slot", "ffffffff", ok=False)
    assert len(door.slots()) == 2
    assert door.logged() == []


def test_init_with_a_kms_command_and_everything_works(empty: Door, kms: str) -> None:
    assert "ANNOTATOR_KMS_COMMAND" in empty.run("init", *WHO, "--kms", ok=False)
    empty.set("ANNOTATOR_KMS_COMMAND", f"{kms}-that-fails")
    assert "exit code" in empty.run("init", *WHO, "--kms", ok=False)
    empty.set("ANNOTATOR_KMS_COMMAND", kms)
    empty.run("init", *WHO, "--kms")
    assert sorted(empty.slots().values()) == ["kms", "recovery-code"]
    assert not (empty.data / "keys" / "unlock.key").exists()
    face, _ = add_people(empty)
    assert look(empty, face)
    assert empty.json("keys", "rotate")["keys"] == 2
    assert look(empty, face)
    # From the service to a key file.
    added = empty.json("keys", "add-slot", "key-file", "--file", empty.data.parent / "spare")
    empty.unset("ANNOTATOR_KMS_COMMAND")
    empty.set("ANNOTATOR_KEY_FILE", added["file"])
    service = next(name for name, kind in empty.slots().items() if kind == "kms")
    empty.run("keys", "remove-slot", service)
    assert look(empty, face)


def test_a_kms_slot_is_added_to_an_installation_with_a_key_file(door: Door, kms: str) -> None:
    face, _ = add_people(door)
    assert "ANNOTATOR_KMS_COMMAND" in door.run("keys", "add-slot", "kms", ok=False)
    # The settings name the new way in already; the key file, where it was, lets one in to add it.
    door.set("ANNOTATOR_KMS_COMMAND", kms)
    assert "KMS command is wrong" in door.json("keys", "status")["trouble"]
    added = door.json("keys", "add-slot", "kms", "--label", "the clinic's service")
    assert look(door, face)
    name = next(name for name, kind in door.slots().items() if kind == "key-file")
    door.run("keys", "remove-slot", name)
    (door.data / "keys" / "unlock.key").unlink()
    assert look(door, face)
    assert "that you use" in door.run("keys", "remove-slot", added["id"], ok=False)


@pytest.mark.parametrize("typed", [f"{PASSPHRASE}\n"])
def test_init_asks_for_a_passphrase(empty: Door, typed: str) -> None:
    empty.run("init", *WHO, "--passphrase", "--key-file", typed=typed)
    assert sorted(empty.slots().values()) == ["key-file", "passphrase", "recovery-code"]
    empty.set("ANNOTATOR_PASSPHRASE", PASSPHRASE)
    assert empty.json("keys", "status")["opens"]


def test_rotate_makes_a_new_epoch_for_everybody(door: Door) -> None:
    faces = add_people(door)
    told = door.json("keys", "rotate")
    assert told["keys"] == 2
    status = door.json("keys", "status")
    assert [(epoch["epoch"], epoch["keys"]) for epoch in status["epochs"]] == [(2, {"1": 2})]
    assert status["destroyed"] == 1
    assert all(look(door, face) for face in faces)
    assert [entry[:2] for entry in door.logged()] == [
        ("keys.rotation_started", "cli"),
        ("keys.renewed", "worker"),
    ]


def test_rotate_gives_one_person_a_new_key(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotator.domain.keys.rekeying.GRACE_SECONDS", 0.1)
    faces = add_people(door)
    seen = [look(door, face) for face in faces]
    tools = door.tools()
    with tools.sessions() as session:
        person = session.scalars(select(Subject).where(Subject.code == "P-1")).one()
        old, blob = consent.key_of(tools.vault, person), session.get_one(Face, faces[0]).crop_blob
    told = door.json("keys", "rotate", "--subject", "Pilot/P-1")
    assert told == {"blobs": 2, "version": 2}
    assert [look(door, face) for face in faces] == seen
    (epoch,) = door.json("keys", "status")["epochs"]
    assert (epoch["epoch"], epoch["keys"]) == (2, {"1": 1, "2": 1})
    with tools.sessions() as session:
        new_blob = session.get_one(Face, faces[0]).crop_blob
    assert new_blob != blob
    assert blob not in {name for name, _ in tools.vault.list_blobs()}  # type: ignore[attr-defined]
    with pytest.raises(Exception, match="key no longer exists"):
        tools.vault.open_blob(subject=person.uid, key=old, blob=new_blob, kind="crop")
    tools.engine.dispose()
    assert "no person 'P-9'" in door.run("keys", "rotate", "--subject", "Pilot/P-9", ok=False)
    assert "Choose" in door.run("keys", "rotate", "--subject", "Pilot/P-1", "--root", ok=False)


def test_rotate_root_leaves_one_way_in(door: Door) -> None:
    face, _ = add_people(door)
    door.run("keys", "add-slot", "passphrase", typed=f"{PASSPHRASE}\n")
    told = door.json("keys", "rotate", "--root", "--yes")
    assert sorted(door.slots().values()) == ["key-file", "recovery-code"]
    assert look(door, face)
    door.set("ANNOTATOR_PASSPHRASE", PASSPHRASE)
    with pytest.raises(Locked):
        _ = door.tools().vault
    door.unset("ANNOTATOR_PASSPHRASE")
    door.run("keys", "add-slot", "recovery-code", "--recovery", typed=told["recovery_code"])
    assert [entry[0] for entry in door.logged()][1:] == ["keys.root_renewed", "keys.slot_added"]


def test_an_epoch_is_disabled_and_enabled(door: Door) -> None:
    face, _ = add_people(door)
    running = door.tools()  # another process, as it were
    assert running.vault.install
    door.run("keys", "disable", 1, "--yes")
    with pytest.raises(Locked):
        look(door, face)
    with running.sessions() as session:
        admin = session.scalars(select(User)).first()
        assert admin is not None
        with pytest.raises(Locked):
            viewing.open_crop(session, vault=running.vault, face_id=face, user=admin)
    assert door.json("keys", "status")["epochs"][0]["state"] == "disabled"
    assert "disabled" in door.run("keys", "rotate", ok=False)
    assert "already" in door.run("keys", "disable", 1, "--yes", ok=False)
    assert "no epoch 7" in door.run("keys", "disable", 7, "--yes", ok=False)
    for epoch in door.json("keys", "status")["epochs"]:
        if epoch["state"] == "disabled":
            door.run("keys", "enable", epoch["epoch"])
    assert look(door, face)
    assert door.json("keys", "rotate")["keys"] == 2
    assert look(door, face)
    running.engine.dispose()


def test_no_secret_is_an_argument(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("add-slot", "remove-slot", "change-passphrase", "rotate"):
        main(["keys", command, "--help"])
        text = capsys.readouterr().out
        assert "--passphrase" not in text
        assert "--code" not in text


def test_from_outside_with_stdin(installation: Installation) -> None:
    """As a person's shell starts it: one process of its own."""
    done = installation.run("keys", "status", "--json")
    assert json.loads(done.stdout)["opens"]
    refused = installation.run("keys", "add-slot", "passphrase", ok=False)
    assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
