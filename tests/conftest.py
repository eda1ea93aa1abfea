"""For all tests: no network but loopback, no settings from outside, screenshots kept apart."""

import os
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from annotator.core.db import open_engine

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
def postgres() -> Iterator[str]:
    """The address of an empty PostgreSQL database that nobody else uses."""
    server = os.environ.get("ANNOTATOR_TEST_POSTGRES")
    if not server:
        pytest.skip("no PostgreSQL server: ANNOTATOR_TEST_POSTGRES is not set")
    name = f"test_{secrets.token_hex(8)}"
    engine = open_engine(server).execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


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
