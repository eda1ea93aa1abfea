"""Every text of the pages behind a link is marked, and every marked text is translated."""

import datetime as dt
import re
from gettext import NullTranslations
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from flask import Flask
from flask.testing import FlaskClient

from annotator.web import languages
from annotator.web.assets import find_folder

TEMPLATES = find_folder("templates")
MARKED = [
    TEMPLATES / "invitations" / "_letter.html",  # read by the person who is invited
    *(
        path
        for folder in ("links", "joining", "own", "allowing", "capture")
        for path in sorted((TEMPLATES / folder).glob("*.html"))
    ),
]
WEB = Path(languages.__file__).parent
CODES = [code for code in languages.catalogues() if code != languages.SOURCE]
PLACE = re.compile(r"%\(\w+\)s|\{\w+\}")
# What stands between marked texts: the product's name, marks, and the names of things.
NAMES = {"Annotator", "verify_receipt.py"}
SPOKEN = ("alt", "aria-label", "placeholder", "title")

Text = str | tuple[str, ...]


def marked() -> set[Text]:
    found: set[Text] = set()
    for folder, kinds in ((WEB, [("**.py", "python")]), (TEMPLATES, [("**.html", "jinja2")])):
        for _, _, text, _, _ in extract_from_dir(folder, kinds):
            found.add(tuple(text) if isinstance(text, (tuple, list)) else text)
    return found


@pytest.mark.parametrize("code", CODES)
def test_every_marked_text_is_translated_and_nothing_else(code: str) -> None:
    with (languages.LOCALES / code / "LC_MESSAGES" / "messages.po").open("rb") as file:
        catalogue = read_po(file, locale=code)
    assert not catalogue.obsolete
    written: set[Text] = set()
    for message in catalogue:
        if message.id:
            parts = (message.string,) if isinstance(message.string, str) else message.string
            assert all(part.strip() for part in parts), message.id
            assert not message.fuzzy, message.id
            written.add(message.id if isinstance(message.id, str) else tuple(message.id))
    assert written == marked()


@pytest.mark.parametrize("code", CODES)
def test_placeholders_agree(code: str) -> None:
    with (languages.LOCALES / code / "LC_MESSAGES" / "messages.po").open("rb") as file:
        for message in read_po(file, locale=code):
            if isinstance(message.id, str) and message.id:
                assert sorted(PLACE.findall(message.id)) == sorted(PLACE.findall(message.string))
            elif message.id:
                many = PLACE.findall(message.id[-1])
                for form in message.string:
                    assert set(PLACE.findall(form)) <= set(many), message.id
                assert sorted(PLACE.findall(message.string[-1])) == sorted(many)


def bare_words(template: str) -> list[str]:
    """Words that a reader would see or hear and that no catalogue knows."""
    text = re.sub(r"\{#.*?#\}", "", template, flags=re.DOTALL)
    text = re.sub(r"\{% block \w*class %\}.*?\{% endblock %\}", "", text)
    text = re.sub(r"\{%.*?%\}|\{\{.*?\}\}", "\0", text, flags=re.DOTALL)
    spoken = re.findall(rf'\s(?:{"|".join(SPOKEN)})="([^"]*)"', text)
    shown = re.sub(r"<[^>]*>", "\0", text)
    words = [piece.strip(" \n\0.,:") for piece in [*spoken, *shown.split("\0")]]
    return [word for word in words if re.search(r"[^\W\d_]", word) and word not in NAMES]


@pytest.mark.parametrize("path", MARKED, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_no_text_is_left_unmarked(path: Path) -> None:
    assert bare_words(path.read_text(encoding="utf-8")) == []


def test_an_unmarked_text_would_be_found() -> None:
    assert bare_words('<p>{{ _("a") }} left <img alt="over">') == ["over", "left"]
    assert bare_words('{% if x %}<p class="y">{{ _("a") }}</p>{% endif %}') == []


@pytest.mark.parametrize(
    ("accepted", "code"),
    [
        ("de-CH,fr;q=0.8", "de"),
        ("fr,de;q=0.5,en;q=0.1", "de"),
        ("en-US,de;q=0.5", "en"),
        ("xx", "en"),
        ("", "en"),
        ("*", "en"),
    ],
)
def test_the_browsers_wish_is_heard(app: Flask, accepted: str, code: str) -> None:
    with app.test_request_context("/me/x", headers={"Accept-Language": accepted}):
        assert languages.language() == code


def test_the_switch_wins_and_is_kept(client: FlaskClient) -> None:
    german = client.get("/me/x?lang=de")
    assert "Dieser Link geht nicht" in german.text
    assert "HttpOnly" in german.headers["Set-Cookie"]
    assert "Dieser Link geht nicht" in client.get("/me/x").text
    assert "This link does not work" in client.get("/me/x?lang=en").text
    assert "This link does not work" in client.get("/me/x").text


def test_an_unknown_language_is_passed_over(client: FlaskClient) -> None:
    answer = client.get("/me/x?lang=../../etc")
    assert "This link does not work" in answer.text
    assert "language" not in answer.headers.get("Set-Cookie", "")


def test_numbers_days_and_lists_are_said_as_people_say_them(app: Flask) -> None:
    moment = dt.datetime(2026, 11, 24, 9, 5, tzinfo=dt.UTC)
    with app.test_request_context("/?lang=de"):
        assert languages.day(moment) == "24. November 2026"
        assert languages.hour(moment) == "24. November 2026, 09:05 UTC"
        assert languages.figure(1234) == "1.234"
        assert languages.listed(["A", "B", "C"]) == "A, B und C"
        said = languages.ngettext("One picture is gone.", "%(number)s pictures are gone.", 1)
        assert said == "Ein Bild ist weg."
    with app.test_request_context("/?lang=en"):
        assert languages.day(moment) == "24 November 2026"
        assert languages.hour(moment) == "24 November 2026, 09:05 UTC"
        assert languages.listed(["A", "B"]) == "A and B"
    assert languages.language() == "en"


def test_a_catalogue_without_a_text_stays_english(tmp_path: Path) -> None:
    path = tmp_path / "messages.po"
    path.write_text(
        'msgid ""\nmsgstr ""\n"Plural-Forms: nplurals=2; plural=(n > 1);\\n"\n\n'
        'msgid "yes"\nmsgstr "oui"\n\n#, fuzzy\nmsgid "no"\nmsgstr "peut-être"\n\n'
        'msgid "one"\nmsgid_plural "many"\nmsgstr[0] "un"\nmsgstr[1] "des"\n',
        encoding="utf-8",
    )
    french = languages.Catalogue(path, "fr")
    assert isinstance(french, NullTranslations)
    assert [french.gettext(word) for word in ("yes", "no", "maybe")] == ["oui", "no", "maybe"]
    assert [french.ngettext("one", "many", n) for n in (0, 1, 2)] == ["un", "un", "des"]
    assert french.ngettext("cat", "cats", 2) == "cats"
