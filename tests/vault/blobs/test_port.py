"""What every store promises, asked of each kind."""

import ast
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from annotator.core.errors import NotFound
from annotator.vault.blobs import BlobStore, new_blob_id
from tests.vault.object_server import BUCKET

MEGABYTE = 1_000_000


def read(store: BlobStore, blob: str, *, start: int = 0, stop: int | None = None) -> bytes:
    with store.open(blob) as sealed:
        buffer = bytearray((sealed.size if stop is None else stop) - start)
        got = sealed.read_into(memoryview(buffer), start)
        return bytes(buffer[:got])


def write(store: BlobStore, *pieces: bytes) -> str:
    blob = new_blob_id()
    store.write(blob, pieces)
    return blob


@pytest.mark.parametrize("size", [0, 1, 20_000, 256 * 1024, 256 * 1024 + 1, 9 * MEGABYTE])
def test_what_was_written_comes_back(store: BlobStore, size: int) -> None:
    store.prepare()
    data = random.Random(size).randbytes(size)
    blob = write(store, data[: size // 3], b"", data[size // 3 :])
    assert read(store, blob) == data
    with store.open(blob) as sealed:
        assert sealed.size == size


def test_any_part_can_be_read_in_any_order(store: BlobStore) -> None:
    data = os.urandom(10 * MEGABYTE)  # two parts of an upload, four blocks of a download
    blob = write(store, *(data[at : at + MEGABYTE] for at in range(0, len(data), MEGABYTE)))
    chosen = random.Random(1)
    with store.open(blob) as sealed:
        assert sealed.size == len(data)
        places = [chosen.randrange(len(data)) for _ in range(5)]
        for start in (*places, 0, len(data) - 1, len(data), len(data) + 5):
            buffer = memoryview(bytearray(chosen.choice([1, 16_400, 5 * MEGABYTE])))
            got = sealed.read_into(buffer, start)
            assert buffer[:got] == data[start : start + len(buffer)]


def test_what_is_not_there_is_not_found(store: BlobStore) -> None:
    store.prepare()
    for name in ("0" * 32, "", "../../keys/ring.json", "A" * 32, "0" * 31, "0" * 33, "probe"):
        with pytest.raises(NotFound), store.open(name):
            pass


def test_names_that_are_no_ids_cannot_be_written_or_deleted(store: BlobStore) -> None:
    for name in ("", "../x", "probe", "0" * 31):
        with pytest.raises(NotFound):
            store.write(name, [b"x"])
        with suppress(NotFound):
            store.delete(name)
    assert list(store.names()) == []


def test_listing_and_deleting(store: BlobStore) -> None:
    assert list(store.names()) == []
    kept, gone = write(store, b"kept"), write(store, b"gone")
    assert {name for name, _ in store.names()} == {kept, gone}
    assert all(abs(time.time() - at) < 60 for _, at in store.names())
    for _ in range(2):
        store.delete(gone)
        assert [name for name, _ in store.names()] == [kept]
    with pytest.raises(NotFound), store.open(gone):
        pass
    assert read(store, kept) == b"kept"


@pytest.mark.parametrize("size", [10, 9 * MEGABYTE])
def test_a_source_that_breaks_leaves_nothing(store: BlobStore, size: int) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(size)
        raise KeyError("the upload stopped")

    with pytest.raises(KeyError):
        store.write(new_blob_id(), broken())
    assert list(store.names()) == []
    assert store.delete_unfinished(before=time.time() + 10) == 0


def test_a_blob_is_seen_only_when_it_is_whole(store: BlobStore) -> None:
    blob, seen = new_blob_id(), []

    def slow() -> Iterator[bytes]:
        for _ in range(2):
            yield bytes(8 * 1024 * 1024)
            seen.append([name for name, _ in store.names()])
            with pytest.raises(NotFound), store.open(blob):
                pass

    store.write(blob, slow())
    assert seen == [[], []]
    assert [name for name, _ in store.names()] == [blob]


def test_unfinished_writes_are_found_by_their_age(store: BlobStore) -> None:
    def asleep() -> Iterator[bytes]:
        yield bytes(9 * MEGABYTE)
        # In 2001, since moto says of every upload that it began in 2010.
        assert store.delete_unfinished(before=1e9) == 0
        assert store.delete_unfinished(before=time.time() + 3600) == 1
        raise KeyError

    with pytest.raises(KeyError):
        store.write(new_blob_id(), asleep())
    assert store.delete_unfinished(before=time.time() + 3600) == 0
    assert list(store.names()) == []


def test_threads_share_a_store(store: BlobStore) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(4):
                data = bytes([number, turn]) * 50_000
                blob = write(store, data)
                assert read(store, blob) == data
                if turn % 2:
                    store.delete(blob)
        except BaseException as error:  # noqa: BLE001  told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(list(store.names())) == 8


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_store_goes_on_after_a_fork(store: BlobStore) -> None:
    blob = write(store, b"from the parent")  # the connection is open now

    def child() -> None:
        good = read(store, blob) == b"from the parent"
        write(store, b"from the child")
        os._exit(0 if good else 1)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert read(store, blob) == b"from the parent"
    assert len(list(store.names())) == 2


WALK = """
import resource, sys, tracemalloc
from annotator.vault.blobs import new_blob_id, open_store
from annotator.vault.files import Disk
store, block, peaks = open_store(sys.argv[1], Disk()), bytes(100_000), []
for megabytes in (9, 27):
    blob = new_blob_id()
    tracemalloc.start()
    store.write(blob, (block for _ in range(megabytes * 10)))
    with store.open(blob) as sealed:
        buffer, at = memoryview(bytearray(100_000)), 0
        while got := sealed.read_into(buffer, at):
            at += got
    assert at == sealed.size == megabytes * 1_000_000
    traced = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    peaks.append((traced, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
print(peaks)
"""


@pytest.mark.parametrize("kind", ["folder", "objects"])
def test_memory_does_not_grow_with_the_blob(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """In a process of its own: the resident memory is counted as well."""
    place = str(tmp_path)
    if kind == "objects":
        request.getfixturevalue("server")
        place = f"s3://{BUCKET}/memory"
    told = subprocess.run(
        [sys.executable, "-c", WALK, place],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    ).stdout
    (traced, resident), (more_traced, more_resident) = ast.literal_eval(told)
    assert more_traced < traced + MEGABYTE
    assert more_resident < resident + 12 * MEGABYTE
    assert traced < (
        MEGABYTE if kind == "folder" else 80 * MEGABYTE
    )  # with the modules of the client
