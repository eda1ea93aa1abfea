"""Every error becomes one page, or one problem+json (RFC 9457), here and nowhere else."""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from flask import Flask, Response, current_app, g, jsonify, request
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from annotator.core.db import explain
from annotator.core.errors import AnnotatorError
from annotator.web.appearance import theme

log = logging.getLogger(__name__)
FIRST_ERROR = 400
FIRST_SERVER_ERROR = 500

# What werkzeug raises by itself, in our words: status -> (code, title, detail).
SENTENCES = {
    400: ("bad_request", "The request could not be understood.", "Go back and try again."),
    404: ("not_found", "There is nothing here.", "Check the address, or start from the home page."),
    405: (
        "method_not_allowed",
        "This address does not take that kind of request.",
        "On a page, go back and use its buttons; programs read the header Allow.",
    ),
    406: ("not_acceptable", "This is not available in that format.", "Ask for another format."),
    413: ("too_large", "What was sent is too large.", "Send fewer or smaller files at once."),
    415: ("unsupported_media", "This kind of content is not taken here.", "Send JSON."),
    416: (
        "range_not_satisfiable",
        "The file ends before the part that was asked for.",
        "Start the download from the beginning.",
    ),
    429: ("too_many_requests", "Too many attempts.", "Wait a minute and try again."),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What a person or a program is told."""

    status: int
    code: str
    title: str
    detail: str


def init_errors(app: Flask) -> None:
    """Maps errors to answers."""
    app.before_request(_name_request)
    app.register_error_handler(Exception, answer)


def answer(error: Exception, *, as_page: Callable[[Problem], Response] | None = None) -> Response:
    """Turns an error into a page or problem+json; logs what nobody expected.

    Args:
        error: whatever was raised.
        as_page: makes the page, where a blueprint has one of its own.
    """
    problem = _explain(error)
    if problem.status >= FIRST_SERVER_ERROR:
        log.error("request %s failed", request_id(), exc_info=error)
    response = _as_json(problem) if wants_json() else (as_page or _as_page)(problem)
    response.status_code = problem.status
    if isinstance(error, HTTPException):
        for name, value in error.get_headers():
            if name.lower() in {"allow", "content-range", "retry-after"}:
                response.headers[name] = value
    if problem.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def wants_json() -> bool:
    """Whether the asker is a program: under /api, or when it prefers JSON to a page."""
    if request.path.startswith("/api/"):
        return True
    kinds = ["text/html", "application/json", "application/problem+json"]
    return request.accept_mimetypes.best_match(kinds, "text/html") != "text/html"


def request_id() -> str:
    """A short name for this request, to find it in the log."""
    if "request_id" not in g:
        g.request_id = secrets.token_hex(4)
    return str(g.request_id)


def _name_request() -> None:
    request_id()


def _explain(error: Exception) -> Problem:
    original = getattr(error, "original_exception", None)
    if original is not None:
        error = original
    error = explain(error) or error
    if isinstance(error, AnnotatorError):
        return Problem(error.status, error.code, error.title, error.message)
    if isinstance(error, CSRFError):
        return Problem(
            400,
            "csrf",
            "This form was open for too long.",
            "Go back, reload the page and send it again. Nothing was changed.",
        )
    if isinstance(error, HTTPException) and error.code in SENTENCES:
        return Problem(error.code, *SENTENCES[error.code])
    if isinstance(error, HTTPException) and error.code and error.code < FIRST_SERVER_ERROR:
        return Problem(error.code, "error", error.name, "Go back and try again.")
    return Problem(
        500,
        "internal",
        "Something went wrong on our side.",
        f"Nothing was changed. Tell your administrator this number: {request_id()}.",
    )


def _as_json(problem: Problem) -> Response:
    response = jsonify(
        type=f"urn:annotator:problem:{problem.code}",
        title=problem.title,
        status=problem.status,
        detail=problem.detail,
        code=problem.code,
        request_id=request_id(),
    )
    response.mimetype = "application/problem+json"
    return response


def _as_page(problem: Problem) -> Response:
    # Without the app's context processors: the page must come even when the database does not.
    template = current_app.jinja_env.get_template("errors/error.html")
    body = template.render(problem=problem, request_id=request_id(), theme=theme(), bare=True)
    return Response(body, mimetype="text/html")
