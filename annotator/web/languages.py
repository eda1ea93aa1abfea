"""Languages: a page speaks the language of whoever reads it.

A text is marked where it stands, in English: ``_("Keep my pictures")`` in a template, ``gettext``
in a view. The catalogues are ``annotator/locales/<language>/LC_MESSAGES/messages.po``, read as they
are when the app starts; nothing is compiled. A new language is a new folder. Pages that mark
nothing stay English, so the app can move page by page.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from gettext import NullTranslations, c2py
from pathlib import Path

from babel import Locale, negotiate_locale
from babel.dates import format_date, format_datetime
from babel.lists import format_list
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from flask import Flask, Response, g, has_request_context, request

LOCALES = Path(__file__).resolve().parent.parent / "locales"
SOURCE = "en"  # the language in which texts are marked
_FORMATS = {"en": "en_GB"}  # whose dates and numbers a language uses, where it has several
_COOKIE = "language"
_YEAR = 365 * 24 * 3600  # seconds


class Catalogue(NullTranslations):
    """What one PO file says; a text that it lacks stays English.

    Args:
        path: the file, in UTF-8.
        language: such as ``de``.
    """

    def __init__(self, path: Path, language: str) -> None:
        super().__init__()
        with path.open("rb") as file:
            read = read_po(file, locale=language)
        self._choose = c2py(read.plural_expr)
        self._texts = {
            message.id if isinstance(message.id, str) else tuple(message.id): message.string
            for message in read
            if message.id and message.string and not message.fuzzy
        }

    def gettext(self, message: str) -> str:
        """The text in this language."""
        found = self._texts.get(message)
        return found if isinstance(found, str) else message

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        """The text for a number of things."""
        forms = self._texts.get((msgid1, msgid2))
        if not forms:
            return super().ngettext(msgid1, msgid2, n)
        return str(forms[self._choose(n)])


@cache
def catalogues() -> Mapping[str, NullTranslations]:
    """Every language that there is, by its code; English first."""
    files = sorted(LOCALES.glob("*/LC_MESSAGES/messages.po"))
    found = {path.parent.parent.name: path for path in files}
    others = {name: Catalogue(path, name) for name, path in found.items()}
    return {SOURCE: NullTranslations(), **others}


def language() -> str:
    """The language of this request: asked for in the address, chosen before, or the browser's."""
    if not has_request_context():
        return SOURCE
    if "language" not in g:
        known = list(catalogues())
        asked = (request.args.get("lang"), request.cookies.get(_COOKIE))
        chosen = next((each for each in asked if each in known), None)
        wanted = [code for code, _ in request.accept_languages]
        g.language = chosen or negotiate_locale(wanted, known, sep="-") or SOURCE
    return str(g.language)


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """Speaks another language for a while: for a letter to somebody who does not read this page."""
    before, g.language = language(), code
    try:
        yield
    finally:
        g.language = before


def gettext(message: str) -> str:
    """A marked text in the language of this request."""
    return catalogues()[language()].gettext(message)


def ngettext(one: str, many: str, n: int) -> str:
    """A marked text for a number of things, in the language of this request."""
    return catalogues()[language()].ngettext(one, many, n)


def name_of(code: str) -> str:
    """What a language calls itself: Deutsch."""
    return (Locale.parse(code).get_display_name(code) or code).title()


def day(moment: dt.datetime | dt.date) -> str:
    """A day in words: 24 November 2026, 24. November 2026."""
    return format_date(moment, "long", locale=_format())


def hour(moment: dt.datetime) -> str:
    """A moment to the minute, in UTC."""
    clock = format_datetime(moment, "HH:mm", locale=_format())
    return f"{day(moment)}, {clock} UTC"


def figure(value: int) -> str:
    """1234 as 1,234 or 1.234."""
    return format_decimal(value, locale=_format())


def listed(words: Iterable[str]) -> str:
    """Words as one would say them: a, b and c."""
    return format_list(list(words), locale=_format())


def _format() -> str:
    return _FORMATS.get(language(), language())


def init_languages(app: Flask) -> None:
    """Gives the templates ``_`` and ``ngettext``, and keeps a language that was asked for."""
    catalogues()  # a damaged catalogue stops the start, not the first reader
    app.jinja_env.add_extension("jinja2.ext.i18n")
    install = app.jinja_env.install_gettext_callables  # type: ignore[attr-defined]
    install(gettext, ngettext, newstyle=True)
    app.jinja_env.globals.update(language=language, catalogues=catalogues, name_of=name_of)
    app.jinja_env.filters.update(day=day, hour=hour, figure=figure, listed=listed)
    app.after_request(_remember)


def _remember(response: Response) -> Response:
    """Keeps the language that the address asked for; it says nothing about a person."""
    if request.args.get("lang") in catalogues():
        response.set_cookie(
            _COOKIE,
            language(),
            max_age=_YEAR,
            secure=request.is_secure,
            httponly=True,
            samesite="Lax",
        )
    return response
