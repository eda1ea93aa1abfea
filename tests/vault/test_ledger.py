import errno
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from annotator.core.errors import AnnotatorError, Tampered
from annotator.vault import Ledger, Vault, open_vault
from tests.vault.conftest import WRITING, FaultyDisk

LINES = [
    {"what": "withdrawn", "subject": f"{number:032x}", "at": "2026-11-24", "epoch": number}
    for number in range(1, 5)
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "apart" / "ledger"


@pytest.fixture
def ledger(vault: Vault, path: Path) -> Ledger:
    ledger = Ledger(path, seals=vault)
    for line in LINES:
        ledger.append(line)
    return ledger


def test_what_is_written_is_read(ledger: Ledger, vault: Vault, path: Path) -> None:
    assert ledger.read() == LINES
    assert Ledger(path, seals=vault).read() == LINES
    assert vault.ledger_end[0] == len(LINES)
    assert path.stat().st_mode & 0o077 == 0


def test_the_same_line_twice_is_once(ledger: Ledger) -> None:
    ledger.append(LINES[1])
    assert ledger.read() == LINES


def test_a_ledger_that_is_not_there_is_empty(vault: Vault, path: Path) -> None:
    assert Ledger(path, seals=vault).read() == []


def edits() -> dict[str, Callable[[list[bytes]], list[bytes]]]:
    def change(number: int) -> Callable[[list[bytes]], list[bytes]]:
        def edit(lines: list[bytes]) -> list[bytes]:
            line = json.loads(lines[number]) | {"subject": "0" * 32}
            return [*lines[:number], json.dumps(line).encode() + b"\n", *lines[number + 1 :]]

        return edit

    return {
        **{f"changed {number}": change(number) for number in range(len(LINES))},
        **{
            f"dropped {number}": lambda lines, number=number: lines[:number] + lines[number + 1 :]
            for number in range(len(LINES))
        },
        "emptied": lambda _: [],
        "swapped": lambda lines: [lines[1], lines[0], *lines[2:]],
        "repeated": lambda lines: [*lines, lines[-1]],
        "torn": lambda lines: [*lines[:-1], lines[-1][:-9]],
        "not JSON": lambda lines: [*lines, b"[]\n"],
    }


@pytest.mark.parametrize("name", edits())
def test_every_edit_is_found(ledger: Ledger, vault: Vault, path: Path, name: str) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(edits()[name](lines)))
    with pytest.raises(Tampered, match="ledger"):
        ledger.read()
    with pytest.raises(Tampered, match="ledger"):
        ledger.append(LINES[0] | {"subject": "f" * 32})


def test_a_line_of_another_installation_is_none(
    ledger: Ledger, path: Path, make_vault: Callable[[str], Vault]
) -> None:
    with pytest.raises(Tampered, match="line 1"):
        Ledger(path, seals=make_vault("two")).read()


def test_the_end_is_remembered_across_rotations_and_processes(
    ledger: Ledger, vault: Vault, path: Path, tmp_path: Path
) -> None:
    list(vault.rotate([]))
    vault.destroy_epoch(1)
    again = open_vault(tmp_path / "one", key_file=tmp_path / "one" / "key-file")
    assert again.ledger_end == vault.ledger_end
    assert Ledger(path, seals=again).read() == LINES


def test_a_longer_copy_is_adopted_and_a_shorter_is_not(
    ledger: Ledger, vault: Vault, path: Path, tmp_path: Path
) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    short = Ledger(tmp_path / "short", seals=vault)
    short.path.write_bytes(b"".join(lines[:2]))
    assert ledger.adopt(short) == len(LINES)
    assert path.read_bytes() == b"".join(lines)
    assert short.adopt(ledger) == len(LINES)
    assert short.read() == LINES
    other = Ledger(tmp_path / "other", seals=vault)
    other.path.write_bytes(b"".join(lines[:2]))
    twin = Ledger(tmp_path / "twin", seals=vault)
    twin.path.write_bytes(lines[0])
    with pytest.raises(Tampered, match="cut off"):
        twin.adopt(other)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_whatever_call_fails_the_ledger_stays_whole(
    tmp_path: Path, make_vault: Callable[[str], Vault], error: int
) -> None:
    for number in range(1000):
        make_vault(str(number))
        home, disk = tmp_path / str(number), FaultyDisk()
        for name in ("fsync", "fsync_folder"):  # counted and failed, but not waited for
            setattr(disk, name, disk._watch(name, lambda _: None))
        vault = open_vault(home, key_file=home / "key-file", disk=disk)
        ledger = Ledger(home / "ledger", seals=vault, disk=disk)
        ledger.append(LINES[0])
        disk.plan(number, error)
        with suppress(AnnotatorError):
            ledger.append(LINES[1])
        unharmed = number >= len(disk.calls)
        disk.heal()
        assert ledger.read() in (LINES[:1], LINES[:2])  # with it or without, never half
        ledger.append(LINES[1])  # trying again is fine in both cases
        assert ledger.read() == LINES[:2]
        assert vault.ledger_end[0] == len(LINES[:2])
        if unharmed:
            break
    assert len(WRITING) < number < 100
