"""The power goes at every call of every operation, and every disk that may be found then is sound.

See ``simulated_disk``: what was not synced may be dropped, torn and out of order.
"""

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from annotator.core.errors import KeyDestroyed, StorageFailed, StorageFull, SyncFailed
from annotator.vault import Vault, WrappedKey, create_vault, open_vault
from annotator.vault.files import TEMPORARY, Disk, write_durably
from tests.vault.simulated_disk import (
    FOLDER,
    KEY_FILE,
    SimulatedDisk,
    crash_points,
    failure_points,
)

FACE = os.urandom(20_000)
LATER = 4e9  # a time in the future: every temporary file is older


def opened(disk: SimulatedDisk) -> Vault:
    return open_vault(FOLDER, key_file=KEY_FILE, disk=disk)


@pytest.fixture
def disk() -> SimulatedDisk:
    disk = SimulatedDisk()
    create_vault(FOLDER, key_file=KEY_FILE, disk=disk)
    return disk


def load(vault: Vault, key: WrappedKey, blob: str) -> bytes:
    return vault.open_blob(subject="anna", key=key, kind="crop", blob=blob)


def store(vault: Vault, key: WrappedKey, data: bytes = FACE) -> str:
    return vault.seal_blob(subject="anna", key=key, kind="crop", data=data)


def check_leftovers(disk: SimulatedDisk, vault: Vault, blobs: set[str]) -> None:
    """Beside the blobs there is nothing but temporary files, and they can be swept."""
    vault.delete_unfinished(before=LATER)
    left = {path for path in disk.files() if "blobs" in path.parts}
    assert {path.name for path in left} == blobs


@pytest.mark.parametrize("folders", ["new", "known"])
def test_storing_a_blob(disk: SimulatedDisk, folders: str, monkeypatch: Any) -> None:
    before = opened(disk)
    key = before.create_key("anna")
    ids = iter(["abc" + "1" * 29] if folders == "known" else [])
    monkeypatch.setattr("annotator.vault.vault.new_blob_id", lambda: next(ids))
    old = {store(before, key, b"an older face") for _ in range(folders == "known")}
    ids = (f"abc{number:029x}" for number in itertools.count(2**64))  # all in one folder
    states = points = 0
    for point in crash_points(disk, lambda d: store(opened(d), key)):
        points += 1
        for woken in point.wakings():
            states += 1
            vault = opened(woken)
            found = {name for name, _ in vault.list_blobs()}
            assert found >= old | set(point.answered)
            for blob in found - old:  # whole, acknowledged or not
                assert load(vault, key, blob) == FACE
            for blob in old:
                assert load(vault, key, blob) == b"an older face"
            check_leftovers(woken, vault, found)
            assert load(vault, key, store(vault, key, b"next")) == b"next"
    assert points > 15
    assert states > 40


def test_deleting_a_blob(disk: SimulatedDisk) -> None:
    before = opened(disk)
    key = before.create_key("anna")
    kept, gone = store(before, key), store(before, key)
    for point in crash_points(disk, lambda d: opened(d).delete_blob(gone)):
        for woken in point.wakings():
            vault = opened(woken)
            assert load(vault, key, kept) == FACE
            found = {name for name, _ in vault.list_blobs()}
            assert found == {kept} if point.answered else found in ({kept}, {kept, gone})
            if gone in found:
                assert load(vault, key, gone) == FACE
            check_leftovers(woken, vault, found)


def test_adding_an_epoch(disk: SimulatedDisk) -> None:
    before = opened(disk)
    key = before.create_key("anna")
    blob = store(before, key)

    def rotate(d: SimulatedDisk) -> WrappedKey:
        ((_, moved),) = opened(d).rotate([("anna", key)])
        return moved

    for point in crash_points(disk, rotate):
        for woken in point.wakings():
            vault = opened(woken)
            assert vault.epochs in ((1,), (1, 2))
            assert load(vault, key, blob) == FACE  # the row with the old key is still there
            for moved in point.answered:
                assert isinstance(moved, WrappedKey)
                assert vault.epochs == (1, 2)
                assert load(vault, moved, blob) == FACE
            list(vault.rotate([]))
            assert load(vault, vault.rewrap("anna", key), blob) == FACE


def test_destroying_an_epoch(disk: SimulatedDisk) -> None:
    before = opened(disk)
    key = before.create_key("anna")
    blob = store(before, key)
    ((_, moved),) = before.rotate([("anna", key)])
    (secret,) = [e["wrapped"] for e in before._ring._state.document["epochs"] if e["epoch"] == 1]
    for point in crash_points(disk, lambda d: opened(d).destroy_epoch(1)):
        for woken in point.wakings():
            vault = opened(woken)
            assert load(vault, moved, blob) == FACE
            holds = [p for p, data in woken.files().items() if secret.encode() in data]
            if point.answered:
                assert (vault.epochs, holds) == ((2,), [])
            elif vault.epochs == (2,):
                assert holds == []
            if vault.epochs == (2,):
                with pytest.raises(KeyDestroyed):
                    load(vault, key, blob)
            else:
                vault.destroy_epoch(1)
                assert vault.epochs == (2,)


def test_rewriting_the_ring_in_another_way(disk: SimulatedDisk) -> None:
    """As a slot that is added or removed does: the ring is the old one or the new one."""

    def add(document: dict[str, Any]) -> None:
        document["slots"].append({"kind": "from the future"})

    def rewrite(d: SimulatedDisk) -> int:
        opened(d)._ring._change(add)
        return 2

    key = opened(disk).create_key("anna")
    for point in crash_points(disk, rewrite):
        for woken in point.wakings():
            vault = opened(woken)
            assert vault.rewrap("anna", key).epoch == 1
            slots = len(vault._ring._state.document["slots"])
            before = len(opened(disk)._ring._state.document["slots"])
            assert slots - before in ({1} if point.answered else {0, 1})
            assert vault._ring.generation == slots - before


def test_an_epoch_stays_destroyed_through_a_crash_before_and_one_after(
    disk: SimulatedDisk,
) -> None:
    """A rotation that died must leave no copy of the old key that outlives its destruction."""
    (secret,) = [e["wrapped"] for e in opened(disk)._ring._state.document["epochs"]]

    def withdraw(d: SimulatedDisk) -> int:
        vault = opened(d)
        list(vault.rotate([]))
        for epoch in vault.epochs[:-1]:
            vault.destroy_epoch(epoch)
        return vault.epoch

    ends = 0
    for first in crash_points(disk, withdraw):
        for woken in first.wakings():
            withdraw(woken)
            for second in woken.wakings():
                ends += 1
                assert [p for p, data in second.files().items() if secret.encode() in data] == []
                assert 1 not in opened(second).epochs
    assert ends > 50


def test_making_a_vault() -> None:
    def make(d: SimulatedDisk) -> str:
        return create_vault(FOLDER, key_file=KEY_FILE, disk=d)[1]

    for point in crash_points(SimulatedDisk(), make):
        for woken in point.wakings():
            if point.answered:
                (code,) = point.answered
                assert opened(woken).install
                assert open_vault(FOLDER, recovery_code=str(code), disk=woken).install
                continue
            # A ring that is there opens by the key file that is there; without one, start again.
            if FOLDER / "keys" / "ring.json" in woken.files():
                vault = opened(woken)
                key = vault.create_key("anna")
                assert load(vault, key, store(vault, key)) == FACE
            else:
                create_vault(FOLDER, key_file=FOLDER / "another-key-file", disk=woken)


# Errors of the disk in place of the power


OPERATIONS: dict[str, Callable[[Vault, WrappedKey, str], Any]] = {
    "store": lambda vault, key, _: store(vault, key),
    "archive": lambda vault, _, __: vault.store_archive(purpose="export", data=FACE),
    "delete": lambda vault, _, blob: vault.delete_blob(blob),
    "open": load,
    "stream": lambda vault, key, blob: b"".join(
        vault.stream_blob(subject="anna", key=key, kind="crop", blob=blob)
    ),
    "list": lambda vault, _, __: list(vault.list_blobs()),
    "sweep": lambda vault, _, __: vault.delete_unfinished(before=LATER),
    "rotate": lambda vault, key, _: list(vault.rotate([("anna", key)])),
    "destroy": lambda vault, _, __: vault.destroy_epoch(1),
    "new key": lambda vault, _, __: vault.create_key("bert"),
    "field": lambda vault, key, _: vault.seal_field(
        subject="anna", key=key, table="t", column="c", row="1", text="x"
    ),
    "index": lambda vault, _, __: vault.blind_index("e-mail", "a@example.org"),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_every_call_of_every_operation_may_fail(name: str, number: int) -> None:
    disk = SimulatedDisk()
    before, _ = create_vault(FOLDER, key_file=KEY_FILE, disk=disk)
    key = before.create_key("anna")
    blob = store(before, key)
    list(before.rotate([]))
    left = FOLDER / "blobs" / blob[:2] / blob[2] / (TEMPORARY + "0" * 32)
    disk.close(disk.create(left))
    expected = StorageFull if number == errno.ENOSPC else StorageFailed

    def operate(d: SimulatedDisk) -> None:
        OPERATIONS[name](opened(d), key, blob)

    for after, call, caught in failure_points(disk, operate, number):
        synced = call in {"fsync", "fsync_folder"}
        assert caught is None or isinstance(caught, SyncFailed if synced else expected), call
        assert after.broken == synced
        after.restart_counting()
        vault = opened(after)
        if synced:
            check_that_nothing_is_written(after, vault, blob)
        found = {each for each, _ in vault.list_blobs()}
        assert found - {blob} == set() or (caught is None and len(found) == 2)
        if blob in found and 1 in vault.epochs:
            assert load(vault, key, blob) == FACE


def check_that_nothing_is_written(disk: SimulatedDisk, vault: Vault, blob: str) -> None:
    """After a failed fsync, what is there can be read, and every write is refused at once."""
    before, key = disk.files(), vault.create_key("anna")
    for name in ("store", "archive", "delete", "rotate", "destroy"):
        with pytest.raises(SyncFailed, match="restarted"):
            OPERATIONS[name](vault, key, blob)
    assert disk.files() == before
    assert not {"create", "write", "fsync", "fsync_folder", "remove"} & {c for c, _ in disk.calls}


# The double finds what it should


def _no_fsync(disk: Disk, path: Path) -> None:
    descriptor = disk.create(path.with_name("tmp-x"))
    disk.write(descriptor, b"new")
    disk.close(descriptor)
    disk.replace(path.with_name("tmp-x"), path)
    disk.fsync_folder(path.parent)


def _no_folder_fsync(disk: Disk, path: Path) -> None:
    descriptor = disk.create(path.with_name("tmp-x"))
    disk.write(descriptor, b"new")
    disk.fsync(descriptor)
    disk.close(descriptor)
    disk.replace(path.with_name("tmp-x"), path)


def _in_place(disk: Disk, path: Path) -> None:
    descriptor = disk.create(path)
    disk.write(descriptor, b"new")
    disk.fsync(descriptor)
    disk.close(descriptor)
    disk.fsync_folder(path.parent)


def _as_we_do(disk: Disk, path: Path) -> None:
    write_durably(disk, path, [b"new"])


def _verdicts(write: Callable[[Disk, Path], None]) -> Iterator[bool]:
    disk, path = SimulatedDisk(), FOLDER / "file"
    write_durably(disk, path, [b"old"])
    for point in crash_points(disk, lambda d: write(d, path)):
        for woken in point.wakings():
            found = woken.files().get(path)
            yield found == b"new" if point.answered else found in {b"old", b"new"}


@pytest.mark.parametrize(
    ("write", "sound"),
    [(_as_we_do, True), (_no_fsync, False), (_no_folder_fsync, False), (_in_place, False)],
)
def test_the_double_tells_sound_writers_from_others(
    write: Callable[[Disk, Path], None], *, sound: bool
) -> None:
    assert all(_verdicts(write)) == sound


def test_a_failed_fsync_loses_the_bytes_though_the_next_one_says_yes() -> None:
    disk, path = SimulatedDisk(), FOLDER / "file"
    descriptor = disk.create(path)
    disk.fsync_folder(FOLDER)
    disk.write(descriptor, b"face")
    disk.restart_counting(fail_at=0)
    with pytest.raises(OSError, match="error"):
        disk.fsync(descriptor)
    disk.fsync(descriptor)
    assert disk.files() == {path: b"face"}
    assert [woken.files() for woken in disk.wakings()] == [{path: b""}]
