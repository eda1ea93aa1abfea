"""A real installation in a folder, driven by the command line as a person would."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ADMIN = "admin@clinic.example"
PASSWORD = "a long enough password"


class Installation:
    """One data folder.

    Args:
        data: an empty folder, or one to be made.
        settings: more ``ANNOTATOR_`` variables.
    """

    def __init__(self, data: Path, **settings: str) -> None:
        self.data = data
        self.environ = {
            **os.environ,
            "ANNOTATOR_DATA": str(data),
            "ANNOTATOR_JOB_HEARTBEAT_SECONDS": "1",
            "PYTHONPATH": str(ROOT),
            **settings,
        }

    def run(
        self, *arguments: str | Path | int, ok: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Runs one command to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "annotator", *map(str, arguments)],
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )
        assert not ok or done.returncode == 0, done.stderr
        return done

    def init(self, context: str = "research") -> None:
        """Makes it, with one admin."""
        self.run(
            "init", "--email", ADMIN, "--name", "Ada", "--context", context, "--password", PASSWORD
        )

    def token(self) -> str:
        """An API token of the admin."""
        return str(json.loads(self.run("token", "create", ADMIN, "--json").stdout)["token"])

    @contextmanager
    def process(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A process that runs until the block ends."""
        process = subprocess.Popen(
            [sys.executable, "-m", "annotator", *arguments], env=self.environ
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """What the condition says, once it says something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} seconds")


def is_served(url: str) -> bool:
    """Whether a web server answers there."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
