"""What holds for every template, sheet and script, whoever writes it."""

import re
from pathlib import Path

import pytest
from flask import Flask

from annotator.core.emotions import LABELS
from annotator.web.assets import find_folder

TEMPLATES = find_folder("templates")
STATIC = find_folder("static")
PAGES = sorted(TEMPLATES.rglob("*.html"))
SHEETS = sorted(STATIC.rglob("*.css"))
SCRIPTS = sorted(STATIC.rglob("*.js"))
TOKEN = re.compile(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)")
READABLE = 4.5  # WCAG 2.2, 1.4.3
VISIBLE = 3.0  # 1.4.11


def name(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_no_template_needs_what_the_policy_forbids(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<[^>{]*\sstyle=", text)
    assert not re.search(r"<[^>{]*\son[a-z]+=", text)
    assert "<style" not in text
    assert "javascript:" not in text
    assert not re.search(r"""["']https?://(?!www\.w3\.org)""", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert "/static/" not in text


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_form_that_changes_something_carries_a_csrf_token(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if re.search(r'<form[^>]*method="post"', text):
        assert 'name="csrf_token"' in text


def test_every_template_compiles(app: Flask) -> None:
    for path in PAGES:
        app.jinja_env.get_template(path.relative_to(TEMPLATES).as_posix())


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_named_controllers_and_files_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for names in re.findall(r'data-controller="([^"{]+)"', text):
        for controller in names.split():
            script = STATIC / "js" / f"{controller}.js"
            assert script.is_file(), controller
            assert "export default" in script.read_text(encoding="utf-8")
    for file in re.findall(r"""url_for\(['"]static['"], filename=['"]([^'"~]+)['"]\)""", text):
        assert (STATIC / file).is_file(), file


@pytest.mark.parametrize("path", SHEETS, ids=name)
def test_every_sheet_keeps_to_its_layer_and_to_tokens(path: Path) -> None:
    text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL).strip()
    text = re.sub(r'^@import url\("[a-z]+\.css"\);', "", text).strip()
    assert text.startswith("@layer")
    assert "url(" not in text
    if path.name != "tokens.css":
        # Black and white alone may be written out: outlines of marks that lie on a picture.
        colours = set(re.findall(r"#[0-9a-fA-F]{3,8}\b(?![^{}]*\{)", text))
        assert colours <= {"#000000", "#ffffff"}, "a colour that is no token"


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_no_script_builds_html_from_text_or_fetches_from_elsewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    forbidden = ("outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function")
    assert [word for word in forbidden if word in text] == []
    # Only a constant, or a whole fragment that our own server rendered and escaped.
    assert not re.search(r"innerHTML\s*\+?=(?!\s*(?:'|await answer\.text\(\);))", text)
    assert "https://" not in text


def test_every_label_has_its_shape_and_its_colour() -> None:
    sprite = (STATIC / "img" / "shapes.svg").read_text(encoding="utf-8")
    colours = {found[0] for found in TOKEN.findall(tokens())}
    components = (STATIC / "css" / "components.css").read_text(encoding="utf-8")
    for label in LABELS:
        assert f'id="{label.shape}"' in sprite
        assert f"emotion-{label.name}" in colours
        assert f".is-{label.name} {{" in components


def tokens() -> str:
    return (STATIC / "css" / "tokens.css").read_text(encoding="utf-8")


def brightness(colour: str) -> float:
    """Relative luminance of a hex colour (WCAG 2.2)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    dark, light = sorted((brightness(one), brightness(two)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [1, 2], ids=["light", "dark"])
def test_contrast(theme: int) -> None:
    colour = {found[0]: found[theme] for found in TOKEN.findall(tokens())}
    grounds = ("page", "surface", "sunken")
    for ink in ("text", "quiet", "accent", "danger"):
        for ground in grounds:
            assert contrast(colour[ink], colour[ground]) >= READABLE, (ink, ground)
    for ink, ground in (
        ("on-accent", "accent"),
        ("on-accent", "accent-strong"),
        ("on-danger", "danger"),
        ("on-danger", "danger-strong"),
        ("on-stage", "stage"),
    ):
        assert contrast(colour[ink], colour[ground]) >= READABLE, (ink, ground)
    for mark in ("edge", "focus", "success", "warning"):
        for ground in ("page", "surface"):
            assert contrast(colour[mark], colour[ground]) >= VISIBLE, (mark, ground)
    assert contrast(colour["focus"], colour["stage"]) >= VISIBLE
    for label in LABELS:
        assert contrast(colour[f"emotion-{label.name}"], colour["surface"]) >= VISIBLE, label.name


@pytest.mark.parametrize("theme", [1, 2], ids=["light", "dark"])
def test_the_stage_is_grey_and_neither_white_nor_black(theme: int) -> None:
    stage = {found[0]: found[theme] for found in TOKEN.findall(tokens())}["stage"]
    assert len({stage[1:3], stage[3:5], stage[5:7]}) == 1
    assert 0.02 < brightness(stage) < 0.6
