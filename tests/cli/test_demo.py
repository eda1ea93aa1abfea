"""The demo as a newcomer starts it, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.installation import ROOT, is_served, wait_for

pytestmark = pytest.mark.timeout(300)


def ask(told: dict[str, Any], path: str, token: str = "") -> Any:
    request = urllib.request.Request(
        f"{told['url']}/api/v1{path}",
        headers={"Authorization": f"Bearer {token or told['token']}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_the_demo_is_filled_answers_and_erases_itself() -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "ANNOTATOR_DATA": "/nowhere/of/a/real/one"}
    process = subprocess.Popen(
        [sys.executable, "-m", "annotator", "demo", "--port", "0", "--json"],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert {"url", "token", "users", "data"} == set(told)
        roles = [user["role"] for user in told["users"]]
        assert roles == ["admin", "curator", "reviewer", "annotator", "annotator"]
        assert is_served(told["url"])
        (dataset,) = ask(told, "/datasets")["items"]
        assert dataset["progress"]["done"] >= 80
        assert dataset["progress"]["open"] >= 40
        annotator = told["users"][3]["token"]
        assert ask(told, "/datasets", annotator)["items"][0]["id"] == dataset["id"]
        data = Path(told["data"])
        assert data.is_dir()
        assert b"PNG" not in b"".join(
            path.read_bytes()[:64] for path in data.rglob("*") if path.is_file()
        )
        wait_for(lambda: ask(told, "/jobs/1")["state"] == "done")
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(60)
        process.stdout.close()
    assert code == 0
    assert not data.exists()
    assert not is_served(told["url"])
