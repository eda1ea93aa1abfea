"""Ranges as RFC 9110 has them, on a file of a thousand bytes."""

from collections.abc import Callable, Iterator
from http import HTTPStatus

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.domain import consent, exports
from annotator.models import AuditEntry, Dataset, Export, Subject
from annotator.web.downloads import send_download
from annotator.web.errors import init_errors
from tests.factories import make_face, make_subject
from tests.fakes import FakeTools, FakeVault, FakeWork
from tests.web.conftest import find_user

DATA = bytes(range(250)) * 4
TAG = '"abc"'


@pytest.fixture
def opened() -> list[tuple[int, int | None]]:
    return []


@pytest.fixture
def client(opened: list[tuple[int, int | None]]) -> FlaskClient:
    app = Flask(__name__)
    init_errors(app)

    def open_part(start: int, stop: int | None) -> Iterator[bytes]:
        opened.append((start, stop))
        part = DATA[start:stop]
        return iter([part[:7], b"", part[7:]])

    @app.get("/api/file")
    def file() -> Response:
        return send_download(
            name="file.zip", kind="application/zip", size=len(DATA), tag="abc", open_part=open_part
        )

    return app.test_client()


def test_the_whole_file(client: FlaskClient) -> None:
    answer = client.get("/api/file")
    assert (answer.status_code, answer.data) == (200, DATA)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"] == TAG
    assert answer.headers["Content-Length"] == "1000"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Content-Range" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-", 0, 1000),
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=990-", 990, 1000),
        ("bytes=999-5000", 999, 1000),
        ("bytes=-1", 999, 1000),
        ("bytes=-300", 700, 1000),
        ("bytes=-5000", 0, 1000),
    ],
)
def test_a_part(client: FlaskClient, asked: str, start: int, stop: int) -> None:
    for headers in ({"Range": asked}, {"Range": asked, "If-Range": TAG}):
        answer = client.get("/api/file", headers=headers)
        assert (answer.status_code, answer.data) == (206, DATA[start:stop])
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/1000"
        assert answer.headers["Content-Length"] == str(stop - start)
        assert answer.headers["ETag"] == TAG


@pytest.mark.parametrize("asked", ["bytes=1000-", "bytes=5000-6000"])
def test_a_part_behind_the_end(client: FlaskClient, opened: list[object], asked: str) -> None:
    answer = client.get("/api/file", headers={"Range": asked})
    assert answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    assert answer.headers["Content-Range"] == "bytes */1000"
    assert answer.get_json()["code"] == "range_not_satisfiable"
    assert opened == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=5-3"},
        {"Range": "bytes=a-b"},
        {"Range": "bytes"},
        {"Range": "lines=1-2"},
        {"Range": "bytes=0-1,5-6"},
        {"Range": "bytes=10-", "If-Range": '"another"'},
        {"Range": "bytes=10-", "If-Range": 'W/"abc"'},
        {"Range": "bytes=10-", "If-Range": "Tue, 24 Nov 2026 10:00:00 GMT"},
        {"If-Range": TAG},
    ],
)
def test_what_cannot_be_answered_in_part_is_answered_whole(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    answer = client.get("/api/file", headers=headers)
    assert (answer.status_code, answer.data) == (200, DATA)


def test_head_tells_without_opening(client: FlaskClient, opened: list[object]) -> None:
    answer = client.head("/api/file", headers={"Range": "bytes=3-4"})
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["Content-Length"] == "1000"
    assert answer.headers["ETag"] == TAG
    assert opened == []


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(1, 999), max_size=6, unique=True))
def test_a_download_that_breaks_off_again_and_again(client: FlaskClient, cuts: list[int]) -> None:
    got = b""
    for cut in [*sorted(cuts), len(DATA)]:
        answer = client.get("/api/file", headers={"Range": f"bytes={len(got)}-", "If-Range": TAG})
        assert answer.status_code == 206
        got += answer.data[: cut - len(got)]
    assert got == DATA


# An export


@pytest.fixture
def archive(
    toolbox: Toolbox, session: Session, make_dataset: Callable[..., Dataset]
) -> tuple[str, bytes]:
    """The address of a finished export, and its bytes."""
    vault = FakeVault()
    toolbox.vault = vault  # type: ignore[misc]
    dataset = make_dataset("curator")
    with toolbox.transaction() as writing:
        consent.create_notice(writing, dataset=dataset, text="We keep pictures of you.")
        for _ in range(3):
            make_face(writing, vault, make_subject(writing, vault, dataset))
        export = exports.request_export(
            writing,
            dataset=dataset,
            recipient="University of X",
            by=find_user(writing, "curator"),
            wish=exports.Wish(),
        )
    exports.build_export(FakeWork(toolbox.engine, FakeTools(vault=vault)), export_id=export.id)
    blob = session.get_one(Export, export.id).sealed_blob
    assert blob is not None
    data = b"".join(vault.open_archive(purpose=exports.ARCHIVE, blob=blob))
    session.rollback()
    return f"/exports/{export.id}/archive", data


@pytest.mark.parametrize("door", ["page", "program"])
def test_an_export_is_fetched_in_parts_and_each_is_logged(
    request: pytest.FixtureRequest, session: Session, archive: tuple[str, bytes], door: str
) -> None:
    (address, data), headers = archive, {}
    if door == "page":
        asker = request.getfixturevalue("sign_in")("curator")
    else:
        asker = request.getfixturevalue("app").test_client()
        address, headers = f"/api/v1{address}", request.getfixturevalue("token")("curator")
    middle = len(data) // 2
    head = asker.head(address, headers=headers)
    assert head.headers["Content-Length"] == str(len(data))
    first = asker.get(address, headers=headers | {"Range": f"bytes=0-{middle - 1}"})
    resume = {"Range": f"bytes={middle}-", "If-Range": first.headers["ETag"]}
    rest = asker.get(address, headers=headers | resume)
    assert (first.status_code, rest.status_code) == (206, 206)
    assert first.data + rest.data == data
    told = session.scalars(select(AuditEntry).where(AuditEntry.action == "export.delivered"))
    parts = [(entry.details["start"], entry.details["stop"]) for entry in told]
    assert parts == [(0, middle), (middle, len(data))]


def test_the_rest_does_not_leave_once_somebody_withdrew(
    sign_in: Callable[[str], FlaskClient], toolbox: Toolbox, archive: tuple[str, bytes]
) -> None:
    address, _ = archive
    curator = sign_in("curator")
    first = curator.get(address, headers={"Range": "bytes=0-9"})
    with toolbox.transaction() as writing:
        gone = writing.scalars(select(Subject)).first()
        consent.withdraw_purposes(writing, subject=gone, purposes=["train"])
    resume = {"Range": "bytes=10-", "If-Range": first.headers["ETag"]}
    assert curator.get(address, headers=resume).status_code == 409
