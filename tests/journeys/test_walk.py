"""The whole walk with real parts: a browser, a web server, a worker, keys, files, TensorFlow.

Sign in, make a dataset, record consent, upload, decide on a redaction, import a set with votes,
label by keyboard, group, sweep, export, verify, retrain, promote, withdraw.
"""

import csv
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from annotator.bootstrap.artist import DrawingArtist
from annotator.bootstrap.imaging import LazyImaging
from annotator.core.emotions import EMOTION_NAMES, LABEL_NAMES
from annotator.domain import consent
from tests.browser.conftest import CHROMIUM
from tests.installation import ADMIN, PASSWORD, Installation, is_served, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
IMPORTED = 96
VOTES_GIVEN = 7
BY_KEYBOARD = 20
SHOWING = '.focus[data-state="showing"]'
SOON, LATER = 20_000, 240_000  # milliseconds


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    made = Installation(tmp_path / "data")
    made.init()
    return made


@pytest.fixture
def address(installation: Installation, free_port: int) -> Iterator[str]:
    url = f"http://127.0.0.1:{free_port}"
    with installation.process("run", "--port", str(free_port)):
        wait_for(lambda: is_served(url))
        yield url


@pytest.fixture
def page(address: str, troubles: list[str]) -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        opened = browser.new_page(base_url=address, viewport={"width": 1366, "height": 768})
        opened.set_default_timeout(SOON)
        opened.on(
            "console",
            lambda said: troubles.append(said.text) if said.type in {"error", "warning"} else None,
        )
        opened.on("pageerror", lambda error: troubles.append(str(error)))
        yield opened
        browser.close()


def press(page: Any, name: str, role: str = "button") -> None:
    page.get_by_role(role, name=name).first.click()


def sign_in(page: Any) -> None:
    page.goto("/sign-in")
    page.get_by_label("E-mail").fill(ADMIN)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/$"))


def make_dataset(page: Any) -> str:
    page.goto("/datasets/new")
    page.get_by_label("Name").fill("Pilot")
    page.get_by_label("Votes per face").fill(str(VOTES_GIVEN + 1))
    press(page, "Make the dataset")
    page.wait_for_url(re.compile(r"/datasets/\d+/notices/new"))
    dataset = re.search(r"/datasets/\d+", page.url)[0]
    facts = consent.fill_notice(
        organisation="The clinic", contact="privacy@clinic.example", years=3
    )
    for name, text in facts.as_dict().items():
        page.fill(f'[name="en-{name}"]', text)
    for box in page.locator('input[name="purposes"]').all():
        box.check()
    press(page, "Put this version in force")
    page.wait_for_url(re.compile(rf"{dataset}/notices$"))
    return dataset


def record_person(page: Any, dataset: str) -> None:
    page.goto(f"{dataset}/people/new")
    page.get_by_label("Code").fill("P-1")
    page.fill("#name", "Drawn person")
    for box in page.locator('input[name="purposes"]').all():
        box.check()
    page.locator('input[name="expression"]').first.check()
    press(page, "Record person and consent")
    page.wait_for_url(re.compile(r"/subjects/\d+"))


def draw_upload(folder: Path) -> list[Path]:
    artist = DrawingArtist(LazyImaging())
    pictures = {
        "one.png": artist.draw_portrait(0, "happiness", seed=1),
        "two.png": artist.draw_portrait(0, "neutral", seed=2),
        "group.png": artist.draw_scene([(0, "surprise"), (1, "neutral"), (2, "sadness")], seed=3),
        "text.jpg": b"not a picture",
    }
    folder.mkdir()
    for name, data in pictures.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in pictures]


def upload(page: Any, dataset: str, files: list[Path]) -> None:
    page.goto(f"{dataset}/upload")
    page.get_by_text("or drop them here").wait_for()
    page.get_by_label("Whose pictures").fill("P-1")
    page.locator('input[name="file"]').set_input_files(files)
    page.get_by_text("3 of 4 received").wait_for()
    page.locator('[data-part="after"]:not([hidden])').wait_for(timeout=LATER)


def decide(page: Any, dataset: str) -> None:
    wait_for_page(page, f"{dataset}/redactions", "Which face is")
    page.wait_for_timeout(300)  # the picture is decoded before a person can decide
    page.keyboard.press("1")
    page.get_by_text("Nothing waits").wait_for()


def draw_set(folder: Path) -> tuple[Path, Path, Path]:
    """Cropped faces, one person each, with seven votes: real ones where they are at hand."""
    pictures = folder / "faces"
    pictures.mkdir(parents=True)
    real = os.environ.get("ANNOTATOR_TEST_DATA")
    faces = read_ferplus(Path(real)) if real else draw_faces()
    people, votes = folder / "people.csv", folder / "votes.csv"
    with people.open("w", newline="") as one, votes.open("w", newline="") as two:
        who, what = csv.writer(one), csv.writer(two)
        who.writerow(["file", "code", "purposes", "expression", "expires"])
        what.writerow(["file", *LABEL_NAMES])
        for number, (png, counts) in enumerate(faces):
            name = f"{number:04}.png"
            (pictures / name).write_bytes(png)
            granted = "store label prelabel train export_pseudonymised"
            who.writerow([name, f"F-{number:04}", granted, "imported", "2029-01-01"])
            what.writerow([name, *counts])
    return pictures, people, votes


def read_ferplus(root: Path) -> Iterator[tuple[bytes, list[int]]]:
    import numpy as np

    from annotator.imaging.decode import encode_png

    data = np.load(root / "ferplus" / "valid.npz")
    rng = np.random.default_rng(7)
    for image, votes in zip(data["images"][:IMPORTED], data["votes"][:IMPORTED], strict=True):
        drawn = rng.permutation(np.repeat(np.arange(len(votes)), votes))[:VOTES_GIVEN]
        counts = np.bincount(drawn, minlength=len(LABEL_NAMES)).tolist()
        yield encode_png(np.repeat(image[:, :, None], 3, axis=2)), counts


def draw_faces() -> Iterator[tuple[bytes, list[int]]]:
    artist = DrawingArtist(LazyImaging())
    for number in range(IMPORTED):
        person = number % artist.people
        shown = artist.emotions_of(person)
        emotion = shown[(number + number // artist.people) % len(shown)]
        counts = [VOTES_GIVEN if name == emotion else 0 for name in LABEL_NAMES]
        yield artist.draw_crop(person, emotion, seed=number), counts


def label_by_keyboard(page: Any, dataset: str, keep: Callable[[Any, str], None]) -> None:
    page.goto(f"{dataset}/label")
    for number in range(BY_KEYBOARD):
        page.wait_for_selector(SHOWING)
        if number == BY_KEYBOARD // 2:
            keep(page, "label")
        suggested = page.locator('[data-part="suggestion"]').is_visible()
        page.keyboard.press("Enter" if suggested else str(1 + number % len(EMOTION_NAMES)))
    page.wait_for_function(
        "() => !Object.keys(localStorage).some((key) => key.startsWith('annotator.outbox'))"
    )


def group_and_sweep(page: Any, dataset: str, keep: Callable[[Any, str], None]) -> None:
    page.goto(f"{dataset}/curation")
    press(page, "Group the faces")
    wait_for_page(page, f"{dataset}/curation", "Group anew")
    keep(page, "clusters")
    page.goto(f"{dataset}/sweep")
    press(page, "Open group")
    page.locator(".sweep").first.wait_for()
    keep(page, "sweep")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"[?&]last="))  # the next page offers to take this one back


def wait_for_page(page: Any, path: str, text: str) -> None:
    """Loads a page until it says something."""

    def says() -> bool:
        page.goto(path)
        return bool(page.get_by_text(text).count())

    wait_for(says, LATER / 1000)


def export(page: Any, dataset: str, keep: Callable[[Any, str], None]) -> str:
    page.goto(f"{dataset}/exports/new?min_votes={VOTES_GIVEN}")
    page.get_by_label("Who gets it").or_(page.get_by_label("Recipient")).first.fill("The journey")
    page.get_by_label("password", exact=False).first.fill(PASSWORD)
    keep(page, "export")
    press(page, "Write ")
    page.wait_for_url(re.compile(r"/exports/\d+$"))
    path = re.search(r"/exports/\d+$", page.url)[0]
    wait_for_page(page, path, "Fetch the ZIP")
    keep(page, "exported")
    return path


def train_and_promote(page: Any, export_path: str, keep: Callable[[Any, str], None]) -> None:
    page.goto(f"/models/new?export={export_path.rsplit('/', 1)[1]}")
    page.get_by_label("Name").fill("journey")
    page.get_by_label(re.compile("rounds|epochs", re.IGNORECASE)).first.fill("1")
    press(page, "Train")
    wait_for_page(page, "/models", "Promote journey")
    keep(page, "candidate")
    press(page, "Promote journey", role="link")
    reason = page.locator('[name="reason"]')
    if reason.count():
        reason.fill("The journey shows that it can be done.")
    press(page, "Promote it")
    page.wait_for_url(re.compile(r"/models$"))
    keep(page, "promoted")


def withdraw(page: Any, keep: Callable[[Any, str], None]) -> None:
    page.get_by_role("link", name="Withdraw everything").first.click()
    page.get_by_label("password", exact=False).first.fill(PASSWORD)
    keep(page, "withdraw")
    press(page, "Withdraw everything")
    page.wait_for_load_state()
    keep(page, "withdrawn")


def test_from_a_photograph_to_a_retrained_model(
    installation: Installation,
    page: Any,
    troubles: list[str],
    keep: Callable[[Any, str], None],
    tmp_path: Path,
) -> None:
    sign_in(page)
    dataset = make_dataset(page)
    record_person(page, dataset)
    person = re.search(r"/subjects/\d+", page.url)[0]
    keep(page, "consent")
    upload(page, dataset, draw_upload(tmp_path / "upload"))
    keep(page, "upload")
    decide(page, dataset)

    pictures, people, votes = draw_set(tmp_path)
    imported = installation.run(
        "import", "Pilot", pictures, "--subjects", people, "--votes", votes, "--cropped", "--json"
    )
    summary = json.loads(imported.stdout)
    assert summary["pictures"] == IMPORTED
    assert summary["refused"] == 0
    again = json.loads(
        installation.run(
            "import",
            "Pilot",
            pictures,
            "--subjects",
            people,
            "--votes",
            votes,
            "--cropped",
            "--json",
        ).stdout
    )
    assert (again["people"], again["votes"]) == (0, 0)

    installation.run("predict", "Pilot")
    label_by_keyboard(page, dataset, keep)
    group_and_sweep(page, dataset, keep)

    exported = export(page, dataset, keep)
    out = tmp_path / "out"
    installation.run("export", "Pilot", out, "--min-votes", VOTES_GIVEN)
    report = json.loads(installation.run("verify", out, "--json").stdout)
    assert report["ok"]
    (out / "labels.csv").write_text("changed")
    assert installation.run("verify", out, ok=False).returncode == 1

    train_and_promote(page, exported, keep)
    page.goto(person)
    withdraw(page, keep)
    assert (
        installation.run("export", "Pilot", tmp_path / "late", "--min-votes", "1").returncode == 0
    )
    assert troubles == []
