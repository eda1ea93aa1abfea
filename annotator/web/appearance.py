"""Light, dark or as the system says; kept in a cookie, so the first paint is right already."""

from typing import Final

from flask import request
from werkzeug import Response

THEMES: Final = ("light", "dark", "system")
_COOKIE = "theme"
_YEAR = 365 * 24 * 3600  # seconds


def theme() -> str:
    """What this browser chose."""
    chosen = request.cookies.get(_COOKIE, "system")
    return chosen if chosen in THEMES else "system"


def remember_theme(response: Response, chosen: str, *, secure: bool) -> None:
    """Keeps the choice; it says nothing about a person."""
    response.set_cookie(
        _COOKIE, chosen, max_age=_YEAR, secure=secure, httponly=True, samesite="Lax"
    )
