"""The whole walk on the 3,579 validation faces of FER+, step by step.

Imports them as crops with a person and a consent each and seven of the ten votes, labels a hundred
in Chromium by keyboard, groups, exports, verifies, retrains and promotes. Prints one JSON line a
step; seconds are wall clock. Needs ``ANNOTATOR_TEST_DATA``; run it with ``PYTHONPATH=.``.
"""

import argparse
import json
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.browser.conftest import CHROMIUM
from tests.installation import Installation, is_served, wait_for
from tests.journeys import test_walk as walk


@contextmanager
def step(name: str, **facts: Any) -> Iterator[dict[str, Any]]:
    """Times a block and prints the line."""
    started = time.monotonic()
    yield facts
    print(json.dumps({"step": name, "seconds": round(time.monotonic() - started, 1), **facts}))


def label(page: Any, dataset: str, votes: int, facts: dict[str, Any]) -> None:
    """Labels by keyboard, and times from key press to the next face painted."""
    walk.BY_KEYBOARD = votes
    started = time.monotonic()
    walk.label_by_keyboard(page, dataset, lambda _page, _name: None)
    facts["votes"] = votes
    facts["votes_per_hour_by_script"] = round(votes / (time.monotonic() - started) * 3600)


def run(folder: Path, faces: int, votes: int, epochs: int) -> None:
    """Walks."""
    walk.IMPORTED = faces
    made = Installation(folder / "data")
    with step("init"):
        made.init()
    with step("draw input", faces=faces):
        pictures, people, table = walk.draw_set(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with made.process("run", "--port", str(port)), sync_playwright() as playwright:
        with step("first page"):
            wait_for(lambda: is_served(url))
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(base_url=url, viewport={"width": 1366, "height": 768})
        walk.sign_in(page)
        dataset = walk.make_dataset(page)
        with step("import") as facts:
            done = made.run(
                *("import", "Pilot", pictures, "--subjects", people, "--votes", table),
                *("--cropped", "--json"),
            )
            facts.update(json.loads(done.stdout))
        with step("predict"):
            made.run("predict", "Pilot")
        with step("label in Chromium") as facts:
            label(page, dataset, votes, facts)
        with step("cluster") as facts:
            facts.update(json.loads(made.run("cluster", "Pilot", "--json").stdout))
        out = folder / "out"
        arguments = ("--min-votes", walk.VOTES_GIVEN, "--balance", "weights", "--json")
        with step("export") as facts:
            facts.update(json.loads(made.run("export", "Pilot", out, *arguments).stdout))
        with step("verify") as facts:
            facts.update(json.loads(made.run("verify", out, "--json").stdout))
        with step("train", epochs=epochs) as facts:
            done = made.run("train", out, "--name", "walk", "--epochs", epochs, "--json")
            facts.update(json.loads(done.stdout)["figures"])
        with step("promote") as facts:
            done = made.run("models", "promote", "walk", ok=False)
            facts["gate"] = done.stderr.strip()
            if done.returncode:
                made.run("models", "promote", "walk", "--override", "to end the walk")
        browser.close()


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=3579)
    parser.add_argument("--votes", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), chosen.faces, chosen.votes, chosen.epochs)


if __name__ == "__main__":
    main()
