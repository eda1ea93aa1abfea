"""The key ring's file: what it refuses, and that a damaged slot locks only itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.core.errors import AnnotatorError, Conflict, Locked, NotFound, Tampered
from annotator.vault import Vault, create_vault, open_vault

Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture
def ring(vault: Vault, tmp_path: Path) -> Path:
    list(vault.rotate([]))
    return tmp_path / "one" / "keys" / "ring.json"


def edit_ring(ring: Path, edit: Edit) -> None:
    document = json.loads(ring.read_text())
    edit(document)
    ring.write_text(json.dumps(document))


def unlock(ring: Path) -> Vault:
    folder = ring.parent.parent
    return open_vault(folder, key_file=folder / "key-file")


@pytest.mark.parametrize("number", [0, 2, "1", None])
def test_an_unknown_format_is_refused_in_one_sentence(ring: Path, number: object) -> None:
    edit_ring(ring, lambda d: d.update(format=number))
    with pytest.raises(Conflict, match="another format than 1; use a newer version"):
        unlock(ring)


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.update(primary=1),
        lambda d: d.update(primary="2"),
        lambda d: d.update(generation=9),
        lambda d: d.update(more=1),
        lambda d: d.pop("mac"),
        lambda d: d.pop("epochs"),
        lambda d: d["epochs"].pop(),
        lambda d: d["epochs"].reverse(),
        lambda d: d["epochs"][0].update(state="disabled"),
        lambda d: d["epochs"][0].update(wrapped=d["epochs"][1]["wrapped"]),
        lambda d: d["epochs"][0].update(commitment="00" * 32),
        lambda d: d["secrets"].update(log=d["secrets"]["export"]),
        lambda d: d["secrets"].pop("index"),
    ],
)
def test_an_edited_ring_is_refused(ring: Path, edit: Edit) -> None:
    edit_ring(ring, edit)
    with pytest.raises(Tampered):
        unlock(ring)


def test_what_is_no_ring_is_refused(ring: Path) -> None:
    text = ring.read_text()
    for wrong in ("", "[]", "{}", "null", text[:-1], "\x00" + text):
        ring.write_text(wrong)
        with pytest.raises(Tampered):
            unlock(ring)
    ring.unlink()
    with pytest.raises(NotFound):
        unlock(ring)


def test_a_ring_of_another_install_does_not_open(ring: Path, tmp_path: Path) -> None:
    create_vault(tmp_path / "two", key_file=tmp_path / "two" / "key-file")
    ring.write_bytes((tmp_path / "two" / "keys" / "ring.json").read_bytes())
    with pytest.raises(Locked):
        unlock(ring)


def test_a_changed_install_id_does_not_open(ring: Path) -> None:
    edit_ring(ring, lambda d: d.update(install="0" * 32))
    with pytest.raises(Locked):
        unlock(ring)


def test_a_damaged_slot_locks_only_itself(tmp_path: Path) -> None:
    _, code = create_vault(tmp_path, key_file=tmp_path / "key-file")
    ring = tmp_path / "keys" / "ring.json"

    def damage(document: dict[str, Any]) -> None:
        for slot in document["slots"]:
            if slot["kind"] == "key-file":
                slot["wrapped"] = "00" * 49
        document["slots"] += [{}, None, {"kind": "key-file"}, {"kind": "from the future"}]

    edit_ring(ring, damage)
    with pytest.raises(Locked):
        open_vault(tmp_path, key_file=tmp_path / "key-file")
    vault = open_vault(tmp_path, recovery_code=code)
    list(vault.rotate([]))  # a rewrite keeps what this version does not understand
    kinds = [slot and slot.get("kind") for slot in json.loads(ring.read_text())["slots"]]
    assert kinds == ["recovery-code", "key-file", {}, None, "key-file", "from the future"]


def test_every_flipped_bit_is_refused_or_harmless(vault: Vault, tmp_path: Path) -> None:
    """Of slots that are not used, and of blanks, a change may stay unseen, but never matters."""
    ring = tmp_path / "one" / "keys" / "ring.json"
    good = ring.read_bytes()
    public, key = vault.public_key("log"), vault.create_key("anna")
    opened = 0
    for place in range(0, len(good), 3):
        changed = bytearray(good)
        changed[place] ^= 1 << place % 8
        ring.write_bytes(changed)
        try:
            found = unlock(ring)
        except AnnotatorError:
            continue
        opened += 1
        assert found.public_key("log") == public
        assert found.rewrap("anna", key).epoch == 1
    assert opened < len(good) // 3 / 2


def test_a_disabled_epoch_is_locked_not_gone(vault: Vault, ring: Path) -> None:
    """State ``disabled`` is of the format, so a ring that says so must be understood."""
    inner = vault._ring

    def disable(document: dict[str, Any]) -> None:
        document["epochs"][0]["state"] = "disabled"

    inner._change(disable)
    with pytest.raises(Locked, match="disabled"):
        inner.epoch_cipher(1)
    assert inner.epochs == (1, 2)
