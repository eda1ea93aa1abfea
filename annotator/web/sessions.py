"""Browser sessions in the database: the cookie holds a random token, the table its SHA-256.

A session ends when its row does, so signing out, changing a password and disabling a person take
effect at the next request. Session rows have their own short transactions: what a browser was
told (a flash, a CSRF token) must not depend on whether the request's own work was rolled back.
"""

import datetime as dt
import hashlib
import secrets
from typing import Any

from flask import Flask, Request, Response
from flask.sessions import SessionInterface, SessionMixin
from sqlalchemy import delete, update
from sqlalchemy.orm import Session, sessionmaker

from annotator.core.config import Settings
from annotator.core.db import now
from annotator.models import BrowserSession

LONGEST = dt.timedelta(days=7)  # even with daily use; ASVS 7.3.2
STRANGER = dt.timedelta(hours=1)  # somebody who only looked at the sign-in page
TOUCH_EVERY = dt.timedelta(minutes=5)  # use prolongs a session, but not every request writes
USER = "user"  # the key in the data that holds the id of the person signed in


class BrowserState(dict[str, Any], SessionMixin):
    """The data of one browser, with the row it came from."""

    def __init__(self, token: str | None = None, row: BrowserSession | None = None) -> None:
        super().__init__(row.data if row else {})
        self.token = token if row else None
        self.row = row
        self.stored = dict(self)
        self.ended: list[str] = []

    @property
    def modified(self) -> bool:  # type: ignore[override]  # a plain attribute in the mixin
        """Whether there is something to store."""
        return dict(self) != self.stored

    def rotate(self) -> None:
        """A new token for what follows; the old one is worth nothing (session fixation)."""
        if self.token:
            self.ended.append(self.token)
        self.token, self.row = None, None
        self.stored = {}


class DatabaseSessions(SessionInterface):
    """Flask's sessions, kept in the table ``browser_sessions``."""

    def __init__(self, sessions: sessionmaker[Session], settings: Settings) -> None:
        self.sessions = sessions
        self.secure = settings.secure
        self.idle = dt.timedelta(hours=settings.session_hours)
        # __Host- binds a cookie to this host and to https; a plain http loopback cannot have it.
        self.cookie = "__Host-session" if settings.secure else "session"

    def open_session(self, app: Flask, request: Request) -> BrowserState:
        """Finds the browser's data; an unknown or expired token is a stranger."""
        del app
        token = request.cookies.get(self.cookie)
        if not token:
            return BrowserState()
        with self.sessions() as session:
            row = session.get(BrowserSession, _digest(token))
            if row is None or row.expires_at <= now():
                return BrowserState()
            session.expunge(row)
        return BrowserState(token, row)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Stores what changed and sets the cookie when the token is new."""
        del app
        assert isinstance(session, BrowserState)
        if not (session.modified or session.ended or self._due(session)):
            return
        with self.sessions() as database:
            database.connection(execution_options={"writing": True})
            if session.ended:
                digests = [_digest(token) for token in session.ended]
                database.execute(delete(BrowserSession).where(BrowserSession.digest.in_(digests)))
            token = self._store(database, session)
            database.commit()
        if token is None:
            response.delete_cookie(self.cookie, secure=self.secure, httponly=True, samesite="Lax")
        elif token != session.token:
            response.set_cookie(
                self.cookie, token, secure=self.secure, httponly=True, samesite="Lax", path="/"
            )

    def _store(self, database: Session, state: BrowserState) -> str | None:
        expires = self._expiry(state)
        values = {"data": dict(state), "user_id": state.get(USER), "expires_at": expires}
        if state.token:
            # An update, never an upsert: a session revoked meanwhile must not come back.
            found = database.execute(
                update(BrowserSession)
                .where(BrowserSession.digest == _digest(state.token))
                .values(**values)
                .returning(BrowserSession.user_id)
            ).one_or_none()
            return None if found is None else state.token
        if not state:
            return None
        token = secrets.token_urlsafe(32)
        database.execute(delete(BrowserSession).where(BrowserSession.expires_at <= now()))
        database.add(BrowserSession(digest=_digest(token), **values))
        return token

    def _expiry(self, state: BrowserState) -> dt.datetime:
        began = state.row.created_at if state.row else now()
        if not state.get(USER):
            return now() + STRANGER
        return min(now() + self.idle, began + LONGEST)

    def _due(self, state: BrowserState) -> bool:
        if state.row is None or not state.get(USER):
            return False
        return self._expiry(state) - state.row.expires_at > TOUCH_EVERY


def end_sessions(session: Session, *, user_id: int, keep: str | None = None) -> None:
    """Ends a person's sessions everywhere; with ``keep`` (a token) all but that one."""
    query = delete(BrowserSession).where(BrowserSession.user_id == user_id)
    if keep:
        query = query.where(BrowserSession.digest != _digest(keep))
    session.execute(query)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
