"""The vault through its public door: what opens, and everything that must not."""

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotator.core.errors import (
    Conflict,
    InvalidInput,
    KeyDestroyed,
    Locked,
    NotFound,
    Tampered,
)
from annotator.vault import Vault, WrappedKey, create_vault, open_vault, verify_signature
from annotator.vault.subject_keys import _CACHE_SIZE

FACE = os.urandom(20_000)
Make = Callable[[str], Vault]


def store(vault: Vault, key: WrappedKey, /, **changes: Any) -> str:
    return vault.seal_blob(
        **{"subject": "anna", "key": key, "kind": "crop", "data": FACE} | changes
    )


def load(vault: Vault, key: WrappedKey, blob: str, /, **changes: Any) -> bytes:
    return vault.open_blob(
        **{"subject": "anna", "key": key, "kind": "crop", "blob": blob} | changes
    )


def stream(vault: Vault, key: WrappedKey, blob: str, /, **changes: Any) -> Iterator[bytes]:
    wanted = {"subject": "anna", "key": key, "kind": "crop", "blob": blob} | changes
    return vault.stream_blob(**wanted)


def blob_path(folder: Path, blob: str) -> Path:
    (path,) = folder.rglob(blob)
    return path


def reopen(tmp_path: Path, name: str = "one") -> Vault:
    return open_vault(tmp_path / name, key_file=tmp_path / name / "key-file")


@pytest.mark.parametrize("size", [0, 1, 2000, 16_384, 131_072, 131_073, 300_000])
def test_a_blob_comes_back_from_bytes_and_from_a_file(vault: Vault, size: int) -> None:
    data, key = os.urandom(size), vault.create_key("anna")
    for source in (data, io.BytesIO(data)):
        blob = store(vault, key, data=source)
        assert load(vault, key, blob) == data
        assert b"".join(stream(vault, key, blob)) == data


def test_a_blob_survives_reopening(vault: Vault, tmp_path: Path) -> None:
    key = vault.create_key("anna")
    blob = store(vault, key)
    assert load(reopen(tmp_path), key, blob) == FACE


def test_no_plaintext_on_disk(vault: Vault, tmp_path: Path) -> None:
    key, canary = vault.create_key("anna"), b"a canary that sings" * 100
    blob = store(vault, key, data=canary)
    sealed = vault.seal_field(
        subject="anna", key=key, table="t", column="c", row="1", text=canary.decode()
    )
    assert b"canary" not in sealed
    assert blob_path(tmp_path, blob).exists()
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"canary" not in path.read_bytes()


def test_files_are_for_their_owner_alone(vault: Vault, tmp_path: Path) -> None:
    store(vault, vault.create_key("anna"))
    for path in tmp_path.rglob("*"):
        if "keys" in path.parts or "blobs" in path.parts or path.name == "key-file":
            assert path.stat().st_mode & 0o077 == 0, path


def test_a_blob_opens_only_under_its_own_name(vault: Vault) -> None:
    key, other = vault.create_key("anna"), vault.create_key("anna")
    blob = store(vault, key)
    for changes in ({"kind": "original"}, {"revision": 2}, {"subject": "bert"}, {"key": other}):
        with pytest.raises(Tampered):
            load(vault, key, blob, **changes)


def test_the_vaults_keys_do_not_fit_each_other(make_vault: Make) -> None:
    one, two = make_vault("one"), make_vault("two")
    key = one.create_key("anna")
    with pytest.raises(Tampered):
        store(two, key)
    with pytest.raises(Tampered):
        two.open_bytes(purpose="p", sealed=one.seal_bytes(purpose="p", data=b"data"))


@pytest.mark.parametrize("length", [0, 1, 30, 57, 60, 16_457, 20_000])
def test_a_truncated_blob_is_found(vault: Vault, tmp_path: Path, length: int) -> None:
    key = vault.create_key("anna")
    blob = store(vault, key)
    path = blob_path(tmp_path, blob)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(Tampered):
        load(vault, key, blob)
    with pytest.raises(Tampered):
        b"".join(stream(vault, key, blob))


def test_a_stream_that_is_cut_late_still_fails(vault: Vault, tmp_path: Path) -> None:
    key = vault.create_key("anna")
    blob = store(vault, key, data=bytes(400_000))
    path = blob_path(tmp_path, blob)
    path.write_bytes(path.read_bytes()[:-1])
    pieces = stream(vault, key, blob)
    next(pieces)
    with pytest.raises(Tampered):
        list(pieces)


def test_missing_blobs_and_strange_names_are_not_found(vault: Vault) -> None:
    key = vault.create_key("anna")
    blob = store(vault, key)
    for name in (
        "0" * 32,
        "",
        "../../keys/ring.json",
        blob.upper() + "x",
        "/etc/passwd",
        blob[:-1],
    ):
        with pytest.raises(NotFound):
            load(vault, key, name)
        with pytest.raises(NotFound):
            stream(vault, key, name)


def test_delete_is_idempotent_and_listing_follows(vault: Vault) -> None:
    key = vault.create_key("anna")
    kept, gone = store(vault, key), store(vault, key)
    assert {name for name, _ in vault.list_blobs()} == {kept, gone}
    assert all(abs(time.time() - at) < 60 for _, at in vault.list_blobs())
    vault.delete_blob(gone)
    vault.delete_blob(gone)
    assert [name for name, _ in vault.list_blobs()] == [kept]
    with pytest.raises(NotFound):
        load(vault, key, gone)


def test_unfinished_files_are_not_listed_and_can_be_swept(vault: Vault, tmp_path: Path) -> None:
    blob = store(vault, vault.create_key("anna"))
    left = blob_path(tmp_path, blob).with_name("tmp-" + "0" * 32)
    left.write_bytes(b"half")
    assert [name for name, _ in vault.list_blobs()] == [blob]
    assert vault.delete_unfinished(before=time.time() - 3600) == 0
    assert vault.delete_unfinished(before=time.time() + 1) == 1
    assert not left.exists()


def test_a_part_of_a_blob_and_of_an_archive(vault: Vault) -> None:
    data, key = os.urandom(300_000), vault.create_key("anna")
    blob, archive = store(vault, key, data=data), vault.store_archive(purpose="export", data=data)
    assert vault.measure_archive(blob=archive) == len(data)
    for start, stop in ((0, 10), (0, None), (5, None), (131_072, 131_073), (290_000, 400_000)):
        part = data[start:stop]
        assert b"".join(stream(vault, key, blob, start=start, stop=stop)) == part
        opened = vault.open_archive(purpose="export", blob=archive, start=start, stop=stop)
        assert b"".join(opened) == part
    assert b"".join(stream(vault, key, blob, start=300_000, stop=300_001)) == b""
    with pytest.raises(NotFound):
        vault.measure_archive(blob="0" * 32)


WALK = """
import io, resource, sys, tracemalloc
from pathlib import Path
from annotator.vault import create_vault

class Endless(io.RawIOBase):
    def __init__(self, left):
        self.left = left
    def read(self, size=-1):
        count = min(size, self.left)
        self.left -= count
        return bytes(count)

vault, _ = create_vault(Path(sys.argv[1]), key_file=Path(sys.argv[1], "key-file"))
key, name = vault.create_key("anna"), {"subject": "anna", "kind": "crop"}
for size in (1_000_000, 60_000_000):
    tracemalloc.start()
    blob = vault.seal_blob(**name, key=key, data=Endless(size))
    assert sum(map(len, vault.stream_blob(**name, key=key, blob=blob))) == size
    assert sum(map(len, vault.stream_blob(**name, key=key, blob=blob, start=1))) == size - 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(peak, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_memory_does_not_grow_with_the_blob(tmp_path: Path) -> None:
    """In a process of its own: what Python counts, and what is resident."""
    told = subprocess.run(
        [sys.executable, "-c", WALK, tmp_path],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    ).stdout
    small, large = (tuple(map(int, line.split())) for line in told.splitlines())
    assert large[0] < 2_000_000
    assert large[1] < small[1] + 2_000_000


CELL = {"table": "subject", "column": "name", "row": "7"}


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(max_size=100), place=st.integers(0), bit=st.integers(0, 7))
def test_a_field_comes_back_and_no_bit_may_flip(
    vault: Vault, text: str, place: int, bit: int
) -> None:
    key = vault.create_key("anna")
    sealed = vault.seal_field(subject="anna", key=key, **CELL, text=text)
    assert vault.open_field(subject="anna", key=key, **CELL, sealed=sealed) == text
    assert len(sealed) == len(text.encode()) + 17
    changed = bytearray(sealed)
    changed[place % len(changed)] ^= 1 << bit
    with pytest.raises(Tampered):
        vault.open_field(subject="anna", key=key, **CELL, sealed=bytes(changed))


@pytest.mark.parametrize("part", ["table", "column", "row"])
def test_a_field_opens_in_its_own_cell_only(vault: Vault, part: str) -> None:
    anna, bert = vault.create_key("anna"), vault.create_key("bert")
    sealed = vault.seal_field(subject="anna", key=anna, **CELL, text="Anna")
    with pytest.raises(Tampered):
        vault.open_field(subject="anna", key=anna, **CELL | {part: "x"}, sealed=sealed)
    with pytest.raises(Tampered):
        vault.open_field(subject="bert", key=bert, **CELL, sealed=sealed)
    with pytest.raises(Tampered):
        vault.open_field(subject="anna", key=anna, **CELL, sealed=b"")


def test_bytes_of_the_installation(vault: Vault, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    sealed = vault.seal_bytes(purpose="model", data=data)
    assert reopen(tmp_path).open_bytes(purpose="model", sealed=sealed) == data
    list(vault.rotate([]))
    vault.destroy_epoch(1)
    assert vault.open_bytes(purpose="model", sealed=sealed) == data
    with pytest.raises(Tampered):
        vault.open_bytes(purpose="note", sealed=sealed)
    with pytest.raises(Tampered):
        vault.open_bytes(purpose="model", sealed=b"")


def test_archives_of_the_installation(vault: Vault, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    one = vault.store_archive(purpose="export", data=io.BytesIO(data))
    two = vault.store_archive(purpose="export", data=b"")
    again = reopen(tmp_path)
    assert b"".join(again.open_archive(purpose="export", blob=one)) == data
    assert b"".join(again.open_archive(purpose="export", blob=two)) == b""
    with pytest.raises(Tampered):
        vault.open_archive(purpose="model", blob=one)
    blob_path(tmp_path, two).write_bytes(blob_path(tmp_path, one).read_bytes())
    with pytest.raises(Tampered):
        vault.open_archive(purpose="export", blob=two)
    with pytest.raises(NotFound):
        vault.open_archive(purpose="export", blob="0" * 32)


def test_a_key_comes_back_from_its_columns(vault: Vault) -> None:
    key = vault.create_key("anna")
    assert vault.restore_key(key.wrapped, key.epoch, key.version) == key


def test_blind_index(make_vault: Make) -> None:
    one, two = make_vault("one"), make_vault("two")
    index = one.blind_index("e-mail", "a@example.org")
    assert len(index) == 32
    assert index == one.blind_index("e-mail", b"a@example.org")
    assert index != one.blind_index("upload", "a@example.org")
    assert index != two.blind_index("e-mail", "a@example.org")
    assert one.blind_index("ab", "c") != one.blind_index("a", "bc")


def test_signatures(vault: Vault, tmp_path: Path) -> None:
    signature = vault.sign("log", b"checkpoint")
    public = reopen(tmp_path).public_key("log")
    assert len(public) == 32
    assert verify_signature(public, b"checkpoint", signature)
    assert not verify_signature(public, b"checkpoinu", signature)
    assert not verify_signature(vault.public_key("export"), b"checkpoint", signature)
    with pytest.raises(InvalidInput):
        vault.sign("anything", b"")


def test_a_subjects_key_is_bound_to_everything_beside_it(vault: Vault) -> None:
    key = vault.create_key("anna")
    flip = bytearray(key.wrapped)
    flip[-1] ^= 1
    list(vault.rotate([]))
    for wrong in (
        replace(key, version=2),
        replace(key, epoch=2),
        replace(key, epoch=3),
        replace(key, epoch=0),
        replace(key, wrapped=bytes(flip)),
        replace(key, wrapped=b""),
        replace(key, wrapped=b"\x02" + key.wrapped[1:]),
    ):
        with pytest.raises(Tampered):
            store(vault, wrong)
    with pytest.raises(Tampered):
        store(vault, key, subject="bert")


def test_rotation_and_destruction(vault: Vault, tmp_path: Path) -> None:
    keys = {name: vault.create_key(name) for name in ("anna", "bert", "cleo")}
    blobs = {name: store(vault, key, subject=name) for name, key in keys.items()}
    assert vault.epoch == 1

    moved = dict(vault.rotate((name, keys[name]) for name in ("anna", "bert")))

    assert (vault.epoch, vault.epochs) == (2, (1, 2))
    assert all(key.epoch == 2 and key.version == 1 for key in moved.values())
    for name, key in moved.items():  # until the old epoch goes, both open
        assert load(vault, keys[name], blobs[name], subject=name) == FACE
        assert load(vault, key, blobs[name], subject=name) == FACE

    vault.destroy_epoch(1)
    vault.destroy_epoch(1)

    assert vault.epochs == (2,)
    for each in (vault, reopen(tmp_path)):
        for name, key in keys.items():
            with pytest.raises(KeyDestroyed):
                load(each, key, blobs[name], subject=name)
        for name, key in moved.items():
            assert load(each, key, blobs[name], subject=name) == FACE
    assert vault.create_key("dora").epoch == 2


def test_an_epoch_in_use_cannot_be_destroyed(vault: Vault) -> None:
    for epoch in (1, 2, 0, -1):
        with pytest.raises(Conflict):
            vault.destroy_epoch(epoch)
    assert vault.epochs == (1,)


def test_rotation_is_lazy_but_its_epoch_is_not(vault: Vault) -> None:
    taken: list[str] = []

    def rows() -> Iterator[tuple[str, WrappedKey]]:
        for name in ("anna", "bert"):
            taken.append(name)
            yield name, vault.create_key(name)

    moving = vault.rotate(rows())
    assert (vault.epoch, taken) == (2, [])
    next(moving)
    assert taken == ["anna"]


def test_a_damaged_key_stops_a_rotation_and_the_others_can_go_on(vault: Vault) -> None:
    good, bad = vault.create_key("anna"), vault.create_key("bert")
    damaged = replace(bad, wrapped=bytes(49))
    with pytest.raises(Tampered):
        list(vault.rotate([("bert", damaged), ("anna", good)]))
    assert vault.rewrap("anna", good).epoch == 2


def test_an_old_key_ring_opens_nothing_that_was_wrapped_anew(vault: Vault, tmp_path: Path) -> None:
    key = vault.create_key("anna")
    blob = store(vault, key)
    ring = tmp_path / "one" / "keys" / "ring.json"
    old = ring.read_bytes()
    ((_, moved),) = vault.rotate([("anna", key)])
    ring.write_bytes(old)
    with pytest.raises(Tampered, match="epoch"):
        load(reopen(tmp_path), moved, blob)
    with pytest.raises(Tampered, match="older"):
        load(vault, moved, blob)  # and a running vault sees that its ring went back


def test_two_open_vaults_follow_each_other(vault: Vault, tmp_path: Path) -> None:
    web, worker = vault, reopen(tmp_path)
    key = web.create_key("anna")
    blob = store(web, key)
    assert load(web, key, blob) == FACE  # now in the cache of the web process

    ((_, moved),) = worker.rotate([("anna", key)])

    assert web.epoch == 2
    assert load(web, moved, blob) == FACE
    assert web.create_key("bert").epoch == 2
    worker.destroy_epoch(1)
    with pytest.raises(KeyDestroyed):
        load(web, key, blob)  # at once, in spite of the cache
    list(web.rotate([]))
    assert worker.epoch == 3


def test_threads_and_vaults_share_one_ring(vault: Vault, tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def work(each: Vault, name: str) -> None:
        try:
            for _ in range(5):
                key = each.create_key(name)
                ((_, key),) = each.rotate([(name, key)])
                blob = each.seal_blob(subject=name, key=key, kind="crop", data=FACE)
                assert each.open_blob(subject=name, key=key, kind="crop", blob=blob) == FACE
        except BaseException as error:  # noqa: BLE001  told by the main thread
            failures.append(error)

    other = reopen(tmp_path)
    threads = [
        threading.Thread(target=work, args=(each, f"{place}-{i}"))
        for i in range(2)
        for place, each in enumerate((vault, other))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert vault.epoch == 21
    assert vault.epochs == tuple(range(1, 22))


def test_the_cache_is_bounded(vault: Vault) -> None:
    for i in range(_CACHE_SIZE + 20):
        name = str(i)
        vault.seal_field(subject=name, key=vault.create_key(name), **CELL, text="x")
    assert len(vault._keys._cache) == _CACHE_SIZE


def test_the_cache_forgets(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    key = vault.create_key("anna")
    sealed = vault.seal_field(subject="anna", key=key, **CELL, text="x")
    monkeypatch.setattr("annotator.vault.subject_keys._CACHE_SECONDS", 0.0)
    opened: list[object] = []
    unwrap = vault._keys._unwrap
    monkeypatch.setattr(vault._keys, "_unwrap", lambda *args: opened.append(args) or unwrap(*args))
    vault.open_field(subject="anna", key=key, **CELL, sealed=sealed)
    assert len(opened) == 1


def test_keys_that_nobody_asks_for_are_dropped_with_the_next_one(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("anna", "bert"):
        vault.seal_field(subject=name, key=vault.create_key(name), **CELL, text="x")
    assert len(vault._keys._cache) == 2
    monkeypatch.setattr("annotator.vault.subject_keys._CACHE_SECONDS", 0.0)
    vault.seal_field(subject="cleo", key=vault.create_key("cleo"), **CELL, text="x")
    assert [name for name, _ in vault._keys._cache] == ["cleo"]


def test_blobs_may_lie_elsewhere(tmp_path: Path) -> None:
    vault, _ = create_vault(tmp_path / "a", blobs=tmp_path / "b", key_file=tmp_path / "k")
    blob = store(vault, vault.create_key("anna"))
    assert blob_path(tmp_path / "b", blob).exists()
    assert not (tmp_path / "a" / "blobs").exists()


def test_a_vault_is_never_made_twice(vault: Vault, tmp_path: Path) -> None:
    key = vault.create_key("anna")
    blob = store(vault, key)
    with pytest.raises(Conflict):
        create_vault(tmp_path / "one", key_file=tmp_path / "another")
    assert not (tmp_path / "another").exists()
    with pytest.raises(Conflict):
        create_vault(tmp_path / "two", key_file=tmp_path / "one" / "key-file")
    assert load(reopen(tmp_path), key, blob) == FACE


def test_a_vault_needs_a_way_in(vault: Vault, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        create_vault(tmp_path / "two")
    with pytest.raises(InvalidInput):
        create_vault(tmp_path / "two", passphrase="")
    with pytest.raises(Locked):
        open_vault(tmp_path / "one")
    with pytest.raises(NotFound, match="no key ring"):
        open_vault(tmp_path / "three", passphrase="any")
