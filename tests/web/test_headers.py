import re
from collections.abc import Callable

from flask import Flask
from flask.testing import FlaskClient

from annotator.web.headers import CSP

SignIn = Callable[[str], FlaskClient]
STATIC = re.compile(r'(?:src|href)="(/static/[^"#]+)"')


def test_every_kind_of_answer_carries_the_headers(sign_in: SignIn) -> None:
    client = sign_in("admin")
    for address in ("/", "/account", "/nowhere", "/people", "/api/v1/openapi.json", "/sign-in"):
        headers = client.get(address).headers
        assert headers["X-Content-Type-Options"] == "nosniff", address
        assert headers["Referrer-Policy"] == "same-origin", address
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin", address
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin", address
        assert "camera=()" in headers["Permissions-Policy"], address
        assert headers["Cache-Control"] == "no-store", address
        assert "default-src 'none'" in headers["Content-Security-Policy"], address
        assert "Strict-Transport-Security" not in headers, address


def test_the_policy_lets_nothing_in_from_elsewhere() -> None:
    words = " ".join(CSP.values())
    assert "unsafe" not in words
    assert "http" not in words
    assert "*" not in words
    assert CSP["base-uri"] == CSP["frame-ancestors"] == CSP["object-src"] == "'none'"


def test_static_files_are_kept_for_ever_under_an_address_with_their_version(
    app: Flask, client: FlaskClient
) -> None:
    addresses = STATIC.findall(client.get("/sign-in").text)
    assert len(addresses) >= 7
    for address in addresses:
        answer = client.get(address, buffered=True)
        assert answer.status_code == 200, address
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert "Set-Cookie" not in answer.headers
    gone = re.sub(r"/static/\w+/", "/static/0000000000000000/", addresses[0])
    answer = client.get(gone)
    assert answer.status_code == 404
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_missing_static_file_is_not_kept(client: FlaskClient) -> None:
    address = STATIC.findall(client.get("/sign-in").text)[0]
    answer = client.get(address + ".map")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (404, "no-store")
