from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.models import AuditEntry, BrowserSession

PASSWORD = "correct horse battery"
NEW = "a much better password"
SignIn = Callable[[str], FlaskClient]


def test_a_stranger_is_sent_to_sign_in_and_back(sign_in: SignIn, client: FlaskClient) -> None:
    answer = client.get("/account?from=here")
    assert answer.status_code == 302
    assert answer.location == "/sign-in?next=/account?from%3Dhere"


def test_signing_in_and_out(sign_in: SignIn) -> None:
    client = sign_in("annotator")
    assert "Hello, Any Annotator" in client.get("/").text
    assert client.post("/sign-out").status_code == 303
    assert client.get("/").status_code == 302


def test_a_session_that_was_signed_out_is_dead(sign_in: SignIn) -> None:
    client = sign_in("annotator")
    stolen = client.get_cookie("session")
    assert stolen is not None
    client.post("/sign-out")
    client.set_cookie("session", stolen.value)
    assert client.get("/").status_code == 302
