"""Sealed blobs in an object store that speaks S3, through s3fs.

One blob is one object, ``<prefix>/<id>``. An object is there as a whole or not at all, and the
store's answer is the acknowledgement, so there is no temporary name and nothing is ever copied or
renamed on the server. What is longer than one part goes up as a multipart upload, which shows
nothing until it is completed.

Keys, region and address come from the usual variables of AWS (``AWS_ACCESS_KEY_ID``,
``AWS_ENDPOINT_URL_S3`` and so on), read when the store is first used. s3fs is imported then, too:
it takes half a second, and most installations never need it.
"""

import asyncio
import importlib.util
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

from annotator.core.errors import AnnotatorError, InvalidInput, NotFound, StorageFailed, StorageFull
from annotator.vault.blobs.port import check_blob_id, is_blob_id

SCHEME = "s3://"
# Five megabytes is the least that S3 takes, ten thousand parts the most: blobs up to 80 GB.
PART = 8 * 1024 * 1024
# Read at a time: a picture comes in one answer, an archive in blocks that fit in memory.
FIRST_BLOCK = 256 * 1024
BLOCK = 4 * 1024 * 1024
CONNECT_SECONDS = 5
READ_SECONDS = 15  # without a byte
CALL_SECONDS = 60  # for one request, all its attempts and bytes
ATTEMPTS = 2  # of botocore for an answer, and of s3fs for what broke off on the way
_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[\w.!'()*-]+)*)/?")
_NO_BUCKET = "The bucket of the object store does not exist; make it first."
_FULL = {
    "507",
    "InsufficientStorage",
    "QuotaExceeded",
    "XMinioAdminBucketQuotaExceeded",
    "XMinioStorageFull",
}
_REFUSED = {
    "403",
    "AccessDenied",
    "AllAccessDisabled",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}


class BlobObjects:
    """Sealed blobs in a bucket; see ``BlobStore``.

    Args:
        url: ``s3://bucket`` or ``s3://bucket/prefix``; the bucket must exist.

    Raises:
        InvalidInput: it is no such address, or s3fs is not installed.
    """

    def __init__(self, url: str) -> None:
        found = _URL.fullmatch(url)
        if found is None:  # not repeated in the message: people put secrets into addresses
            raise InvalidInput(
                "The address of the object store is not valid; give s3://bucket or"
                " s3://bucket/prefix, and keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )
        if importlib.util.find_spec("s3fs") is None:
            raise InvalidInput(
                "Blobs in an object store need the package s3fs; install annotator[s3]."
            )
        self._bucket = found[1]
        self._prefix = found[2].removeprefix("/") + "/" if found[2] else ""
        # A client for each process: its threads and connections do not survive a fork.
        self._clients: dict[int, Any] = {}

    def prepare(self) -> None:
        """Makes sure that the bucket is there and takes a write."""
        try:
            self.call("head_bucket", Bucket=self._bucket)
        except NotFound:  # the answer to HEAD has no body that could say of what
            raise StorageFailed(_NO_BUCKET) from None
        probe = {"Bucket": self._bucket, "Key": f"{self._prefix}probe"}
        self.call("put_object", **probe, Body=b"")
        self.call("delete_object", **probe)

    def write(self, blob: str, pieces: Iterable[bytes]) -> None:
        """Stores a blob; it is durable when this returns.

        When it raises, nothing was stored, as far as the store still answers: what a broken
        connection leaves has a name that nobody knows, and a sweep finds it.
        """
        name, waiting, upload = self._name(blob), bytearray(), None
        try:
            for piece in pieces:
                waiting += piece
                while len(waiting) >= PART:
                    upload = upload or _Upload(self, name)
                    upload.send(bytes(memoryview(waiting)[:PART]))
                    del waiting[:PART]
            if upload is None:
                self.call("put_object", **name, Body=bytes(waiting))
            else:
                upload.finish(bytes(waiting))
        except BaseException:
            with suppress(AnnotatorError):
                if upload is not None:
                    upload.abort()
                self.call("delete_object", **name)
            raise

    def open(self, blob: str) -> "_OpenObject":
        """The sealed bytes."""
        return _OpenObject(self, self._name(blob))

    def delete(self, blob: str) -> None:
        """Removes a blob; one that is not there is fine."""
        with suppress(NotFound):
            self.call("delete_object", **self._name(blob))

    def names(self) -> Iterator[tuple[str, float]]:
        """Id and time of storing (seconds since 1970) of every blob, in order of their ids."""
        place = {"Bucket": self._bucket, "Prefix": self._prefix}
        while True:
            page = self.call("list_objects_v2", **place)
            for entry in page.get("Contents", []):
                blob = entry["Key"].removeprefix(self._prefix)
                if is_blob_id(blob):
                    yield blob, entry["LastModified"].timestamp()
            if not page.get("IsTruncated"):
                return
            place["ContinuationToken"] = page["NextContinuationToken"]

    def delete_unfinished(self, *, before: float) -> int:
        """Aborts multipart uploads that never ended, begun before a time; answers how many."""
        place, stale = {"Bucket": self._bucket, "Prefix": self._prefix}, []
        while True:
            page = self.call("list_multipart_uploads", **place)
            stale += [
                {"Key": each["Key"], "UploadId": each["UploadId"]}
                for each in page.get("Uploads", [])
                if each["Initiated"].timestamp() < before
                and is_blob_id(each["Key"].removeprefix(self._prefix))
            ]
            if not page.get("IsTruncated"):
                break
            place["KeyMarker"] = page["NextKeyMarker"]
            place["UploadIdMarker"] = page["NextUploadIdMarker"]
        for each in stale:
            with suppress(NotFound):
                self.call("abort_multipart_upload", Bucket=self._bucket, **each)
        return len(stale)

    def read(self, name: dict[str, str], start: int, count: int) -> bytes:
        """Bytes of an object from an offset, fewer at the end."""
        path = f"{name['Bucket']}/{name['Key']}"
        client = self._client()
        try:
            reading = client._cat_file(path, start=start, end=start + count)  # noqa: SLF001  see call
            return bytes(self._wait(client, reading))
        except _EmptyRange:
            return b""

    def call(self, method: str, **arguments: Any) -> Any:
        """One request of the S3 interface, by the name that botocore gives it."""
        client = self._client()
        # The public form waits without an end.
        return self._wait(client, client._call_s3(method, **arguments))  # noqa: SLF001

    def _wait(self, client: Any, work: Any) -> Any:
        from fsspec.asyn import sync  # noqa: PLC0415  heavy, see above

        async def bounded() -> Any:
            async with asyncio.timeout(CALL_SECONDS):
                return await work

        with _store_errors():
            return sync(client.loop, bounded)

    def _client(self) -> Any:
        found = self._clients.get(os.getpid())
        if found is None:
            from s3fs import S3FileSystem  # noqa: PLC0415  heavy, see above

            made = S3FileSystem(
                skip_instance_cache=True,
                config_kwargs={
                    "connect_timeout": CONNECT_SECONDS,
                    "read_timeout": READ_SECONDS,
                    "retries": {"total_max_attempts": ATTEMPTS, "mode": "standard"},
                },
            )
            made.retries = ATTEMPTS
            found = self._clients.setdefault(os.getpid(), made)
        return found

    def _name(self, blob: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + check_blob_id(blob)}


class _Upload:
    """A multipart upload; nobody sees the object before it is finished."""

    def __init__(self, store: BlobObjects, name: dict[str, str]) -> None:
        self._store = store
        self._parts: list[dict[str, Any]] = []
        made = store.call("create_multipart_upload", **name)
        self._name = name | {"UploadId": made["UploadId"]}

    def send(self, data: bytes) -> None:
        number = len(self._parts) + 1
        sent = self._store.call("upload_part", **self._name, PartNumber=number, Body=data)
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})

    def finish(self, data: bytes) -> None:
        if data:
            self.send(data)
        self._store.call(
            "complete_multipart_upload", **self._name, MultipartUpload={"Parts": self._parts}
        )

    def abort(self) -> None:
        with suppress(NotFound):
            self._store.call("abort_multipart_upload", **self._name)


class _OpenObject:
    """An object that is being read, by one thread: one block of it is in memory."""

    def __init__(self, store: BlobObjects, name: dict[str, str]) -> None:
        self._store, self._name, self._start = store, name, 0
        self._block = store.read(name, 0, FIRST_BLOCK)
        self.size = len(self._block)
        if self.size == FIRST_BLOCK:
            self.size = int(store.call("head_object", **name)["ContentLength"])

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fills the buffer from an offset; fewer bytes at the end. Answers how many."""
        done, wanted = 0, max(0, min(len(buffer), self.size - offset))
        while done < wanted:
            at = offset + done - self._start
            if not 0 <= at < len(self._block):
                self._start, at = offset + done, 0
                count = min(max(BLOCK, wanted - done), self.size - self._start)
                self._block = self._store.read(self._name, self._start, count)
                if not self._block:
                    break
            part = memoryview(self._block)[at : at + wanted - done]
            buffer[done : done + len(part)] = part
            done += len(part)
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._block = b""


class _EmptyRange(Exception):
    """The object has no byte at this place."""


@contextmanager
def _store_errors() -> Iterator[None]:
    """Turns what s3fs raises into the error that says what it means for the user."""
    from aiohttp import ClientError as ConnectionBroken  # noqa: PLC0415  heavy, see above
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        yield
    except (OSError, ConnectionBroken, BotoCoreError, ClientError, ValueError) as error:
        raise _explain(error) from error


def _explain(error: Exception) -> Exception:
    from botocore.exceptions import HTTPClientError, NoCredentialsError  # noqa: PLC0415

    code = _code_of(error)
    failure: type[AnnotatorError] = StorageFailed
    if code in {"416", "InvalidRange"}:
        return _EmptyRange()
    if isinstance(error, FileNotFoundError) and code != "NoSuchBucket":
        return NotFound()
    if code == "NoSuchBucket":
        message = _NO_BUCKET
    elif code in _FULL:
        failure = StorageFull
        message = "The object store is full. Nothing was stored; free some space there."
    elif code in _REFUSED or isinstance(error, PermissionError | NoCredentialsError):
        message = (
            "The object store refused the keys, or there are none; check AWS_ACCESS_KEY_ID,"
            " AWS_SECRET_ACCESS_KEY and what they may do with the bucket."
        )
    elif isinstance(error, TimeoutError | HTTPClientError) or not code:
        message = (
            "The object store did not answer. Nothing was acknowledged; try again in a moment."
        )
    else:
        message = f"The object store answered with an error ({code})."
    return failure(message)


def _code_of(error: BaseException | None) -> str:
    """The store's word for what went wrong; empty when it did not come to an answer."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        error = error.__cause__
    return ""
