"""What the pages behind a person's own link have in common: who may open them, and how they fail.

They are open to strangers who have the secret in the address. So nothing that could pass the
address on is sent (no Referer, nothing kept by the browser), wrong secrets are counted and all
answered alike, and errors speak the reader's language.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from flask import Blueprint, Response, make_response, render_template, request, url_for

from annotator.domain import invitations
from annotator.models import Invitation
from annotator.web import errors
from annotator.web.appearance import theme
from annotator.web.security import address, limited, public
from annotator.web.transaction import db, toolbox

P = ParamSpec("P")
R = TypeVar("R")

GUESSES = "30 per minute"  # addresses that open nothing, from one place
CALLS = "120 per minute"  # of one link that opens something
HEADERS = {
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
}
_NOT_FOUND = 404
_METHODS = ("GET", "POST")


def by_link(
    calls: str = CALLS, methods: Sequence[str] = _METHODS
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declares a view that whoever has the secret in its address may open.

    Args:
        calls: how often one link may be used.
        methods: the HTTP methods that count.
    """

    def declare(view: Callable[P, R]) -> Callable[P, R]:
        guarded = limited(calls, key=_link, methods=methods)(view)
        guesses = limited(GUESSES, key=address, methods=_METHODS, counts=_opened_nothing)
        return public(guesses(guarded))

    return declare


def open_link(secret: str, kind: str, *, writing: bool | None = None) -> Invitation:
    """The link in the address.

    Raises:
        NotFound: it does not work; why is not said.
    """
    return invitations.open_invitation(
        db(writing=writing), vault=toolbox().vault, secret=secret, kind=kind
    )


def outside(endpoint: str, **values: Any) -> str:
    """The whole address of a page, as a person types it or a telephone reads it."""
    base = toolbox().settings.public_url or request.url_root
    return base.rstrip("/") + url_for(endpoint, **values)


def keep_private(blueprint: Blueprint) -> None:
    """Makes the answers of a blueprint keep its addresses to themselves, errors included."""
    blueprint.after_request(_add_headers)
    blueprint.register_error_handler(Exception, fail)


def _add_headers(response: Response) -> Response:
    response.headers.update(HEADERS)
    return response


def fail(error: Exception) -> Response:
    """Tells of an error in the reader's language."""
    return errors.answer(error, as_page=_as_page)


def _as_page(problem: errors.Problem) -> Response:
    # Without what ``page`` adds: this must come even when the database does not.
    frame = {"theme": theme(), "request_id": errors.request_id(), "bare": True}
    return make_response(render_template("links/error.html", problem=problem, **frame))


def _opened_nothing(response: Response) -> bool:
    return response.status_code == _NOT_FOUND


def _link() -> str:
    """Names a link for counting without its secret."""
    secret = (request.view_args or {}).get("secret", "")
    return "link-" + hashlib.sha256(secret.encode()).hexdigest()
