from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from annotator import __version__
from annotator.web.api.openapi import operation_of


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    answer = client.get("/api/v1/openapi.json")
    assert answer.status_code == 200
    assert answer.json is not None
    return dict(answer.json)


def test_it_says_what_it_describes(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert document["info"] == {"title": "Annotator", "version": __version__}


def test_every_endpoint_of_the_api_is_described(app: Flask) -> None:
    silent = [
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/") and operation_of(app, rule.endpoint) is None
    ]
    assert silent == []


def test_operations_have_names_of_their_own_and_problems(document: dict[str, Any]) -> None:
    operations = [each for path in document["paths"].values() for each in path.values()]
    names = [each["operationId"] for each in operations]
    assert len(names) == len(set(names)) > 0
    for each in operations:
        assert each["summary"].endswith(".")
        problem = each["responses"]["default"]["content"]["application/problem+json"]
        assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}


def test_addresses_name_their_parameters(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        assert "<" not in path
        for each in methods.values():
            named = {item["name"] for item in each["parameters"] if item["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}
