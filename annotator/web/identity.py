"""Flask-Security, set up: accounts and Argon2id come from it, pages and tables are ours.

Its own pages stay off; ``web/account.py`` has ours. The table ``users`` knows nothing of the web,
so ``Account`` stands between: what Flask-Security sees of one person.
"""

import secrets
import unicodedata
from typing import Any, cast

from flask import Flask, session
from flask_security import Security, UserDatastore, UserMixin
from flask_security.utils import (
    hash_password,
    login_user,
    logout_user,
    verify_and_update_password,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.domain import accounts, audit
from annotator.models import User
from annotator.web.sessions import USER, BrowserState, end_sessions
from annotator.web.transaction import reading

LONGEST_PASSWORD = 200  # characters; a longer one would only keep the hash function busy

CONFIG: dict[str, Any] = {
    "SECURITY_PASSWORD_HASH": "argon2",
    "SECURITY_PASSWORD_SCHEMES": ["argon2"],
    "SECURITY_DEPRECATED_PASSWORD_SCHEMES": [],
    # Argon2id alone, so a hash made by any door of the app opens at every other.
    "SECURITY_PASSWORD_SINGLE_HASH": {"argon2"},
    "SECURITY_PASSWORD_LENGTH_MIN": accounts.MIN_PASSWORD,
    "SECURITY_CLI_USERS_NAME": None,
    "SECURITY_CLI_ROLES_NAME": None,
    "SECURITY_TWO_FACTOR_IMPLEMENTATIONS": {},
    "SESSION_PROTECTION": None,  # the session row is the protection
    "REMEMBER_COOKIE_REFRESH_EACH_REQUEST": False,
}


class Account(UserMixin):  # type: ignore[misc]  # Flask-Security's types are not followed
    """One person, as Flask-Security wants to see them."""

    roles: tuple[()] = ()  # ours are ordered and checked in security.py

    def __init__(self, user: User) -> None:
        self.user = user

    @property
    def active(self) -> bool:
        """Whether they may sign in."""
        return self.user.active

    @property
    def is_active(self) -> bool:
        """The same, by Flask-Login's name."""
        return self.user.active

    @property
    def fs_uniquifier(self) -> str:
        """What a session remembers; a new one ends every session."""
        return self.user.fs_uniquifier

    @property
    def password(self) -> str:
        """The Argon2id hash."""
        return self.user.password

    @password.setter
    def password(self, value: str) -> None:
        self.user.password = value


class Accounts(UserDatastore):  # type: ignore[misc]  # likewise
    """Finds people in our table, in the request's transaction."""

    def __init__(self) -> None:
        super().__init__(Account, None)

    def find_user(self, *, case_insensitive: bool = False, **by: Any) -> Account | None:
        """Finds one person by the value of a column."""
        del case_insensitive  # addresses are kept in lower case
        user = reading().scalar(select(User).filter_by(**by))
        return None if user is None else Account(user)

    def put(self, model: Any) -> Any:
        """Nothing to do: the row belongs to the request's session."""
        return model


def init_identity(app: Flask) -> None:
    """Sets Flask-Security up; call it after ``init_security``, whose guard must run first."""
    app.config.update(CONFIG)
    Security(app, Accounts(), register_blueprint=False)
    # Its own token door stays shut; ours is security.py's bearer token.
    app.login_manager.request_loader(lambda _request: None)  # type: ignore[attr-defined]


def hash_new(password: str) -> str:
    """Hashes a password with Argon2id."""
    return cast("str", hash_password(_normal(password)))


def check_password(user: User, password: str) -> bool:
    """Whether it is this person's password; a hash with old parameters is renewed."""
    return bool(verify_and_update_password(_normal(password), Account(user)))


def change_password(database: Session, *, user: User, password: str, by: int) -> None:
    """Gives a person another password; every session of theirs ends."""
    user.password = hash_new(password)
    user.fs_uniquifier = secrets.token_hex(32)
    end_sessions(database, user_id=user.id)
    audit.append(database, action="user.password_changed", actor=audit.actor_of(by), user=user.id)
    database.flush()


def authenticate(email: str, password: str) -> User | None:
    """Finds an active person by address and password.

    An unknown address takes as long as a wrong password, so that timing tells nothing.
    """
    account = Accounts().find_user(email=email.strip().lower())
    if account is None:
        hash_new(password)
        return None
    right = check_password(account.user, password)
    return account.user if right and account.active else None


def begin_session(user: User) -> None:
    """Signs this browser in, under a new token."""
    state = cast("BrowserState", session)
    state.clear()
    state.rotate()
    login_user(Account(user), authn_via=["password"])
    state[USER] = user.id


def end_session() -> None:
    """Signs this browser out; the old token is worth nothing at once."""
    logout_user()
    state = cast("BrowserState", session)
    state.clear()
    state.rotate()


def _normal(password: str) -> str:
    return unicodedata.normalize("NFKD", password)
