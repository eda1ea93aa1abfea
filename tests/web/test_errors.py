from collections.abc import Callable

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from annotator.bootstrap import Toolbox
from annotator.core.errors import ConsentMissing
from annotator.web.security import public

SignIn = Callable[[str], FlaskClient]


@pytest.fixture
def broken(app: Flask) -> FlaskClient:
    def fail(how: str) -> str:
        if how == "consent":
            raise ConsentMissing("Ask the person first.")
        if how == "read":
            return str(len(request.get_data()))
        raise RuntimeError("/srv/secret/path")

    app.add_url_rule("/api/fail/<how>", "fail-api", public(fail), methods=["GET"])
    app.add_url_rule("/fail/<how>", "fail", public(fail))
    return app.test_client()


def test_a_program_gets_problem_json(broken: FlaskClient) -> None:
    answer = broken.get("/api/fail/consent")
    assert answer.status_code == 409
    assert answer.mimetype == "application/problem+json"
    problem = answer.json
    assert problem is not None
    assert problem.pop("request_id")
    assert problem == {
        "type": "urn:annotator:problem:consent_missing",
        "title": "The person has not consented to this.",
        "status": 409,
        "detail": "Ask the person first.",
        "code": "consent_missing",
    }


def test_a_person_gets_a_page(broken: FlaskClient) -> None:
    answer = broken.get("/fail/consent")
    assert answer.status_code == 409
    assert answer.mimetype == "text/html"
    assert "Ask the person first." in answer.text


def test_who_prefers_json_gets_it_anywhere(broken: FlaskClient) -> None:
    answer = broken.get("/fail/consent", headers={"Accept": "application/json"})
    assert answer.mimetype == "application/problem+json"


@pytest.mark.parametrize("address", ["/fail/x", "/api/fail/x"])
def test_what_nobody_expected_says_nothing_and_is_logged(
    broken: FlaskClient, caplog: pytest.LogCaptureFixture, address: str
) -> None:
    answer = broken.get(address)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "RuntimeError" not in answer.text
    record = caplog.records[-1]
    assert record.getMessage().split()[1] in answer.text
    assert record.exc_info is not None
    assert "secret" in str(record.exc_info[1])


@pytest.mark.parametrize(
    ("address", "method", "status", "code"),
    [
        ("/nowhere", "GET", 404, "not_found"),
        ("/api/v1/nowhere", "GET", 404, "not_found"),
        ("/sign-out", "GET", 405, "method_not_allowed"),
        ("/api/v1/openapi.json", "DELETE", 405, "method_not_allowed"),
    ],
)
def test_wrong_addresses(
    client: FlaskClient, address: str, method: str, status: int, code: str
) -> None:
    answer = client.open(address, method=method)
    assert answer.status_code == status
    assert code in answer.text
    assert ("Allow" in answer.headers) == (status == 405)


def test_too_much_at_once(app: Flask, sign_in: SignIn) -> None:
    client = sign_in("annotator")
    app.config["MAX_CONTENT_LENGTH"] = 1000
    answer = client.post("/account/tokens", data={"name": "x" * 2000})
    assert answer.status_code == 413
    assert "too large" in answer.text


def test_the_error_page_needs_no_database(app: Flask, toolbox: Toolbox) -> None:
    client = app.test_client()
    client.set_cookie("session", "anything")
    with toolbox.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE browser_sessions")
    answer = client.get("/sign-in")
    assert answer.status_code == 500
    assert "Something went wrong on our side." in answer.text
