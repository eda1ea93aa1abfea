"""For all tests: no network but loopback, no settings from outside, screenshots kept apart."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = "/usr/bin/chromium"

for _name in [name for name in os.environ if name.startswith("ANNOTATOR_")]:
    if not _name.startswith("ANNOTATOR_TEST_"):
        del os.environ[_name]


@pytest.fixture
def keep(request: pytest.FixtureRequest) -> Callable[[Any, str], None]:
    """Keeps a screenshot of a page as CI output, when CI says where."""
    folder = os.environ.get("ANNOTATOR_TEST_ARTIFACTS")

    def shoot(page: Any, name: str) -> None:
        if folder:
            path = Path(folder, request.node.name, f"{name}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=path, full_page=True)

    return shoot


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def troubles() -> list[str]:
    """What the browser complained about; a test that expects none asserts that it is empty."""
    return []
