import io
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.domain import consent
from annotator.models import AuditEntry, Dataset, Face, Image, Job, Subject
from tests.factories import grey_png, make_face, make_subject

SignIn = Callable[[str], FlaskClient]
MakeDataset = Callable[..., Dataset]
JSON = {"Accept": "application/json"}


@pytest.fixture
def dataset(make_dataset: MakeDataset, toolbox: Toolbox) -> Dataset:
    dataset = make_dataset("curator")
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
        make_subject(session, toolbox.vault, dataset, code="P-1")
    return dataset


@pytest.fixture
def curator(sign_in: SignIn, dataset: Dataset) -> FlaskClient:
    return sign_in("curator")


def png(number: int) -> bytes:
    return grey_png(number % 256) + number.to_bytes(4, "big")  # what follows IEND is not looked at


def send(
    client: FlaskClient,
    dataset: Dataset,
    *files: tuple[bytes, str],
    subject: str = "P-1",
    **rest: Any,
) -> Any:
    parts = [(io.BytesIO(data), name) for data, name in files]
    data = {"subject": subject, "file": parts, **rest.pop("fields", {})}
    return client.post(f"/datasets/{dataset.id}/upload", data=data, **rest)


def images(session: Session) -> list[Image]:
    session.rollback()
    session.expire_all()
    return list(session.scalars(select(Image).order_by(Image.id)))


def test_a_file_is_sealed_and_waits_until_a_worker_is_asked_for(
    curator: FlaskClient, dataset: Dataset, session: Session
) -> None:
    answer = send(curator, dataset, (png(1), "a.png"), headers=JSON)
    (image,) = images(session)
    assert answer.json == {"files": [{"file": "a.png", "id": image.id, "new": True}]}
    assert (image.state, image.cropped) == ("received", False)
    assert b"a.png" not in (image.sealed_name or b"").split(b"\0")
    assert session.scalars(select(Job)).all() == []
    answer = curator.post(
        f"/datasets/{dataset.id}/upload/start", json={"images": [image.id]}, headers=JSON
    )
    session.rollback()
    job = session.scalars(select(Job)).one()
    assert answer.json == {"job": job.id}
    assert (job.kind, job.arguments) == ("intake", {"images": [image.id]})


def test_the_same_file_again_is_one_picture(
    curator: FlaskClient, dataset: Dataset, session: Session
) -> None:
    for fresh in (True, False):
        answer = send(curator, dataset, (png(1), "a.png"), headers=JSON)
        assert answer.json["files"][0]["new"] is fresh
    assert len(images(session)) == 1


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "The file is empty."),
        (b"just some words", "The file seems to be a text file"),
        (b"GIF89a" + b"\0" * 20, "The file seems to be a GIF"),
    ],
)
def test_a_file_that_is_no_picture_is_refused_alone(
    curator: FlaskClient, dataset: Dataset, session: Session, data: bytes, sentence: str
) -> None:
    answer = send(curator, dataset, (data, "bad.jpg"), (png(1), "good.png"), headers=JSON)
    bad, good = answer.json["files"]
    assert sentence in bad["error"]
    assert bad["file"] == "bad.jpg"
    assert good["new"] is True
    assert len(images(session)) == 1


def test_five_hundred_files_at_once_are_one_job(
    curator: FlaskClient, dataset: Dataset, session: Session
) -> None:
    files = [(png(number), f"{number}.png") for number in range(500)]
    answer = send(curator, dataset, *files)
    assert answer.status_code == 200
    assert "500 of 500 files are received and sealed." in answer.text
    assert len(images(session)) == 500
    job = session.scalars(select(Job)).one()
    assert len(job.arguments["images"]) == 500


def test_without_scripts_each_refused_file_has_its_sentence(
    curator: FlaskClient, dataset: Dataset
) -> None:
    answer = send(curator, dataset, (b"words", "notes.jpg"), (png(1), "a.png"))
    assert "1 of 2 files are received and sealed." in answer.text
    assert "notes.jpg" in answer.text
    assert "a text file" in answer.text


def test_a_missing_consent_is_refused_with_a_sentence_and_a_link(
    curator: FlaskClient, dataset: Dataset, toolbox: Toolbox, session: Session
) -> None:
    with toolbox.transaction() as writing:
        make_subject(writing, toolbox.vault, dataset, ["train"], code="P-2")
    answer = send(curator, dataset, (png(1), "a.png"), subject="P-2")
    assert answer.status_code == 409
    assert "record their consent on their page first" in answer.text
    assert f"/datasets/{dataset.id}/people?text=P-2" in answer.text
    problem = send(curator, dataset, (png(1), "a.png"), subject="P-2", headers=JSON)
    assert (problem.status_code, problem.json["code"]) == (409, "consent_missing")
    assert images(session) == []


@pytest.mark.parametrize(
    ("subject", "status", "sentence"),
    [
        ("P-9", 404, "There is no person &#39;P-9&#39; in this dataset"),
        ("", 422, "Say whose pictures these are."),
        ("9" * 40, 404, "There is no person"),
    ],
)
def test_an_unknown_person_is_refused(
    curator: FlaskClient, dataset: Dataset, subject: str, status: int, sentence: str
) -> None:
    answer = send(curator, dataset, (png(1), "a.png"), subject=subject)
    assert answer.status_code == status
    assert sentence in answer.text


def test_no_file_at_all_is_asked_for(curator: FlaskClient, dataset: Dataset) -> None:
    answer = curator.post(f"/datasets/{dataset.id}/upload", data={"subject": "P-1"})
    assert answer.status_code == 422
    assert "Choose at least one picture." in answer.text


def test_another_persons_picture_is_not_taken_twice(
    curator: FlaskClient, dataset: Dataset, toolbox: Toolbox
) -> None:
    with toolbox.transaction() as session:
        make_subject(session, toolbox.vault, dataset, code="P-2")
    send(curator, dataset, (png(1), "a.png"), headers=JSON)
    answer = send(curator, dataset, (png(1), "a.png"), subject="P-2", headers=JSON)
    assert "as a picture of P-1" in answer.json["files"][0]["error"]


def test_a_tick_says_that_pictures_are_cropped(
    curator: FlaskClient, dataset: Dataset, session: Session
) -> None:
    send(curator, dataset, (png(1), "a.png"), fields={"cropped": "true"})
    assert images(session)[0].cropped is True


def test_too_large_a_request_is_refused_with_413(
    curator: FlaskClient, dataset: Dataset, app: Flask, session: Session
) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 1000
    answer = send(curator, dataset, (png(1) + b"\0" * 2000, "a.png"), headers=JSON)
    assert (answer.status_code, answer.json["code"]) == (413, "too_large")
    assert images(session) == []


def test_an_upload_never_becomes_a_file_on_disk(app: Flask) -> None:
    data = {"file": (io.BytesIO(b"x" * 1000), "a.png")}
    with app.test_request_context("/", method="POST", data=data):
        assert type(request.files["file"].stream) is io.BytesIO


@pytest.mark.parametrize("body", [{}, {"images": "all"}, {"images": ["1"]}, {"images": [True]}])
def test_a_start_that_names_no_pictures_is_refused(
    curator: FlaskClient, dataset: Dataset, body: Any
) -> None:
    answer = curator.post(f"/datasets/{dataset.id}/upload/start", json=body, headers=JSON)
    assert answer.status_code == 422


def test_pictures_of_a_broken_upload_are_found_again(
    curator: FlaskClient, dataset: Dataset, session: Session
) -> None:
    send(curator, dataset, (png(1), "a.png"), headers=JSON)
    page = curator.get(f"/datasets/{dataset.id}/pictures").text
    assert "1 picture was received and no worker is going to look at it" in page
    assert curator.post(f"/datasets/{dataset.id}/upload/start").status_code == 303
    assert session.scalars(select(Job)).one().arguments == {"images": [images(session)[0].id]}
    assert "no worker is going" not in curator.get(f"/datasets/{dataset.id}/pictures").text


def test_the_list_shows_states_reasons_and_names(
    curator: FlaskClient, dataset: Dataset, toolbox: Toolbox, session: Session
) -> None:
    send(curator, dataset, (png(1), "one.png"), (png(2), "two.png"), headers=JSON)
    with toolbox.transaction() as writing:
        image = writing.get_one(Image, 1)
        image.state, image.error = "failed", "No face was found in this picture."
    everything = curator.get(f"/datasets/{dataset.id}/pictures").text
    assert "one.png" in everything
    assert "No face was found in this picture." in everything
    failed = curator.get(f"/datasets/{dataset.id}/pictures?state=failed").text
    assert "one.png" in failed
    assert "two.png" not in failed
    assert curator.get(f"/datasets/{dataset.id}/pictures?state=lost").status_code == 404
    again = send(curator, dataset, (png(1), "one.png"), headers=JSON)
    assert "No face was found" in again.json["files"][0]["error"]


def test_faces_are_shown_by_a_click_that_the_log_keeps(
    curator: FlaskClient, dataset: Dataset, toolbox: Toolbox, session: Session
) -> None:
    with toolbox.transaction() as writing:
        seen = writing.scalars(select(Subject)).one()
        hidden = make_subject(writing, toolbox.vault, dataset, ["store"], code="P-2")
        shown = make_face(writing, toolbox.vault, seen)
        other = make_face(writing, toolbox.vault, hidden)
    address = f"/datasets/{dataset.id}/pictures"
    assert "/crop" not in curator.get(address).text
    text = curator.post(address).text
    assert f"/api/v1/faces/{shown.id}/crop" in text
    assert f"/api/v1/faces/{other.id}/crop" not in text
    entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "faces.shown")).one()
    assert entry.details == {"dataset": dataset.id, "faces": 1, "page": "pictures"}
    assert len(session.scalars(select(Face)).all()) == 2


def test_only_curators_upload(sign_in: SignIn, make_dataset: MakeDataset) -> None:
    dataset = make_dataset("reviewer")
    answer = send(sign_in("reviewer"), dataset, (png(1), "a.png"), headers=JSON)
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    assert "This needs the role curator; yours is reviewer." in answer.json["detail"]
