import io
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from annotator.bootstrap import Toolbox
from annotator.domain import consent, exports
from annotator.domain.verification import verify_export
from annotator.models import Dataset
from tests.factories import make_face, make_subject
from tests.fakes import FakeTools, FakeVault, FakeWork

Token = Callable[[str], dict[str, str]]


@pytest.fixture
def vault(toolbox: Toolbox) -> FakeVault:
    vault = FakeVault()
    toolbox.vault = vault  # type: ignore[misc]
    return vault


@pytest.fixture
def dataset(toolbox: Toolbox, vault: FakeVault, make_dataset: Callable[..., Dataset]) -> Dataset:
    dataset = make_dataset("curator")
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
        for _ in range(3):
            make_face(session, vault, make_subject(session, vault, dataset))
    return dataset


def test_build_look_fetch(
    client: FlaskClient, token: Token, dataset: Dataset, toolbox: Toolbox, vault: FakeVault
) -> None:
    curator = token("curator")
    wish = {"balance": "weights", "seed": 4, "recipient": "University of X"}
    made = client.post(f"/api/v1/datasets/{dataset.id}/exports", json=wish, headers=curator)
    assert made.status_code == 202
    assert made.json["state"] == "queued"
    assert (made.json["balance"], made.json["seed"]) == ("weights", 4)
    number = made.json["id"]
    early = client.get(f"/api/v1/exports/{number}/archive", headers=curator)
    assert (early.status_code, early.json["code"]) == (409, "conflict")
    exports.build_export(FakeWork(toolbox.engine, FakeTools(vault=vault)), export_id=number)
    ready = client.get(f"/api/v1/exports/{number}", headers=curator).json
    assert (ready["state"], ready["counts"]["faces"]) == ("ready", 3)
    fetched = client.get(f"/api/v1/exports/{number}/archive", headers=curator)
    report = verify_export(io.BytesIO(fetched.data), public_key=vault.public_key("export"))
    assert report.ok, report.message


def test_without_words_it_is_for_the_caller(
    client: FlaskClient, token: Token, dataset: Dataset
) -> None:
    made = client.post(f"/api/v1/datasets/{dataset.id}/exports", json={}, headers=token("curator"))
    assert (made.status_code, made.json["recipient"]) == (202, "Any Curator")


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"tier": "T2"}, "not available in this version"),
        ({"format": "csv"}, "not available in this version"),
        ({"seed": "x"}, "'seed' must be a whole number"),
        ({"magic": 1}, "There is no 'magic'"),
        ({"balance": 1}, "'balance' must be a text"),
    ],
)
def test_bad_wishes_are_problems(
    client: FlaskClient, token: Token, dataset: Dataset, wish: dict[str, object], sentence: str
) -> None:
    answer = client.post(
        f"/api/v1/datasets/{dataset.id}/exports", json=wish, headers=token("curator")
    )
    assert answer.status_code == 422
    assert answer.mimetype == "application/problem+json"
    assert sentence in answer.json["detail"]
