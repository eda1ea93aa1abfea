"""An app on an empty database, and people of every role in it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.core.config import Settings
from annotator.core.db import Base
from annotator.domain import accounts, datasets
from annotator.models import ROLES, Dataset, User
from annotator.web import create_app
from annotator.web.security import limiter
from tests.fakes import FakeVault

PASSWORD = "correct horse battery"
_HASHES: dict[str, str] = {}
TOKEN_FIELD = re.compile(r'name="csrf_token" value="([^"]+)"')


class SilentQueue:
    """Remembers whom it was asked to wake."""

    def __init__(self) -> None:
        self.woken: list[int] = []

    def wake(self, job_id: int) -> None:
        self.woken.append(job_id)


@pytest.fixture
def toolbox(tmp_path: Path) -> Iterator[Toolbox]:
    tools = Toolbox(Settings(data=tmp_path))
    tools.queue = SilentQueue()
    tools.vault = FakeVault()
    Base.metadata.create_all(tools.engine)
    yield tools
    tools.engine.dispose()


@pytest.fixture
def app(toolbox: Toolbox) -> Flask:
    app = create_app(toolbox)
    limiter.reset()
    with app.app_context(), toolbox.transaction() as session:
        for role in ROLES:
            accounts.create_user(
                session,
                email=f"{role}@example.org",
                name=f"Any {role.title()}",
                role=role,
                password_hash=_hash(),
            )
    return app


def _hash() -> str:
    # Once for all tests: Argon2id is slow on purpose.
    from annotator.web.identity import hash_new

    if PASSWORD not in _HASHES:
        _HASHES[PASSWORD] = hash_new(PASSWORD)
    return _HASHES[PASSWORD]


@pytest.fixture
def session(toolbox: Toolbox) -> Iterator[Session]:
    """A look at the database beside the app's own."""
    with toolbox.sessions() as session:
        yield session


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A stranger's browser."""
    return app.test_client()


@pytest.fixture
def sign_in(app: Flask) -> Callable[[str], FlaskClient]:
    """A browser in which a person of some role is signed in; ``client.post`` sends CSRF tokens."""

    def sign_in(role: str) -> FlaskClient:
        app.test_client_class = Browser
        client = app.test_client()
        answer = client.post(
            "/sign-in", data={"email": f"{role}@example.org", "password": PASSWORD}
        )
        assert answer.status_code == 303, answer.text
        limiter.reset()
        return client

    return sign_in


class Browser(FlaskClient):
    """A client that sends the page's CSRF token with every change, as the pages do."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("method", "GET") not in {"GET", "HEAD", "OPTIONS"}:
            headers = dict(kwargs.pop("headers", None) or {})
            if "X-CSRFToken" not in headers:
                headers["X-CSRFToken"] = self.csrf()
            kwargs["headers"] = headers
        return super().open(*args, **kwargs)

    def csrf(self) -> str:
        """The token that the pages of this browser carry."""
        text = super().open("/sign-in", follow_redirects=True).text
        found = TOKEN_FIELD.search(text)
        assert found is not None, text
        return found[1]


@pytest.fixture
def token(app: Flask, toolbox: Toolbox) -> Callable[[str], dict[str, str]]:
    """The headers of a program that carries a token of a person of some role."""

    def token(role: str) -> dict[str, str]:
        with toolbox.transaction() as session:
            user = find_user(session, role)
            _, secret = accounts.create_token(session, user=user, name="test")
        return {"Authorization": f"Bearer {secret}"}

    return token


@pytest.fixture
def make_dataset(app: Flask, toolbox: Toolbox) -> Callable[..., Dataset]:
    """A dataset with members of the named roles."""

    def make(*roles: str, name: str = "Clinic pilot") -> Dataset:
        with toolbox.transaction() as session:
            dataset = datasets.create_dataset(session, name=name, created_by=None)
            for role in roles:
                user = find_user(session, role)
                accounts.add_member(session, user=user, dataset=dataset, by=None)
        return dataset

    return make


def find_user(session: Session, role: str) -> User:
    """The person of a role."""
    return session.scalars(select(User).where(User.role == role)).one()
