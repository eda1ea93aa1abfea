"""For all tests: no network but loopback, no settings from outside, screenshots kept apart."""

import os
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
