"""Files of every format that was ever written still open, byte for byte."""

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from annotator.core.errors import KeyDestroyed, Locked, Tampered
from annotator.vault import (
    Keyholder,
    WrappedKey,
    collect_ways,
    make_way,
    open_vault,
    report_ring,
    verify_signature,
)

GOLDEN = Path(__file__).parent / "golden"
PROGRAM = GOLDEN.parent / "kms_program.py"
FORMATS = sorted(path.name for path in GOLDEN.glob("format-*"))


def data_of(size: int) -> bytes:
    return bytes(i * 7 % 251 for i in range(size))


@pytest.fixture(params=FORMATS)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A copy, because a version control system keeps no file modes and opening makes a lock."""
    folder = tmp_path / "golden"
    shutil.copytree(GOLDEN / request.param, folder)
    (folder / "key-file").chmod(0o600)
    return folder, json.loads((folder / "golden.json").read_text())


def keys_of(told: dict[str, Any]) -> list[WrappedKey]:
    return [
        WrappedKey(bytes.fromhex(key["wrapped"]), key["epoch"], key["version"])
        for key in told["keys"]
    ]


def test_there_is_a_folder_for_each_format() -> None:
    assert FORMATS == ["format-1"]


@pytest.mark.parametrize("way", ["passphrase", "recovery_code", "key_file"])
def test_every_way_in_still_opens(golden: tuple[Path, dict[str, Any]], way: str) -> None:
    folder, told = golden
    secret = folder / "key-file" if way == "key_file" else told[way]
    vault = open_vault(folder, **{way: secret})
    assert vault.install == told["install"]
    assert vault.epochs == (2, 3)


def test_everything_sealed_still_opens(golden: tuple[Path, dict[str, Any]]) -> None:
    folder, told = golden
    vault = open_vault(folder, key_file=folder / "key-file")
    destroyed, *living = keys_of(told)
    for key in living:
        name: dict[str, Any] = {"subject": "anna", "key": key}
        for size, blob in told["blobs"].items():
            whole = data_of(int(size))
            sealed = name | {"blob": blob, "kind": "crop", "revision": 3}
            assert vault.open_blob(**sealed) == whole
            assert b"".join(vault.stream_blob(**sealed)) == whole
            for start, stop in ((0, 10), (7, None), (16_383, 16_386), (19_999, 30_000)):
                part = vault.stream_blob(**sealed, start=start, stop=stop)
                assert b"".join(part) == whole[start:stop]
        cell = {"table": "subject", "column": "name", "row": "1"}
        assert vault.open_field(**name, **cell, sealed=bytes.fromhex(told["field"])) == "Anna Ärmel"
        # AES-SIV is deterministic, so the sealing side is golden as well.
        assert vault.seal_field(**name, **cell, text="Anna Ärmel").hex() == told["field"]
    with pytest.raises(KeyDestroyed):
        vault.open_blob(subject="anna", key=destroyed, blob=blob, kind="crop", revision=3)
    assert b"".join(vault.open_archive(purpose="export", blob=told["archive"])) == data_of(20)
    part = vault.open_archive(purpose="export", blob=told["archive"], start=5, stop=9)
    assert b"".join(part) == data_of(20)[5:9]
    assert vault.measure_archive(blob=told["archive"]) == 20
    assert vault.open_bytes(purpose="model", sealed=bytes.fromhex(told["bytes"])) == data_of(20)


def test_wrapping_indexes_and_signatures_are_the_same(
    golden: tuple[Path, dict[str, Any]],
) -> None:
    folder, told = golden
    vault = open_vault(folder, key_file=folder / "key-file")
    _, second, third = keys_of(told)
    assert vault.rewrap("anna", second) == third
    assert vault.blind_index("e-mail", "anna@example.org").hex() == told["index"]
    for purpose, public in told["public_keys"].items():
        assert vault.public_key(purpose).hex() == public
    signature = bytes.fromhex(told["signature"])
    assert vault.sign("log", b"golden") == signature
    assert verify_signature(bytes.fromhex(told["public_keys"]["log"]), b"golden", signature)


def test_golden_blobs_say_no_when_changed(golden: tuple[Path, dict[str, Any]]) -> None:
    folder, told = golden
    vault = open_vault(folder, key_file=folder / "key-file")
    blob = told["blobs"]["20"]
    (path,) = folder.rglob(blob)
    sealed = path.read_bytes()
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 0x80
        path.write_bytes(changed)
        with pytest.raises(Tampered):
            vault.open_blob(
                subject="anna", key=keys_of(told)[2], blob=blob, kind="crop", revision=3
            )


# A ring with a slot of every kind


@pytest.fixture
def ring(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path / "ring"
    shutil.copytree(GOLDEN / "slots-1", folder)
    (folder / "key-file").chmod(0o600)
    return folder, json.loads((folder / "golden.json").read_text())


@pytest.mark.parametrize("way", ["passphrase", "recovery_code", "key_file", "kms"])
def test_every_kind_of_slot_still_opens(ring: tuple[Path, dict[str, Any]], way: str) -> None:
    folder, told = ring
    secrets = told | {
        "key_file": folder / "key-file",
        "kms": shlex.join([sys.executable, str(PROGRAM), str(folder / "service-key")]),
    }
    vault = open_vault(folder, **{way: secrets[way]})
    assert (vault.install, vault.epochs) == (told["install"], (1, 2))
    assert vault.public_key("log").hex() == told["public_key"]
    first, second = keys_of(told)
    assert vault.rewrap("anna", second) == second
    with pytest.raises(Locked):
        vault.rewrap("anna", first)
    Keyholder(folder, ways=collect_ways(**{way: secrets[way]})).set_disabled(1, disabled=False)
    assert vault.rewrap("anna", first) == second


def test_what_a_ring_tells_is_still_read(ring: tuple[Path, dict[str, Any]]) -> None:
    report = report_ring(ring[0])
    assert (report.root, report.primary, report.generation) == (2, 2, 4)
    assert [slot.kind for slot in report.slots] == [
        "key-file",
        "kms",
        "recovery-code",
        "passphrase",
    ]
    assert report.slots[3].label == "Bea Ärmel"
    assert [(epoch.epoch, epoch.state) for epoch in report.epochs] == [
        (1, "disabled"),
        (2, "primary"),
    ]


def test_the_first_rings_are_changed_as_later_ones_are(
    golden: tuple[Path, dict[str, Any]],
) -> None:
    """They say neither when their slots and epochs were made nor which root key they have."""
    folder, told = golden
    report = report_ring(folder)
    assert (report.root, {slot.label for slot in report.slots}) == (1, {""})
    assert {slot.created for slot in report.slots} == {""}
    holder = Keyholder(folder, ways=collect_ways(key_file=folder / "key-file"))
    way, code = make_way()
    holder.add_slot(holder.seal_slot(way, label="new"))
    holder.remove_slot(report.slots[0].id)
    third = keys_of(told)[2]
    assert open_vault(folder, recovery_code=code).rewrap("anna", third) == third
    new = holder.renew_root()
    assert open_vault(folder, recovery_code=new).rewrap("anna", third) == third
    assert report_ring(folder).root == 2
