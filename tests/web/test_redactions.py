from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.domain import consent
from annotator.models import Dataset, Image, Job, Subject
from tests.factories import grey_png, make_subject

SignIn = Callable[[str], FlaskClient]
MakeDataset = Callable[..., Dataset]
BOXES = [[10, 10, 20, 20], [50, 10, 20, 20]]


@pytest.fixture
def dataset(make_dataset: MakeDataset, toolbox: Toolbox) -> Dataset:
    dataset = make_dataset("reviewer")
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
        subject = make_subject(session, toolbox.vault, dataset, code="P-1")
        for number in range(3):
            _add_waiting(session, toolbox, subject, number)
    return dataset


@pytest.fixture
def reviewer(sign_in: SignIn, dataset: Dataset) -> FlaskClient:
    return sign_in("reviewer")


def _add_waiting(session: Session, toolbox: Toolbox, subject: Subject, number: int) -> None:
    key = consent.key_of(toolbox.vault, subject)
    session.add(
        Image(
            uid=f"{number:032}",
            dataset_id=subject.dataset_id,
            subject_id=subject.id,
            state="review",
            fingerprint=bytes([number]) * 32,
            width=100,
            height=80,
            detections=[{"box": box, "landmarks": [], "score": 0.9} for box in BOXES],
            original_blob=toolbox.vault.seal_blob(
                subject=subject.uid, key=key, kind="sanitised", data=grey_png(number)
            ),
        )
    )
    session.flush()


def image(session: Session, image_id: int = 1) -> Image:
    session.rollback()
    session.expire_all()
    return session.get_one(Image, image_id)


def test_the_oldest_waiting_picture_comes_first_with_its_boxes(
    reviewer: FlaskClient, dataset: Dataset
) -> None:
    text = reviewer.get(f"/datasets/{dataset.id}/redactions").text
    assert "<title>(3) Redactions of Clinic pilot" in text
    assert "Picture 1 · 1 of 3" in text
    assert text.count('class="box" data-face=') == 2
    answer = reviewer.get("/redactions/1/picture")
    assert answer.data == grey_png(0)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.mimetype == "image/png"


def test_a_chosen_face_is_kept_and_the_next_picture_comes(
    reviewer: FlaskClient, dataset: Dataset, session: Session
) -> None:
    answer = reviewer.post("/redactions/1/approve", data={"keep": "1"})
    assert answer.location.endswith(f"/datasets/{dataset.id}/redactions?image=2")
    assert image(session).state == "approved"
    job = session.scalars(select(Job)).one()
    assert (job.kind, job.arguments["keep"]) == ("redact", 1)


def test_a_drawn_box_is_kept(reviewer: FlaskClient, dataset: Dataset, session: Session) -> None:
    form = {"keep": "box", "x": "1.5", "y": "2", "width": "30", "height": "40"}
    assert reviewer.post("/redactions/1/approve", data=form).status_code == 303
    assert session.scalars(select(Job)).one().arguments["box"] == [1.5, 2.0, 30.0, 40.0]


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({}, "Choose the face of the subject"),
        ({"keep": "2"}, "Choose the face of the subject"),
        ({"keep": "-1"}, "Choose the face of the subject"),
        ({"keep": "box"}, "The box needs four numbers"),
        ({"keep": "box", "x": "nan", "y": "1", "width": "1", "height": "1"}, "four numbers"),
        ({"keep": "box", "x": "90", "y": "1", "width": "20", "height": "1"}, "inside the picture"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(
    reviewer: FlaskClient, dataset: Dataset, session: Session, form: dict[str, str], sentence: str
) -> None:
    answer = reviewer.post("/redactions/1/approve", data=form)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert image(session).state == "review"


def test_a_rejected_picture_is_destroyed(
    reviewer: FlaskClient, dataset: Dataset, session: Session, toolbox: Toolbox
) -> None:
    blob = image(session).original_blob
    assert "Destroy this picture?" in reviewer.get("/redactions/1/reject").text
    assert reviewer.post("/redactions/1/reject").status_code == 303
    row = image(session)
    assert (row.state, row.original_blob) == ("rejected", None)
    assert blob not in toolbox.vault.blobs  # type: ignore[attr-defined]
    assert reviewer.get("/redactions/1/picture").status_code == 409


def test_what_a_colleague_decided_meanwhile_leads_to_the_queue(
    reviewer: FlaskClient, dataset: Dataset
) -> None:
    reviewer.post("/redactions/1/reject")
    for verb in ("approve", "reject"):
        answer = reviewer.post(f"/redactions/1/{verb}", data={"keep": "0"}, follow_redirects=True)
        assert answer.status_code == 200
        assert "This picture has been decided on already." in answer.text


def test_a_picture_without_consent_is_not_shown(
    reviewer: FlaskClient, dataset: Dataset, toolbox: Toolbox
) -> None:
    with toolbox.transaction() as session:
        subject = session.scalars(select(Subject)).one()
        consent.withdraw_purposes(session, subject=subject, purposes=["store"])
    text = reviewer.get(f"/datasets/{dataset.id}/redactions").text
    assert "does not agree to keeping this picture any more" in text
    assert "/redactions/1/picture" not in text
    assert reviewer.get("/redactions/1/picture").status_code == 409


def test_nothing_waits(reviewer: FlaskClient, dataset: Dataset) -> None:
    for number in (1, 2, 3):
        reviewer.post(f"/redactions/{number}/reject")
    assert "Nothing waits" in reviewer.get(f"/datasets/{dataset.id}/redactions").text


def test_pictures_of_other_datasets_are_not_there(sign_in: SignIn, dataset: Dataset) -> None:
    curator = sign_in("curator")
    assert curator.get("/redactions/1/picture").status_code == 404
    assert curator.post("/redactions/1/approve", data={"keep": "0"}).status_code == 404
    assert curator.post("/redactions/1/reject").status_code == 404
    assert curator.get(f"/datasets/{dataset.id}/redactions").status_code == 404


def test_annotators_see_no_waiting_picture(sign_in: SignIn, dataset: Dataset) -> None:
    assert sign_in("annotator").get("/redactions/1/picture").status_code == 403
