"""Every route with every role; routes of later pages join by themselves."""

from collections.abc import Callable, Iterator

import pytest
from flask import Flask, url_for
from flask.testing import FlaskClient

from annotator.core.errors import NotFound
from annotator.models import ROLES, Dataset
from annotator.web.security import access_of, current_dataset, public, requires
from annotator.web.transaction import SAFE_METHODS

SignIn = Callable[[str], FlaskClient]
Token = Callable[[str], dict[str, str]]
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def routes(app: Flask) -> Iterator[tuple[str, str, str, str | None]]:
    """Endpoint, method, an address with made-up arguments, and the declared role."""
    for rule in app.url_map.iter_rules():
        if rule.endpoint == "static":
            continue
        access = access_of(app, rule.endpoint)
        assert access is not None, f"{rule.endpoint} declares no access"
        values = {
            name: 999999 if name.endswith("id") or name == "after" else "x"
            for name in rule.arguments
        }
        with app.test_request_context():
            address = url_for(rule.endpoint, **values)
        for method in METHODS:
            if method in (rule.methods or ()):
                yield rule.endpoint, method, address, access.role


def test_every_endpoint_declares_its_access(app: Flask) -> None:
    missing = [name for name in app.view_functions if access_of(app, name) is None]
    assert missing == []


def test_an_undeclared_endpoint_is_refused(app: Flask, sign_in: SignIn) -> None:
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    answer = sign_in("admin").get("/forgotten")
    assert answer.status_code == 403
    assert "secret" not in answer.text


def test_strangers_get_nothing_but_the_public_pages(app: Flask, client: FlaskClient) -> None:
    for endpoint, method, address, role in routes(app):
        if role is None:
            continue
        answer = client.open(address, method=method)
        page = method == "GET" and not address.startswith("/api/")
        assert answer.status_code == (302 if page else 401), (endpoint, method)
        if page:
            assert answer.location.startswith("/sign-in"), endpoint


@pytest.mark.parametrize("role", ROLES)
def test_a_role_opens_what_it_may_and_nothing_else(app: Flask, sign_in: SignIn, role: str) -> None:
    client = sign_in(role)
    for endpoint, method, address, needed in routes(app):
        if needed is None:
            continue
        if ROLES.index(role) < ROLES.index(needed):
            answer = client.open(address, method=method)
            assert answer.status_code == 403, (endpoint, method, needed)
        elif method in SAFE_METHODS:
            answer = client.open(address, method=method)
            assert answer.status_code not in {401, 403}, (endpoint, method, needed)
            assert answer.status_code < 500, (endpoint, method)


def test_every_change_needs_a_csrf_token(app: Flask, sign_in: SignIn) -> None:
    client = sign_in("admin")
    for endpoint, method, address, _ in routes(app):
        if method not in SAFE_METHODS:
            answer = FlaskClient.open(client, address, method=method)
            assert answer.status_code == 400, (endpoint, method)
            assert "open for too long" in answer.text, (endpoint, method)


def test_a_program_with_a_token_needs_no_csrf_token(app: Flask, token: Token) -> None:
    _add_echo(app)
    answer = app.test_client().post("/api/v1/echo", headers=token("curator"))
    assert (answer.status_code, answer.json) == (200, {"you": "curator"})


def test_a_token_opens_no_page(app: Flask, token: Token) -> None:
    answer = app.test_client().get("/account", headers=token("admin"))
    assert answer.status_code == 302


def test_a_token_has_its_owners_role(app: Flask, token: Token) -> None:
    _add_echo(app)
    answer = app.test_client().post("/api/v1/echo", headers=token("reviewer"))
    assert answer.status_code == 403
    assert answer.json["code"] == "forbidden"


@pytest.mark.parametrize("value", ["Bearer nonsense", "Bearer ", "bearer ann_", "Basic eDp5"])
def test_a_wrong_token_is_refused(app: Flask, value: str) -> None:
    _add_echo(app)
    answer = app.test_client().post("/api/v1/echo", headers={"Authorization": value})
    assert answer.status_code == 401
    assert answer.mimetype == "application/problem+json"
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_wrong_token_is_refused_even_beside_a_good_session(app: Flask, sign_in: SignIn) -> None:
    _add_echo(app)
    answer = sign_in("admin").post("/api/v1/echo", headers={"Authorization": "Bearer nonsense"})
    assert answer.status_code == 401


def test_a_dataset_is_for_its_members_and_admins(
    app: Flask, sign_in: SignIn, make_dataset: Callable[..., Dataset]
) -> None:
    dataset = make_dataset("annotator")

    @requires("annotator")
    def look(dataset_id: int) -> str:
        return current_dataset(dataset_id).name

    app.add_url_rule("/look/<int:dataset_id>", "look", look)
    address = f"/look/{dataset.id}"
    assert sign_in("annotator").get(address).text == "Clinic pilot"
    assert sign_in("admin").get(address).text == "Clinic pilot"
    outside = sign_in("curator").get(address)
    absent = sign_in("curator").get("/look/999999")
    assert outside.status_code == absent.status_code == NotFound.status
    assert "no such dataset" in outside.text


def test_a_role_that_does_not_exist_cannot_be_required() -> None:
    with pytest.raises(ValueError, match="no such role"):
        requires("owner")


def test_token_requests_hash_no_password(
    app: Flask, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    _add_echo(app)
    headers = token("admin")
    monkeypatch.setattr("argon2.low_level.core", _never)
    assert app.test_client().post("/api/v1/echo", headers=headers).status_code == 200


def _never(*args: object) -> None:
    raise AssertionError("a password was hashed")


def _add_echo(app: Flask) -> None:
    from annotator.web.security import signed_in

    @requires("curator")
    def echo() -> dict[str, str]:
        return {"you": signed_in().role}

    app.add_url_rule("/api/v1/echo", "echo", echo, methods=["POST"])


def test_public_is_public(app: Flask, client: FlaskClient) -> None:
    app.add_url_rule("/open", "open", public(lambda: "welcome"))
    assert client.get("/open").text == "welcome"
