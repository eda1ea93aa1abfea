"""One request is one transaction, opened on first use and closed here, at the door.

A status below 400 commits, everything else and every exception rolls back. Nobody is told that
something was stored before the database has said so: when the commit fails, the error page goes
out instead of the view's answer.
"""

from typing import cast

from flask import Flask, Response, current_app, g, request
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.web import errors

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def toolbox() -> Toolbox:
    """The tools of this app."""
    return cast("Toolbox", current_app.extensions["annotator"])


def reading() -> Session:
    """The request's session, for looking only: takes no write lock."""
    if "session" not in g:
        g.session = toolbox().sessions()
    return cast("Session", g.session)


def db(*, writing: bool | None = None) -> Session:
    """The request's session.

    A request that changes something takes the database's write lock here, at its first use in a
    view, and not while the sender is still being identified or the body still arriving.

    Args:
        writing: whether this request writes; by default what its method says. A GET that leaves
            an entry in the log must say so, before it reads.
    """
    session = reading()
    if writing is None:
        writing = request.method not in SAFE_METHODS
    if writing and not session.info.get("writing"):
        session.rollback()  # ends the look at who is asking; nothing is written yet
        session.connection(execution_options={"writing": True})
        session.info["writing"] = True
    return session


def commit_early() -> None:
    """Commits what the request has done so far; what follows is a transaction of its own.

    For what can only be told once it is true, such as the proof of an erasure. An error after
    this takes nothing back, so nothing that may fail should follow unguarded.
    """
    session = reading()
    session.commit()
    session.info.pop("writing", None)


def init_transaction(app: Flask) -> None:
    """Closes the transaction of every request."""
    app.after_request(_finish)
    app.teardown_request(_close)


def _finish(response: Response) -> Response:
    session = cast("Session | None", g.get("session"))
    if session is None:
        return response
    if response.status_code >= errors.FIRST_ERROR:
        session.rollback()
        return response
    try:
        session.commit()
    except Exception as error:  # noqa: BLE001 - whatever it was, nothing was stored
        session.rollback()
        return errors.answer(error)
    return response


def _close(_error: BaseException | None) -> None:
    session = cast("Session | None", g.pop("session", None))
    if session is not None:
        session.close()
