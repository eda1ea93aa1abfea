from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.domain import accounts
from annotator.models import ApiToken, BrowserSession, User

PASSWORD = "correct horse battery"
NEW = "a much better password"
SignIn = Callable[[str], FlaskClient]


def change(client: FlaskClient, **other: str) -> int:
    form = {"current": PASSWORD, "new": NEW, "again": NEW} | other
    return client.post("/account/password", data=form).status_code


def try_to_sign_in(client: FlaskClient, email: str, password: str) -> tuple[int, str]:
    answer = client.post("/sign-in", data={"email": email, "password": password})
    return answer.status_code, answer.text


@pytest.fixture
def browser(sign_in: SignIn) -> FlaskClient:
    """A browser that sends CSRF tokens and is signed out."""
    client = sign_in("annotator")
    client.post("/sign-out")
    return client


def test_a_stranger_is_sent_to_sign_in_and_back(browser: FlaskClient) -> None:
    answer = browser.get("/account?from=here")
    assert answer.status_code == 302
    assert answer.location == "/sign-in?next=/account?from%3Dhere"
    form = {"email": "Annotator@Example.org ", "password": PASSWORD, "next": "/account?from=here"}
    answer = browser.post("/sign-in", data=form)
    assert (answer.status_code, answer.location) == (303, "/account?from=here")


@pytest.mark.parametrize(
    "wanted",
    ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:x", "/a\nb", ""],
)
def test_signing_in_leads_to_no_other_site(browser: FlaskClient, wanted: str) -> None:
    form = {"email": "annotator@example.org", "password": PASSWORD, "next": wanted}
    assert browser.post("/sign-in", data=form).location == "/"


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


def test_signing_in_changes_the_session_token(browser: FlaskClient) -> None:
    browser.get("/sign-in")
    before = browser.get_cookie("session")
    try_to_sign_in(browser, "annotator@example.org", PASSWORD)
    after = browser.get_cookie("session")
    assert before is not None
    assert after is not None
    assert before.value != after.value


def test_wrong_password_unknown_and_disabled_sound_the_same(
    browser: FlaskClient, toolbox: object, session: Session
) -> None:
    user = session.scalars(select(User).where(User.role == "curator")).one()
    user.active = False
    session.commit()
    answers = [
        try_to_sign_in(browser, "annotator@example.org", "wrong password here"),
        try_to_sign_in(browser, "nobody@example.org", PASSWORD),
        try_to_sign_in(browser, "curator@example.org", PASSWORD),
    ]
    for status, text in answers:
        assert status == 422
        assert "do not belong together" in text
        assert text.count("autofocus") == 1
        assert PASSWORD not in text


def test_an_empty_form_says_what_is_missing(browser: FlaskClient) -> None:
    status, text = try_to_sign_in(browser, "", "")
    assert status == 422
    assert "Please give your e-mail address." in text
    assert "Please give your password." in text


def test_guessing_is_slowed_down_per_account(browser: FlaskClient) -> None:
    found = [try_to_sign_in(browser, "annotator@example.org", "guess")[0] for _ in range(11)]
    assert found == [422] * 10 + [429]
    assert try_to_sign_in(browser, "reviewer@example.org", PASSWORD)[0] == 303


def test_changing_the_password_ends_every_other_session(sign_in: SignIn, session: Session) -> None:
    here, there = sign_in("annotator"), sign_in("annotator")
    assert change(here) == 303
    assert here.get("/account").status_code == 200
    assert there.get("/account").status_code == 302
    signed_in = select(func.count()).where(BrowserSession.user_id.is_not(None))
    assert session.scalar(signed_in) == 1
    here.post("/sign-out")
    assert try_to_sign_in(here, "annotator@example.org", PASSWORD)[0] == 422
    assert try_to_sign_in(here, "annotator@example.org", NEW)[0] == 303


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"current": "not my password"}, "This is not your present password."),
        ({"new": "short", "again": "short"}, "12 to 200 characters"),
        ({"again": "something else"}, "The two new passwords differ."),
    ],
)
def test_a_password_change_that_is_refused(
    sign_in: SignIn, form: dict[str, str], sentence: str
) -> None:
    client = sign_in("annotator")
    data = {"current": PASSWORD, "new": NEW, "again": NEW} | form
    answer = client.post("/account/password", data=data)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert NEW not in answer.text


def test_a_token_is_shown_once_and_can_be_revoked(sign_in: SignIn, session: Session) -> None:
    client = sign_in("annotator")
    answer = client.post("/account/tokens", data={"name": "night upload", "days": "30"})
    assert answer.status_code == 201
    secret = answer.text.split('class="secret">')[1].split("<")[0]
    assert accounts.check_token(session, secret=secret).role == "annotator"
    page = client.get("/account").text
    assert "night upload" in page
    assert secret not in page
    token = session.scalars(select(ApiToken)).one()
    assert client.get(f"/account/tokens/{token.id}/revoke").status_code == 200
    assert client.post(f"/account/tokens/{token.id}/revoke").status_code == 303
    assert "night upload" not in client.get("/account").text


def test_nobody_revokes_anothers_token(sign_in: SignIn, session: Session) -> None:
    sign_in("annotator").post("/account/tokens", data={"name": "mine", "days": "30"})
    token = session.scalars(select(ApiToken)).one()
    assert sign_in("curator").post(f"/account/tokens/{token.id}/revoke").status_code == 404


def test_the_appearance_is_remembered_without_a_script(browser: FlaskClient) -> None:
    assert "data-theme" not in browser.get("/sign-in").text
    answer = browser.post("/appearance", data={"theme": "dark", "next": "/sign-in"})
    assert answer.location == "/sign-in"
    assert '<html lang="en" data-theme="dark">' in browser.get("/sign-in").text
    browser.post("/appearance", data={"theme": "polka dots"})
    assert 'data-theme="dark"' in browser.get("/sign-in").text
