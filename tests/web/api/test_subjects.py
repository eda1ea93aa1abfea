from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.domain import consent
from annotator.models import Dataset, Subject

Token = Callable[[str], dict[str, str]]
MakeDataset = Callable[..., Dataset]
EVENT = {"purposes": ["store", "label"], "expression": "ticked", "expires": "2029-11-23"}


@pytest.fixture
def dataset(make_dataset: MakeDataset, toolbox: Toolbox) -> Dataset:
    dataset = make_dataset("curator")
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
    return dataset


def test_a_person_comes_with_consent_events(
    client: FlaskClient, token: Token, dataset: Dataset, session: Session
) -> None:
    body = {"code": "P-1", "name": "Somebody", "consents": [EVENT]}
    answer = client.post(
        f"/api/v1/datasets/{dataset.id}/subjects", json=body, headers=token("curator")
    )
    assert answer.status_code == 201
    subject = session.scalars(select(Subject)).one()
    assert answer.json == {"id": subject.id, "code": "P-1"}
    assert set(consent.given_purposes(session, subject=subject)) == {"store", "label"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"consents": "yes"},
        {"consents": [1]},
        {"consents": [{**EVENT, "purposes": []}]},
        {"consents": [{**EVENT, "purposes": ["dance"]}]},
        {"consents": [{**EVENT, "expression": "shrug"}]},
        {"consents": [{**EVENT, "expires": "soon"}]},
        {"consents": [{**EVENT, "expires": "0001-01-01T00:00:00+14:00"}]},
        {"consents": [{**EVENT, "at": "2999-01-01"}]},
        {"consents": [], "code": "x" * 81},
    ],
)
def test_bad_input_records_nobody(
    client: FlaskClient, token: Token, dataset: Dataset, session: Session, body: dict[str, Any]
) -> None:
    answer = client.post(
        f"/api/v1/datasets/{dataset.id}/subjects", json=body, headers=token("curator")
    )
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_input")
    assert session.scalars(select(Subject)).all() == []
