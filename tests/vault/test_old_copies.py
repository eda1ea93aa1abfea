"""A thief with copies: every pair of a key ring and a row of before or after, and a way in."""

import shutil
from pathlib import Path

import pytest

from annotator.core.errors import AnnotatorError, KeyDestroyed, Locked, Tampered
from annotator.vault import Keyholder, WrappedKey, collect_ways, create_vault, open_vault

FACE = b"face" * 1000


def look(ring: Path, blobs: Path, key_file: Path, key: WrappedKey, blob: str) -> str:
    """What comes of it: ``opens``, or the name of the refusal."""
    try:
        vault = open_vault(ring, blobs=blobs, key_file=key_file)
        data = vault.open_blob(subject="anna", key=key, kind="crop", blob=blob)
    except AnnotatorError as error:
        return type(error).__name__
    assert data == FACE
    return "opens"


def test_after_a_new_epoch(tmp_path: Path) -> None:
    """Old ring with old rows open what they opened then: the key of the person is the same."""
    now, key_file = tmp_path / "now", tmp_path / "key-file"
    vault, _ = create_vault(now, key_file=key_file)
    old = vault.create_key("anna")
    blob = vault.seal_blob(subject="anna", key=old, kind="crop", data=FACE)
    shutil.copytree(now / "keys", tmp_path / "then" / "keys")
    ((_, new),) = vault.rotate([("anna", old)])
    middle = tmp_path / "middle"
    shutil.copytree(now / "keys", middle / "keys")  # between the commit and the destruction
    vault.destroy_epoch(1)
    blobs = now / "blobs"
    assert {
        (ring.name, name): look(ring, blobs, key_file, key, blob)
        for ring in (tmp_path / "then", middle, now)
        for name, key in (("old row", old), ("new row", new))
    } == {
        ("then", "old row"): "opens",
        ("then", "new row"): Tampered.__name__,
        ("middle", "old row"): "opens",
        ("middle", "new row"): "opens",
        ("now", "old row"): KeyDestroyed.__name__,
        ("now", "new row"): "opens",
    }


def test_after_a_new_key_for_the_person(tmp_path: Path) -> None:
    """Sealed again, the file that is left opens for no pair of before."""
    now, key_file = tmp_path / "now", tmp_path / "key-file"
    vault, _ = create_vault(now, key_file=key_file)
    old = vault.create_key("anna")
    first = vault.seal_blob(subject="anna", key=old, kind="crop", data=FACE)
    shutil.copytree(now / "keys", tmp_path / "then" / "keys")
    coming = vault.create_key("anna", 2)
    both = vault.restore_key(coming.wrapped, coming.epoch, coming.version, old)
    blob = vault.reseal_blob(subject="anna", key=both, kind="crop", blob=first)
    assert not vault.opens_blob(subject="anna", key=both, kind="crop", blob=first)
    assert vault.opens_blob(subject="anna", key=both, kind="crop", blob=blob)
    for each in (first, blob):  # meanwhile both open
        assert vault.open_blob(subject="anna", key=both, kind="crop", blob=each) == FACE
        pieces = vault.stream_blob(subject="anna", key=both, kind="crop", blob=each)
        assert b"".join(pieces) == FACE
    vault.delete_blob(first)
    ((_, new),) = vault.rotate([("anna", coming)])
    vault.destroy_epoch(1)
    blobs = now / "blobs"
    told = {
        (ring.name, name): look(ring, blobs, key_file, key, blob)
        for ring in (tmp_path / "then", now)
        for name, key in (("old row", old), ("middle row", coming), ("new row", new))
    }
    assert told == {
        ("then", "old row"): Tampered.__name__,
        # A row from between, wrapped under the epoch of the old ring: until both are gone, the
        # new epoch that follows is what makes it worthless with the present ring.
        ("then", "middle row"): "opens",
        ("then", "new row"): Tampered.__name__,
        ("now", "old row"): KeyDestroyed.__name__,
        ("now", "middle row"): KeyDestroyed.__name__,
        ("now", "new row"): "opens",
    }


def test_the_old_field_key_opens_no_field_that_was_sealed_again(tmp_path: Path) -> None:
    vault, _ = create_vault(tmp_path / "now", key_file=tmp_path / "key-file")
    old, coming = vault.create_key("anna"), vault.create_key("anna", 2)
    both = vault.restore_key(coming.wrapped, coming.epoch, coming.version, old)
    cell = {"subject": "anna", "table": "t", "column": "c", "row": "1"}
    before = vault.seal_field(**cell, key=old, text="Anna")
    after = vault.seal_field(**cell, key=both, text="Anna")
    for sealed in (before, after):
        assert vault.open_field(**cell, key=both, sealed=sealed) == "Anna"
    with pytest.raises(Tampered):
        vault.open_field(**cell, key=old, sealed=after)
    with pytest.raises(Tampered):
        vault.open_field(**cell, key=coming, sealed=before)
    for damaged in (b"", after[:-1] + bytes([after[-1] ^ 1])):
        with pytest.raises(Tampered):
            vault.open_field(**cell, key=both, sealed=damaged)


def test_after_a_new_root_key_and_a_new_epoch(tmp_path: Path) -> None:
    """A leaked passphrase and an old ring give the old root key, which opens no ring since."""
    now, key_file = tmp_path / "now", tmp_path / "key-file"
    vault, _ = create_vault(now, passphrase="leaked since long ago", key_file=key_file)
    old = vault.create_key("anna")
    blob = vault.seal_blob(subject="anna", key=old, kind="crop", data=FACE)
    shutil.copytree(now / "keys", tmp_path / "then" / "keys")
    Keyholder(now, ways=collect_ways(key_file=key_file)).renew_root()
    with pytest.raises(Locked):
        open_vault(now, passphrase="leaked since long ago")
    vault = open_vault(now, key_file=key_file)
    ((_, new),) = vault.rotate([("anna", old)])
    vault.destroy_epoch(1)
    then = open_vault(tmp_path / "then", blobs=now / "blobs", passphrase="leaked since long ago")
    with pytest.raises(Tampered):
        then.open_blob(subject="anna", key=new, kind="crop", blob=blob)
    assert look(now, now / "blobs", key_file, new, blob) == "opens"
    assert look(now, now / "blobs", key_file, old, blob) == KeyDestroyed.__name__
