"""The camera page's server side: who may open it, what it takes, what it keeps to itself."""

import io

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.domain import consent, invitations
from annotator.models import AuditEntry, Dataset, Image, Job, Subject
from tests.factories import grey_png, make_dataset, make_subject
from tests.web.conftest import Browser

JSON = {"Accept": "application/json"}


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    app.test_client_class = Browser
    return app.test_client()


@pytest.fixture
def dataset(app: Flask, toolbox: Toolbox) -> Dataset:
    with toolbox.transaction() as session:
        return make_dataset(session)


@pytest.fixture
def camera(toolbox: Toolbox, dataset: Dataset) -> str:
    with toolbox.transaction() as session:
        subject = make_subject(session, toolbox.vault, dataset, ["store"], code="P-1")
        made = invitations.create_invitation(
            session, vault=toolbox.vault, subject=subject, kind="own"
        )
    return f"/me/{made[1]}/camera"


def sent(*values: int) -> dict[str, object]:
    files = [(io.BytesIO(grey_png(value)), f"C:\\me\\{value}.png") for value in values]
    return {"file": files}


def test_a_picture_is_sealed_under_their_key_and_a_worker_looks_at_it(
    browser: FlaskClient, camera: str, session: Session, toolbox: Toolbox
) -> None:
    for value in (1, 2, 2):
        answer = browser.post(camera, data=sent(value), headers=JSON)
        assert (answer.status_code, answer.json) == (200, {"received": 1})
    images = session.scalars(select(Image)).all()
    assert len(images) == 2
    image = images[0]
    opened = toolbox.vault.open_blob(
        subject=image.subject.uid,
        key=consent.key_of(toolbox.vault, image.subject),
        blob=str(image.original_blob),
        kind="original",
    )
    assert opened == grey_png(1)
    assert [job.kind for job in session.scalars(select(Job))] == ["intake"]
    received = select(AuditEntry).where(AuditEntry.action == "image.received")
    assert {entry.actor for entry in session.scalars(received)} == {"subject"}


def test_a_plain_form_works_without_scripts(browser: FlaskClient, camera: str) -> None:
    answer = browser.post(camera, data=sent(1, 2), follow_redirects=True)
    assert "2 pictures are with us." in answer.text
    empty = browser.post(camera, data={})
    assert (empty.status_code, "This did not work" in empty.text) == (422, True)
    odd = browser.post(camera, data={"file": (io.BytesIO(b"GIF89a"), "a.gif")})
    assert (odd.status_code, "not a picture that we can read" in odd.text) == (415, True)


def test_without_consent_to_keep_nothing_is_taken(
    browser: FlaskClient, camera: str, session: Session, toolbox: Toolbox
) -> None:
    with toolbox.transaction() as writing:
        person = writing.scalars(select(Subject)).one()
        consent.withdraw_purposes(writing, subject=person, purposes=["store"])
    page = browser.get(camera)
    assert (page.status_code, "without your consent" in page.text) == (409, True)
    answer = browser.post(camera, data=sent(1), headers=JSON)
    assert (answer.status_code, answer.json["code"]) == (409, "consent_missing")  # type: ignore[index]
    assert session.scalars(select(Image)).all() == []


def test_somebody_elses_picture_is_refused_without_saying_whose_it_is(
    browser: FlaskClient, camera: str, dataset: Dataset, toolbox: Toolbox
) -> None:
    with toolbox.transaction() as session:
        home = session.get_one(Dataset, dataset.id)
        other = make_subject(session, toolbox.vault, home, code="OTHER")
        made = invitations.create_invitation(
            session, vault=toolbox.vault, subject=other, kind="own"
        )
    assert browser.post(f"/me/{made[1]}/camera", data=sent(1), headers=JSON).status_code == 200
    answer = browser.post(camera, data=sent(1), headers=JSON)
    assert answer.status_code == 422
    assert "OTHER" not in answer.text
