from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from annotator.domain import consent
from annotator.models import Dataset

Token = Callable[[str], dict[str, str]]
MakeDataset = Callable[..., Dataset]
URL = "/api/v1/datasets"


def test_a_dataset_is_made_read_and_listed(client: FlaskClient, token: Token) -> None:
    headers = token("curator")
    facts = consent.fill_notice(organisation="Ward", contact="w@example.org", years=3)
    body = {"name": "Ward", "votes_per_face": 5, "notice": {"en": facts.as_dict()}}
    made = client.post(URL, json=body, headers=headers)
    assert made.status_code == 201
    assert made.json["votes_per_face"] == 5
    assert made.json["progress"] == {"faces": 0, "open": 0, "done": 0}
    assert client.get(f"{URL}/{made.json['id']}", headers=headers).json == made.json
    assert client.get(URL, headers=headers).json == {"items": [made.json], "next": None}


def test_a_notice_that_lacks_what_the_law_asks_for_makes_no_dataset(
    client: FlaskClient, token: Token
) -> None:
    headers = token("curator")
    facts = consent.fill_notice(organisation="", contact="w@example.org", years=3)
    for notice, sentence in (
        ({"en": facts.as_dict()}, "controller"),
        ({"xx": facts.as_dict()}, "controller"),
        ({"en": "We keep pictures."}, "by language"),
        ("We keep pictures.", "must be an object"),
    ):
        answer = client.post(URL, json={"name": "Ward", "notice": notice}, headers=headers)
        assert answer.status_code == 422
        assert sentence in answer.json["detail"]
    assert client.get(URL, headers=headers).json["items"] == []


def test_the_list_pages_by_cursor(
    client: FlaskClient, token: Token, make_dataset: MakeDataset
) -> None:
    made = [make_dataset(name=f"Study {number}").id for number in range(3)]
    headers = token("admin")
    first = client.get(f"{URL}?limit=2", headers=headers).json
    assert [item["id"] for item in first["items"]] == made[:2]
    second = client.get(f"{URL}?limit=2&after={first['next']}", headers=headers).json
    assert [item["id"] for item in second["items"]] == made[2:]
    assert second["next"] is None


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"name": 7},
        {"name": ""},
        {"name": "x", "votes_per_face": 0},
        {"name": "x", "blind_share": 2},
    ],
)
def test_bad_input_is_a_problem(client: FlaskClient, token: Token, body: Any) -> None:
    answer = client.post(URL, json=body, headers=token("curator"))
    assert answer.status_code == 422
    assert answer.mimetype == "application/problem+json"
    assert answer.json["code"] == "invalid_input"


def test_a_name_that_is_taken_is_a_conflict(
    client: FlaskClient, token: Token, make_dataset: MakeDataset
) -> None:
    make_dataset(name="Ward")
    answer = client.post(URL, json={"name": "Ward"}, headers=token("curator"))
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")


def test_wrong_token_wrong_role_and_missing_dataset(client: FlaskClient, token: Token) -> None:
    wrong = client.get(URL, headers={"Authorization": "Bearer ann_wrong"})
    assert (wrong.status_code, wrong.json["code"]) == (401, "not_signed_in")
    role = client.post(URL, json={"name": "x"}, headers=token("reviewer"))
    assert (role.status_code, role.json["code"]) == (403, "forbidden")
    missing = client.get(f"{URL}/4711", headers=token("admin"))
    assert (missing.status_code, missing.json["code"]) == (404, "not_found")
