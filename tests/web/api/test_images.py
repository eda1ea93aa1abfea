import io
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.domain import consent
from annotator.models import Dataset, Image, Job
from tests.factories import grey_png, make_subject

Token = Callable[[str], dict[str, str]]
MakeDataset = Callable[..., Dataset]


@pytest.fixture
def dataset(make_dataset: MakeDataset, toolbox: Toolbox) -> Dataset:
    dataset = make_dataset("curator")
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
        make_subject(session, toolbox.vault, dataset, code="P-1")
    return dataset


@pytest.fixture
def send(client: FlaskClient, token: Token, dataset: Dataset) -> Callable[..., Any]:
    headers = token("curator")

    def send(*files: tuple[bytes, str], subject: str = "P-1", **fields: str) -> Any:
        parts = [(io.BytesIO(data), name) for data, name in files]
        data = {"subject": subject, "file": parts, **fields}
        return client.post(f"/api/v1/datasets/{dataset.id}/images", data=data, headers=headers)

    return send


def test_pictures_are_taken_in_and_a_job_looks_at_them(
    send: Callable[..., Any], session: Session
) -> None:
    answer = send((grey_png(1), "a.png"), (grey_png(2), "b.png"), cropped="true")
    assert answer.status_code == 202
    job = session.scalars(select(Job)).one()
    assert answer.json["job"] == job.id
    assert answer.json["images"] == job.arguments["images"]
    assert all(session.scalars(select(Image.cropped)))


def test_a_refused_file_stops_no_other(send: Callable[..., Any]) -> None:
    answer = send((b"words", "a.jpg"), (grey_png(1), "b.png"))
    assert answer.status_code == 202
    assert len(answer.json["images"]) == 1
    bad, good = answer.json["files"]
    assert "a text file" in bad["error"]
    assert good["id"] == answer.json["images"][0]


def test_the_only_file_refused_is_a_problem(send: Callable[..., Any]) -> None:
    answer = send((b"GIF89a" + b"\0" * 20, "a.gif"))
    assert (answer.status_code, answer.json["code"]) == (415, "unsupported_image")


def test_many_small_requests_share_a_job_that_still_waits(
    send: Callable[..., Any], session: Session
) -> None:
    jobs = {send((grey_png(number), "a.png")).json["job"] for number in range(5)}
    (job,) = session.scalars(select(Job)).all()
    assert jobs == {job.id}
    assert len(job.arguments["images"]) == 5


def test_the_subject_may_be_named_by_number(send: Callable[..., Any]) -> None:
    assert send((grey_png(1), "a.png"), subject="1").status_code == 202


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"subject": "P-9"}, 404), ({"subject": ""}, 422), ({"cropped": "perhaps"}, 422)],
)
def test_bad_input_is_a_problem(
    send: Callable[..., Any], fields: dict[str, str], status: int
) -> None:
    assert send((grey_png(1), "a.png"), **fields).status_code == status


def test_a_missing_consent_is_a_problem(
    send: Callable[..., Any], dataset: Dataset, toolbox: Toolbox
) -> None:
    with toolbox.transaction() as session:
        make_subject(session, toolbox.vault, dataset, ["label"], code="P-2")
    answer = send((grey_png(1), "a.png"), subject="P-2")
    assert (answer.status_code, answer.json["code"]) == (409, "consent_missing")
