"""The app behind a real port, and a real browser in front of it."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session
from waitress.server import create_server

from annotator.bootstrap import Toolbox
from annotator.core.config import Settings
from annotator.core.db import Base
from annotator.domain import accounts
from annotator.models import User
from annotator.web import create_app
from annotator.web.identity import hash_new
from annotator.web.security import limiter
from tests.fakes import FakeVault

CHROMIUM = Path("/usr/bin/chromium")
PASSWORD = "correct horse battery"


class Server:
    """A running app: its address, its tools, and the people in it."""

    def __init__(self, tools: Toolbox, address: str) -> None:
        self.tools, self.address = tools, address

    def hire(self, session: Session, role: str) -> User:
        """A person who can sign in."""
        return accounts.create_user(
            session,
            email=f"{role}@example.org",
            name=f"Any {role.title()}",
            role=role,
            password_hash=self.password_hash,
        )

    password_hash = ""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    tools = Toolbox(Settings(data=tmp_path))
    tools.vault = FakeVault()
    Base.metadata.create_all(tools.engine)
    app = create_app(tools)
    limiter.reset()
    with app.app_context():
        password_hash = hash_new(PASSWORD)
    listening = create_server(app, host="127.0.0.1", port=0, threads=4)
    thread = threading.Thread(target=listening.run, daemon=True)
    thread.start()
    running = Server(tools, f"http://127.0.0.1:{listening.effective_port}")
    running.password_hash = password_hash
    yield running
    listening.close()
    thread.join(timeout=5)
    listening.task_dispatcher.shutdown()
    tools.engine.dispose()


@pytest.fixture
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_as(browser: Any, server: Server, troubles: list[str]) -> Iterator[Callable[..., Any]]:
    """Opens a page, signed in as the person of a role."""
    contexts = []

    def open_as(role: str, path: str, **options: Any) -> Any:
        context = browser.new_context(base_url=server.address, **options)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "console",
            lambda said: troubles.append(said.text) if said.type in {"error", "warning"} else None,
        )
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto("/sign-in")
        page.fill('[name="email"]', f"{role}@example.org")
        page.fill('[name="password"]', PASSWORD)
        page.press('[name="password"]', "Enter")
        page.wait_for_url(f"{server.address}/")
        page.goto(path)
        return page

    yield open_as
    for context in contexts:
        context.close()
