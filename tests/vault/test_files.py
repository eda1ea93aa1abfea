"""A disk that fails at any call leaves nothing half done, and a failed fsync is never retried."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from annotator.core.errors import AnnotatorError, StorageFailed, StorageFull, SyncFailed
from annotator.vault import Vault, create_vault, open_vault

FACE = os.urandom(40_000)
ERRORS = [
    (errno.ENOSPC, StorageFull),
    (errno.EDQUOT, StorageFull),
    (errno.EIO, StorageFailed),
    (errno.EROFS, StorageFailed),
]


def open_faulty(tmp_path: Path, disk: Any) -> Vault:
    return open_vault(tmp_path, key_file=tmp_path / "key-file", disk=disk)


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def attempt(change: Any) -> AnnotatorError | None:
    """The error of a change that failed, or nothing."""
    try:
        change()
    except AnnotatorError as error:
        return error
    return None


SYNCS = {"fsync", "fsync_folder"}


def check_retries(calls: list[tuple[str, str]], failed: int) -> None:
    """After a failed fsync no other fsync follows."""
    if calls[failed][0] in SYNCS:
        assert not SYNCS & {name for name, _ in calls[failed + 1 :]}


@pytest.mark.parametrize(("number", "error"), ERRORS)
def test_storing_a_blob_fails_cleanly_at_every_call(
    tmp_path: Path, disk: Any, number: int, error: type[AnnotatorError]
) -> None:
    create_vault(tmp_path, key_file=tmp_path / "key-file")
    vault = open_faulty(tmp_path, disk)
    key = vault.create_key("anna")

    def store() -> str:
        return vault.seal_blob(subject="anna", key=key, kind="crop", data=FACE)

    for call in range(100):
        vault._blobs._durable.clear()
        disk.plan(call, number)
        caught = attempt(store)
        if caught is None:
            break
        name = disk.names()[call]
        check_retries(disk.calls, call)
        disk.heal()
        assert isinstance(caught, SyncFailed if name in SYNCS else error), name
        assert files_below(tmp_path / "blobs") == [], name
        assert list(vault.list_blobs()) == [], name
    assert call >= 10
    disk.heal()
    ((blob, _),) = vault.list_blobs()
    assert vault.open_blob(subject="anna", key=key, kind="crop", blob=blob) == FACE


def test_a_blob_is_synced_before_it_has_its_name(tmp_path: Path, disk: Any) -> None:
    create_vault(tmp_path, key_file=tmp_path / "key-file")
    vault = open_faulty(tmp_path, disk)
    key = vault.create_key("anna")
    disk.calls.clear()
    vault.seal_blob(subject="anna", key=key, kind="crop", data=b"face")
    writing = [name for name in disk.names() if name != "identify"]
    end = ["fsync", "close", "replace", "fsync_folder"]
    assert writing[-len(end) :] == end
    # The new folders, top first, each with the entry in the folder above made durable.
    folders = [name for name in writing if name in {"make_folder", "fsync_folder"}]
    assert folders == ["make_folder", "fsync_folder"] * 2 + ["fsync_folder"]


def test_a_source_that_fails_leaves_nothing(tmp_path: Path) -> None:
    class Broken:
        def __init__(self) -> None:
            self.pieces = [b"some", b"more"]

        def read(self, _: int) -> bytes:
            if self.pieces:
                return self.pieces.pop()
            raise ValueError("the upload stopped")

    vault, _ = create_vault(tmp_path, key_file=tmp_path / "key-file")
    key = vault.create_key("anna")
    broken: Any = Broken()
    with pytest.raises(ValueError, match="stopped"):
        vault.seal_blob(subject="anna", key=key, kind="crop", data=broken)
    assert files_below(tmp_path / "blobs") == []


def test_writes_that_take_only_a_part_go_on(tmp_path: Path, disk: Any) -> None:
    create_vault(tmp_path, key_file=tmp_path / "key-file")
    vault, write = open_faulty(tmp_path, disk), disk.write
    disk.write = lambda descriptor, data: write(descriptor, data[:1000])
    key = vault.create_key("anna")
    blob = vault.seal_blob(subject="anna", key=key, kind="crop", data=FACE)
    assert vault.open_blob(subject="anna", key=key, kind="crop", blob=blob) == FACE


@pytest.mark.parametrize("step", ["rotate", "destroy"])
@pytest.mark.parametrize(("number", "error"), ERRORS[::2])
def test_a_ring_that_cannot_be_rewritten_stays_whole(
    tmp_path: Path, disk: Any, number: int, error: type[AnnotatorError], step: str
) -> None:
    vault, _ = create_vault(tmp_path, key_file=tmp_path / "key-file")
    key = vault.create_key("anna")
    faulty = open_faulty(tmp_path, disk)
    for call in range(200):
        if step == "destroy":
            ((_, key),) = vault.rotate([("anna", key)])
        before = faulty.epoch
        disk.plan(call, number)
        if step == "rotate":
            caught = attempt(lambda: faulty.rotate([]))
        else:
            caught = attempt(lambda old=before - 1: faulty.destroy_epoch(old))
        if caught is None:
            break
        check_retries(disk.calls, call)
        name = disk.names()[call]
        assert isinstance(caught, SyncFailed if name in SYNCS else error), name
        disk.heal()
        # Old or new, never neither; a temporary copy with keys in it is not left behind.
        assert {path.name for path in files_below(tmp_path / "keys")} == {"ring.json", "lock"}
        fresh = open_vault(tmp_path, key_file=tmp_path / "key-file")
        assert fresh.epoch in {before, before + 1}
        assert fresh.rewrap("anna", key).version == 1
        assert faulty.epochs == fresh.epochs
    assert call >= 8


@pytest.mark.parametrize(("number", "error"), ERRORS[::2])
def test_a_vault_is_made_wholly_or_not_at_all(
    tmp_path: Path, disk: Any, number: int, error: type[AnnotatorError]
) -> None:
    for call in range(200):
        folder = tmp_path / str(call)
        disk.plan(call, number)
        caught = attempt(
            lambda place=folder: create_vault(place, key_file=place / "key-file", disk=disk)
        )
        if caught is None:
            break
        name = disk.names()[call]
        assert isinstance(caught, SyncFailed if name in SYNCS else error), name
        assert [path.name for path in files_below(folder)] in ([], ["lock"]), disk.calls[call]
        disk.heal()
        create_vault(folder, key_file=folder / "key-file")
    assert call >= 15


def test_a_disk_that_cannot_be_read_is_no_tampering(tmp_path: Path, disk: Any) -> None:
    create_vault(tmp_path, key_file=tmp_path / "key-file")
    vault = open_faulty(tmp_path, disk)
    key = vault.create_key("anna")
    blob = vault.seal_blob(subject="anna", key=key, kind="crop", data=FACE)
    for call in range(50):
        disk.plan(call, errno.EIO)
        name = {"subject": "anna", "key": key, "kind": "crop", "blob": blob}
        caught = attempt(lambda name=name: vault.open_blob(**name))
        if caught is None:
            break
        assert isinstance(caught, StorageFailed), disk.calls[call]
    assert call >= 4
