import datetime as dt
from collections.abc import Callable
from pathlib import Path

from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.core.config import Settings
from annotator.core.db import Base, now
from annotator.models import BrowserSession
from annotator.web import create_app

SignIn = Callable[[str], FlaskClient]


def only(session: Session) -> BrowserSession:
    session.rollback()  # look again: another snapshot, and nothing remembered
    session.expire_all()
    return session.scalars(select(BrowserSession).where(BrowserSession.user_id.is_not(None))).one()


def test_the_database_holds_no_token(sign_in: SignIn, session: Session) -> None:
    cookie = sign_in("annotator").get_cookie("session")
    assert cookie is not None
    row = only(session)
    assert cookie.value.encode() not in row.digest
    assert cookie.value not in str(row.data)


def test_cookie_flags_on_plain_loopback(sign_in: SignIn) -> None:
    cookie = sign_in("annotator").get_cookie("session")
    assert cookie is not None
    assert (cookie.http_only, cookie.same_site, cookie.secure) == (True, "Lax", False)


def test_behind_https_the_cookie_is_host_bound(tmp_path: Path) -> None:
    toolbox = Toolbox(Settings(data=tmp_path, public_url="https://faces.example.org"))
    Base.metadata.create_all(toolbox.engine)
    answer = create_app(toolbox).test_client().get("/sign-in", base_url="https://faces.example.org")
    toolbox.engine.dispose()
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-session=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=63072000")


def test_use_prolongs_a_session_but_not_for_ever(sign_in: SignIn, session: Session) -> None:
    client = sign_in("annotator")
    row = only(session)
    row.expires_at = now() + dt.timedelta(hours=1)
    session.commit()
    client.get("/")
    assert only(session).expires_at > now() + dt.timedelta(hours=11)
    row = only(session)
    row.created_at = now() - dt.timedelta(days=6, hours=23)
    row.expires_at = now() + dt.timedelta(minutes=10)
    session.commit()
    client.get("/")
    assert only(session).expires_at < now() + dt.timedelta(hours=2)


def test_an_expired_session_is_a_stranger(sign_in: SignIn, session: Session) -> None:
    client = sign_in("annotator")
    only(session).expires_at = now() - dt.timedelta(seconds=1)
    session.commit()
    assert client.get("/").status_code == 302


def test_a_session_revoked_during_a_request_does_not_come_back(
    sign_in: SignIn, session: Session
) -> None:
    client = sign_in("annotator")
    with client.session_transaction() as state:
        state["note"] = "written while somebody revokes"
        session.delete(only(session))
        session.commit()
    assert session.scalars(select(BrowserSession.user_id)).all() == []
    assert client.get("/").status_code == 302


def test_made_up_cookies_are_strangers(client: FlaskClient) -> None:
    client.set_cookie("session", "x" * 500)
    assert client.get("/").status_code == 302
