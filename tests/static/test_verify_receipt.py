"""The stand-alone program, run as its users run it: Python alone, no packages, no environment."""

import base64
import contextlib
import copy
import io
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.orm import Session

from annotator.core.db import Base, open_engine
from annotator.domain import audit, erasure, receipts
from tests.factories import make_dataset, make_subject
from tests.fakes import FakeTools, FakeVault, FakeWork

PROGRAM = Path(__file__).resolve().parents[2] / "static/verify_receipt.py"


@pytest.fixture(scope="module")
def vault() -> FakeVault:
    return FakeVault()


@pytest.fixture(scope="module")
def made(
    vault: FakeVault, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, dict[str, Any]]]:
    """A consent receipt, and an erasure receipt before and after the keys were renewed."""
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('log')}/a.sqlite")
    Base.metadata.create_all(engine)
    with Session(engine, expire_on_commit=False) as session:
        dataset = make_dataset(session)
        for _ in range(5):
            make_subject(session, vault, dataset)
        subject = make_subject(session, vault, dataset)
        session.commit()
        consent = receipts.make_receipt(session, vault=vault, subject=subject)
        opened = receipts.open_salt(session, vault=vault, subject=subject)
        done = erasure.withdraw_subject(session, subject=subject, by=None)
        session.commit()
        early = receipts.make_erasure_receipt(session, vault=vault, opened=opened)
        session.commit()
        assert done.job is not None
        erasure.finish_withdrawal(FakeWork(engine, FakeTools(vault=vault)), **done.job.arguments)
        late = receipts.make_erasure_receipt(session, vault=vault, opened=opened)
    yield {"consent": consent, "early": early, "late": late}
    engine.dispose()


@pytest.fixture(scope="module")
def program() -> SimpleNamespace:
    # Not imported: that would leave compiled bytes among the files that the app serves.
    return SimpleNamespace(**runpy.run_path(str(PROGRAM)))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(receipt: Any, *key: str) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "receipt.json"
        file.write_text(receipt if isinstance(receipt, str) else json.dumps(receipt))
        return subprocess.run(
            [sys.executable, "-I", "-S", PROGRAM, file, *key],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={},
        )

    return run


def vkey(vault: FakeVault) -> str:
    return str(audit.verifier_of(vault))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("consent", "consent.given"),
        ("early", "a renewal is not proven yet"),
        ("late", "Your key was destroyed."),
    ],
)
def test_a_good_receipt_fits(
    run: Any, made: dict[str, Any], vault: FakeVault, name: str, sentence: str
) -> None:
    done = run(made[name], vkey(vault))
    assert (done.returncode, done.stderr) == (0, "")
    assert sentence in done.stdout
    assert "Everything fits" in done.stdout
    assert run(made[name], made[name]["log"]["public_key"]).returncode == 0


def test_another_key_is_refused(run: Any, made: dict[str, Any]) -> None:
    done = run(made["consent"], vkey(FakeVault()))
    assert done.returncode == 1
    assert "WRONG: it is of a log with another key" in done.stdout


def test_a_receipt_that_another_key_signed_under_this_name_is_refused(
    run: Any, made: dict[str, Any], vault: FakeVault
) -> None:
    forger = FakeVault()
    forged = copy.deepcopy(made["consent"])
    del forged["signature"]
    message = receipts.SIGNED + audit.canonical(forged)
    forged["signature"] = base64.b64encode(forger.sign("log", message)).decode()
    done = run(forged, vkey(vault))
    assert (done.returncode, "changed after it was signed" in done.stdout) == (1, True)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "{", '{"format": 1}', '{"format": 2}'])
def test_what_is_no_receipt_is_refused(run: Any, vault: FakeVault, text: str) -> None:
    done = run(text, vkey(vault))
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[-1].startswith("WRONG: ")


def test_without_a_key_it_says_how(run: Any, made: dict[str, Any]) -> None:
    done = run(made["consent"])
    assert (done.returncode, "KEY is the public key" in done.stdout) == (2, True)
    assert run(made["consent"], "no key").returncode == 1


Path_ = tuple[str | int, ...]


def leaves(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Every value of a JSON document that holds no others, and every empty one."""
    children = value.items() if isinstance(value, dict) else enumerate(value)
    for name, child in children:
        if isinstance(child, dict | list) and child:
            yield from leaves(child, (*path, name))
        else:
            yield (*path, name), child


def changes(value: Any) -> list[Any]:
    if isinstance(value, bool) or value is None:
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1, str(value)]
    if isinstance(value, str):
        first, last = ("1" if each == "0" else "0" for each in (value[:1], value[-1:]))
        return [value[:-1] + last, value + last, first + value[1:], value[:-1], None]
    return [[0], {"more": 0}]


def edit(document: dict[str, Any], path: Path_, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    place: Any = changed
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return changed


def judge(program: SimpleNamespace, receipt: Any, key: str, file: Path) -> int:
    file.write_text(json.dumps(receipt))
    with contextlib.redirect_stdout(io.StringIO()):
        return int(program.main([str(file), key]))


@pytest.mark.parametrize("name", ["consent", "late"])
def test_every_change_of_a_single_field_is_found(
    program: SimpleNamespace, made: dict[str, Any], vault: FakeVault, tmp_path: Path, name: str
) -> None:
    receipt, file, count = made[name], tmp_path / "receipt.json", 0
    assert judge(program, receipt, vkey(vault), file) == 0
    for number, (path, value) in enumerate(leaves(receipt)):
        others = changes(value)
        # Of the long record each field is changed in one way, in turn; the rest in every way.
        for other in others if "record" not in path else [others[number % len(others)]]:
            changed = edit(receipt, path, other)
            assert changed != receipt
            assert judge(program, changed, vkey(vault), file) == 1, (path, other)
            count += 1
    assert count > 150


def test_an_entry_taken_out_or_moved_is_found(
    program: SimpleNamespace, made: dict[str, Any], vault: FakeVault, tmp_path: Path
) -> None:
    receipt, file = made["late"], tmp_path / "receipt.json"
    for number in range(len(receipt["entries"])):
        entries = [item for at, item in enumerate(receipt["entries"]) if at != number]
        assert judge(program, receipt | {"entries": entries}, vkey(vault), file) == 1
    turned = receipt | {"entries": receipt["entries"][::-1]}
    assert judge(program, turned, vkey(vault), file) == 1
    assert judge(program, receipt | {"more": 1}, vkey(vault), file) == 1


def resign(vault: FakeVault, receipt: dict[str, Any]) -> dict[str, Any]:
    """A receipt that the log's own key signed, whatever it says."""
    body = {name: value for name, value in receipt.items() if name != "signature"}
    signature = vault.sign("log", receipts.SIGNED + audit.canonical(body))
    return body | {"signature": base64.b64encode(signature).decode()}


def test_not_even_the_log_itself_can_tell_what_is_not_in_the_log(
    program: SimpleNamespace, made: dict[str, Any], vault: FakeVault, tmp_path: Path
) -> None:
    receipt, file = made["late"], tmp_path / "receipt.json"
    entries = receipt["entries"]
    place: Path_ = ("entries", 1, "entry", "details", "purposes", 0)
    lies = [
        edit(receipt, place, "train and more"),
        edit(receipt, ("entries", 1, "entry", "at"), "2020-01-01T00:00:00+00:00"),
        edit(receipt, ("entries", 1, "entry", "index"), 0),
        edit(receipt, ("entries", 1, "number"), 1),
        edit(receipt, ("entries", 1, "proof"), entries[0]["proof"]),
        edit(receipt, ("salt",), "00" * 32),
        receipt | {"entries": entries[:-1]},
        receipt | {"renewal": {name: entries[0][name] for name in ("entry", "proof")}},
        receipt | {"entries": []},
    ]
    assert judge(program, resign(vault, receipt), vkey(vault), file) == 0
    for lie in lies:
        assert judge(program, resign(vault, lie), vkey(vault), file) == 1


def test_signatures_are_checked_as_wycheproof_says(program: SimpleNamespace) -> None:
    folder = os.environ.get("ANNOTATOR_TEST_VECTORS")
    if not folder:
        pytest.skip("no test vectors: ANNOTATOR_TEST_VECTORS is not set")
    suite = json.loads(Path(folder, "wycheproof/ed25519_test.json").read_text())
    count = 0
    for group in suite["testGroups"]:
        key = bytes.fromhex(group["publicKey"]["pk"])
        for test in group["tests"]:
            found = program.is_signed(key, bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"]))
            assert found is (test["result"] == "valid"), test
            count += 1
    assert count == suite["numberOfTests"]
