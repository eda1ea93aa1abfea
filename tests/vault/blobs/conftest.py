"""Stores of both kinds, and the S3 server behind one of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from annotator.vault.blobs import BlobStore, open_store
from annotator.vault.files import Disk
from tests.vault.object_server import BUCKET, ObjectServer, Wire, serve_objects


@pytest.fixture(scope="package")
def running_server() -> Iterator[ObjectServer]:
    with serve_objects() as server:
        yield server


@pytest.fixture
def server(running_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> ObjectServer:
    """An S3 server with an empty bucket, and the usual variables that lead to it."""
    running_server.reset()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", running_server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not a secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return running_server


@pytest.fixture
def wire(server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """The way to the server, which can be broken."""
    wire = Wire(server.place)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", wire.url)
    monkeypatch.setattr("annotator.vault.blobs.objects.ATTEMPTS", 1)
    yield wire
    wire.close()


@pytest.fixture(params=["folder", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """Each kind of store in turn, empty."""
    if request.param == "objects":
        request.getfixturevalue("server")
        return open_store(f"s3://{BUCKET}/some/prefix", Disk())
    return open_store(tmp_path / "blobs", Disk())
