from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from annotator.bootstrap import Toolbox
from annotator.domain import consent
from annotator.models import Dataset, Face, Job, Subject
from annotator.worker import run_job
from tests.factories import make_face, make_subject
from tests.fakes import FakeVault

Token = Callable[[str], dict[str, str]]


@pytest.fixture
def vault(toolbox: Toolbox) -> FakeVault:
    vault = FakeVault()
    toolbox.vault = vault  # type: ignore[misc]
    return vault


@pytest.fixture
def subject(toolbox: Toolbox, vault: FakeVault, make_dataset: Callable[..., Dataset]) -> Subject:
    dataset = make_dataset("curator")
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
        subject = make_subject(session, vault, dataset)
        make_face(session, vault, subject)
    return subject


def test_all_means_erased(
    client: FlaskClient, token: Token, subject: Subject, toolbox: Toolbox, vault: FakeVault
) -> None:
    address, curator = f"/api/v1/subjects/{subject.id}/withdrawals", token("curator")
    answer = client.post(address, json={"purpose": "all"}, headers=curator)
    assert answer.status_code == 200
    assert (answer.json["erased"], answer.json["images"], answer.json["votes"]) == (True, 1, 3)
    with toolbox.sessions() as session:
        assert session.scalars(select(Face)).all() == []
        assert session.get_one(Subject, subject.id).wrapped_key is None
        assert session.get_one(Job, answer.json["job"]).kind == "erase"
    assert run_job(toolbox, answer.json["job"])
    assert vault.blobs == {}
    again = client.post(address, json={"purpose": "all"}, headers=curator)
    assert (again.status_code, again.json["code"]) == (409, "conflict")


def test_one_purpose(client: FlaskClient, token: Token, subject: Subject, toolbox: Toolbox) -> None:
    answer = client.post(
        f"/api/v1/subjects/{subject.id}/withdrawals",
        json={"purpose": "train"},
        headers=token("curator"),
    )
    assert (answer.json["erased"], answer.json["purposes"]) == (False, ["train"])
    with toolbox.sessions() as session:
        row = session.get_one(Subject, subject.id)
        assert "train" not in consent.given_purposes(session, subject=row)
        assert "store" in consent.given_purposes(session, subject=row)


@pytest.mark.parametrize("body", [{}, {"purpose": "magic"}, {"purpose": 1}, {"purpose": ""}])
def test_nonsense_is_a_problem(
    client: FlaskClient, token: Token, subject: Subject, body: dict[str, object]
) -> None:
    address = f"/api/v1/subjects/{subject.id}/withdrawals"
    answer = client.post(address, json=body, headers=token("curator"))
    assert answer.status_code == 422
    assert answer.mimetype == "application/problem+json"


def test_who_does_not_see_the_dataset_does_not_see_the_person(
    client: FlaskClient, token: Token, subject: Subject
) -> None:
    address = f"/api/v1/subjects/{subject.id}/withdrawals"
    answer = client.post(address, json={"purpose": "all"}, headers=token("reviewer"))
    assert answer.status_code == 403
    unknown = client.post(
        "/api/v1/subjects/999/withdrawals", json={"purpose": "all"}, headers=token("curator")
    )
    assert unknown.status_code == 404
