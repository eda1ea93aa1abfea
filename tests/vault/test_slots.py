"""The ways in: passphrase, key file, recovery code."""

import json
from pathlib import Path

import pytest

from annotator.core.errors import Locked
from annotator.vault import Vault, create_vault, open_vault, slots


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Vault, str]:
    folder = tmp_path_factory.mktemp("slots")
    vault, code = create_vault(folder, passphrase="na\u00efve horse", key_file=folder / "key-file")
    return folder, vault, code


def test_each_way_opens_the_same_vault(made: tuple[Path, Vault, str]) -> None:
    folder, vault, code = made
    for way in (
        {"passphrase": "na\u00efve horse"},
        {"passphrase": "nai\u0308ve horse"},  # the same, typed on another keyboard
        {"key_file": folder / "key-file"},
        {"recovery_code": code},
        {
            "recovery_code": f" {code.lower().replace('-', ' ')} ".replace("0", "o").replace(
                "1", "l"
            )
        },
        {"passphrase": "wrong", "recovery_code": code},
    ):
        opened = open_vault(folder, **way)
        assert opened.public_key("log") == vault.public_key("log")
        assert opened.install == vault.install


def test_a_wrong_secret_is_one_sentence(made: tuple[Path, Vault, str], tmp_path: Path) -> None:
    folder, _, code = made
    create_vault(tmp_path, key_file=tmp_path / "other")
    wrong_code = ("0" if code[0] != "0" else "1") + code[1:]
    for way, sentence in (
        ({"passphrase": "wrong"}, "The vault does not open: the passphrase is wrong."),
        ({"key_file": tmp_path / "other"}, "The vault does not open: the key file is wrong."),
        ({"recovery_code": wrong_code}, "The vault does not open: the recovery code is wrong."),
        (
            {"key_file": tmp_path / "none"},
            "The key file is not there; name it in ANNOTATOR_KEY_FILE, or use another way in.",
        ),
    ):
        with pytest.raises(Locked) as caught:
            open_vault(folder, **way)
        assert caught.value.message == sentence


@pytest.mark.parametrize("text", ["", "hello", "0000-0000", "U" * 32, "=" * 32, "é" * 32])
def test_what_is_no_recovery_code_says_so(text: str) -> None:
    with pytest.raises(Locked, match="eight groups"):
        slots.read_recovery_code(text)


def test_recovery_codes_are_long_and_differ() -> None:
    codes = {slots.new_recovery_code() for _ in range(50)}
    assert len(codes) == 50
    for code in codes:
        assert [len(group) for group in code.split("-")] == [4] * 8
        assert len(slots.read_recovery_code(code)) == 20


def test_a_key_file_open_to_others_is_refused(tmp_path: Path) -> None:
    create_vault(tmp_path, key_file=tmp_path / "key-file")
    assert (tmp_path / "key-file").stat().st_mode & 0o777 == 0o600
    (tmp_path / "key-file").chmod(0o640)
    with pytest.raises(Locked, match="0600"):
        open_vault(tmp_path, key_file=tmp_path / "key-file")


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"annotator-key-file:2:" + b"00" * 32, b"annotator-key-file:1:zz"]
)
def test_what_is_no_key_file_says_so(tmp_path: Path, content: bytes) -> None:
    create_vault(tmp_path, key_file=tmp_path / "key-file")
    (tmp_path / "key-file").write_bytes(content)
    with pytest.raises(Locked, match="not a key file"):
        open_vault(tmp_path, key_file=tmp_path / "key-file")


def test_the_key_ring_holds_no_secret_in_plain(made: tuple[Path, Vault, str]) -> None:
    folder, _, code = made
    text = (folder / "keys" / "ring.json").read_text()
    secret = (folder / "key-file").read_text().strip().rsplit(":", 1)[1]
    assert secret not in text
    assert code not in text
    assert slots.read_recovery_code(code).hex() not in text
    assert "horse" not in text


def test_a_passphrase_costs_what_rfc_9106_asks(made: tuple[Path, Vault, str]) -> None:
    ring = json.loads((made[0] / "keys" / "ring.json").read_text())
    (slot,) = [slot for slot in ring["slots"] if slot["kind"] == "passphrase"]
    assert (slot["memory_kib"], slot["passes"], slot["lanes"]) == (65_536, 3, 4)
    assert len(bytes.fromhex(slot["salt"])) == 16
