"""The object store when the server refuses, is gone, breaks off, or is slow."""

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from annotator.core.errors import (
    AnnotatorError,
    InvalidInput,
    NotFound,
    StorageFailed,
    StorageFull,
    Tampered,
)
from annotator.vault import create_vault, open_vault
from annotator.vault.blobs import BlobStore, new_blob_id, open_store
from annotator.vault.blobs.objects import PART
from annotator.vault.files import Disk
from tests.vault.object_server import BUCKET, ObjectServer, Wire

ROOT = Path(__file__).parents[3]
PLACE = f"s3://{BUCKET}/prefix"
OPERATIONS: dict[str, Callable[[BlobStore], Any]] = {
    "prepare": lambda store: store.prepare(),
    "write": lambda store: store.write(new_blob_id(), [b"face"]),
    "write much": lambda store: store.write(new_blob_id(), [bytes(PART + 1)]),
    "open": lambda store: store.open(new_blob_id()),
    "list": lambda store: list(store.names()),
    "delete": lambda store: store.delete(new_blob_id()),
    "sweep": lambda store: store.delete_unfinished(before=time.time()),
}


def make_store(place: str = PLACE) -> BlobStore:
    return open_store(place, Disk())


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///x",
        "s3://Bucket",
        "s3://b",
        "s3://key:secret@bucket/x",
        "s3://bucket/x?y=1",
        "s3://bucket//x",
        "https://user:secret@host/bucket",
        "file://relative",
        "file://",
        "gs://bucket",
        "",
    ],
)
def test_addresses_that_are_none_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidInput, match="give") as caught:
        make_store(url)
    assert "secret" not in caught.value.message.replace("AWS_SECRET_ACCESS_KEY", "")


def test_a_folder_may_be_given_as_an_address(tmp_path: Path) -> None:
    for place in (str(tmp_path / "a"), f"file://{tmp_path / 'a'}", tmp_path / "a"):
        store, blob = open_store(place, Disk()), new_blob_id()
        store.write(blob, [b"face"])
        assert (tmp_path / "a" / blob[:2] / blob[2] / blob).read_bytes() == b"face"


def test_a_missing_package_is_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InvalidInput, match=r"install annotator\[s3\]"):
        make_store()


def test_nothing_heavy_is_loaded_before_the_first_use() -> None:
    code = f"""
import sys
from annotator.vault.blobs import open_store
open_store({PLACE!r}, None)
print([name for name in ("fsspec", "s3fs", "botocore", "aiohttp") if name in sys.modules])
"""
    told = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert told.stdout.strip() == "[]"


def test_objects_lie_under_the_prefix_and_others_are_left_alone(server: ObjectServer) -> None:
    other = "prefix/" + "a" * 31
    server.put(other, b"not ours")
    server.put("f" * 32, b"of another prefix")
    store, blob = make_store(), new_blob_id()
    store.prepare()
    store.write(blob, [b"sealed"])
    assert server.objects() == {
        f"prefix/{blob}": b"sealed",
        other: b"not ours",
        "f" * 32: b"of another prefix",
    }
    assert [name for name, _ in store.names()] == [blob]
    assert [name for name, _ in make_store(f"s3://{BUCKET}").names()] == ["f" * 32]


def test_a_list_longer_than_a_page(server: ObjectServer) -> None:
    names = {f"{number:032x}" for number in range(1005)}
    for name in names:
        server.put(f"prefix/{name}", b"")
    assert {name for name, _ in make_store().names()} == names


def check_that_all_say(store: BlobStore, words: str) -> None:
    for operation in OPERATIONS.values():
        with pytest.raises(StorageFailed, match=words):
            operation(store)


def test_a_missing_bucket_is_said(server: ObjectServer) -> None:
    store = make_store("s3://elsewhere/prefix")
    check_that_all_say(store, "bucket of the object store does not exist")


def test_wrong_keys_are_said(server: ObjectServer) -> None:
    server.check_keys(after=0)
    try:
        check_that_all_say(make_store(), "refused the keys")
    finally:
        server.check_keys(after=10**9)


def test_no_keys_at_all_are_said(
    server: ObjectServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for variable in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(variable, str(tmp_path / "none"))
    check_that_all_say(make_store(), "or there are none")


@pytest.mark.parametrize("name", ["write", "open", "list"])
def test_a_server_that_is_gone_is_said_soon(wire: Wire, name: str) -> None:
    wire.close()
    began = time.monotonic()
    with pytest.raises(StorageFailed, match="did not answer"):
        OPERATIONS[name](make_store())
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("name", ["write", "open"])
def test_a_silent_server_is_given_up(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("annotator.vault.blobs.objects.READ_SECONDS", 1)
    # Of a server that does not say that it wants the bytes, the client does not see the silence.
    monkeypatch.setattr("annotator.vault.blobs.objects.CALL_SECONDS", 3)
    wire.silent = True
    began = time.monotonic()
    with pytest.raises(StorageFailed, match="did not answer"):
        OPERATIONS[name](make_store())
    assert time.monotonic() - began < 30


def test_a_call_is_bounded_as_a_whole(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends a little from time to time passes every other limit."""
    monkeypatch.setattr("annotator.vault.blobs.objects.CALL_SECONDS", 0.5)
    wire.pause = 0.8
    began = time.monotonic()
    with pytest.raises(StorageFailed, match="did not answer"):
        make_store().open(new_blob_id())
    assert time.monotonic() - began < 10


def test_a_slow_server_is_waited_for(wire: Wire) -> None:
    wire.pause = 0.2
    store, blob = make_store(), new_blob_id()
    store.write(blob, [bytes(1_000_000)])
    with store.open(blob) as sealed:
        assert sealed.size == 1_000_000


# The second upload is some bytes longer or shorter than the first: its id is not always as long.
@pytest.mark.parametrize("before_the_end", [PART + PART // 2, 200])
def test_a_server_that_goes_away_mid_write_has_nothing_of_it(
    server: ObjectServer, wire: Wire, before_the_end: int
) -> None:
    """In the second of three parts, and in the word that would complete the upload."""
    store, pieces = make_store(), [bytes(PART), bytes(PART), bytes(1000)]
    store.write(kept := new_blob_id(), pieces)
    wire.cut_after = wire.sent - before_the_end
    with pytest.raises(StorageFailed, match="did not answer"):
        store.write(new_blob_id(), pieces)
    assert set(server.objects()) == {f"prefix/{kept}"}

    wire.cut_after = None  # the server is back
    assert store.delete_unfinished(before=time.time() + 60) == 1
    store.write(blob := new_blob_id(), [b"a newer face"])
    assert server.objects()[f"prefix/{blob}"] == b"a newer face"
    assert {name for name, _ in store.names()} == {kept, blob}


def test_an_answer_that_breaks_off_is_asked_for_again(
    server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was lost on the way, once: of a single request, no error reaches the caller."""
    wire = Wire(server.place)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", wire.url)
    store, blob = make_store(), new_blob_id()
    store.write(blob, [b"face"])
    wire.break_next = True
    with store.open(blob) as sealed:
        assert sealed.size == 4
    assert not wire.break_next
    wire.close()


def test_an_upload_that_breaks_is_not_left_behind(server: ObjectServer) -> None:
    def pieces() -> Iterator[bytes]:
        yield bytes(PART)
        server.check_keys(after=0)  # the keys were taken back while it ran
        yield bytes(PART)

    store = make_store()
    try:
        with pytest.raises(StorageFailed, match="refused the keys"):
            store.write(new_blob_id(), pieces())
    finally:
        server.check_keys(after=10**9)
    assert server.objects() == {}
    assert store.delete_unfinished(before=time.time() + 60) == 1


def test_a_vault_on_an_object_store(server: ObjectServer, tmp_path: Path) -> None:
    vault, _ = create_vault(tmp_path, blobs=PLACE, key_file=tmp_path / "key-file")
    key, name = vault.create_key("anna"), {"subject": "anna", "kind": "crop"}
    data = random.Random(1).randbytes(900_000)
    blob = vault.seal_blob(**name, key=key, data=data)
    again = open_vault(tmp_path, blobs=PLACE, key_file=tmp_path / "key-file")
    assert again.open_blob(**name, key=key, blob=blob) == data
    assert b"".join(again.stream_blob(**name, key=key, blob=blob)) == data
    part = again.stream_blob(**name, key=key, blob=blob, start=300_001, stop=700_000)
    assert b"".join(part) == data[300_001:700_000]

    sealed = bytearray(server.objects()[f"prefix/{blob}"])
    sealed[500_000] ^= 1
    server.put(f"prefix/{blob}", bytes(sealed))
    with pytest.raises(Tampered):
        again.open_blob(**name, key=key, blob=blob)
    server.put(f"prefix/{blob}", bytes(sealed[:400_000]))
    with pytest.raises(Tampered):
        again.open_blob(**name, key=key, blob=blob)
    server.put(f"prefix/{blob}", b"")
    with pytest.raises(Tampered):
        again.open_blob(**name, key=key, blob=blob)
    assert [found for found, _ in again.list_blobs()] == [blob]
    again.delete_blob(blob)
    with pytest.raises(NotFound):
        vault.open_blob(**name, key=key, blob=blob)
    assert not (tmp_path / "blobs").exists()


def test_a_server_with_a_name_is_asked_by_path(
    server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as ``faces.localhost``, which no name server of a clinic knows."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://localhost:{server.place[1]}")
    make_store().write(blob := new_blob_id(), [b"face"])
    assert f"prefix/{blob}" in server.objects()


def answer_with(code: str, status: int) -> AnnotatorError:
    """What becomes of an error that moto never sends."""
    from botocore.exceptions import ClientError
    from s3fs.errors import translate_boto_error

    from annotator.vault.blobs.objects import _store_errors

    response: Any = {
        "Error": {"Code": code, "Message": "told"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    with pytest.raises(AnnotatorError) as caught, _store_errors():
        raise translate_boto_error(ClientError(response, "PutObject"))
    return caught.value


@pytest.mark.parametrize("code", ["QuotaExceeded", "XMinioStorageFull", "507"])
def test_a_full_store_is_full(code: str) -> None:
    assert isinstance(answer_with(code, 507), StorageFull)


@pytest.mark.parametrize("code", ["InternalError", "SlowDown", "NotImplemented", "Whatever"])
def test_other_answers_are_named_by_their_code(code: str) -> None:
    failure = answer_with(code, 500)
    assert isinstance(failure, StorageFailed)
    assert code in failure.message
