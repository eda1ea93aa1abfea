"""One installation, made once for all command tests, and copied for each."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annotator.cli.installing import install
from annotator.core.config import Settings
from annotator.models import BrowserSession
from tests.cli.house import PEOPLE, House
from tests.factories import make_dataset, make_face, make_subject, make_user
from tests.installation import Installation


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("fresh") / "data"
    Installation(data).init()
    return data


@pytest.fixture
def installation(fresh: Path, tmp_path: Path) -> Installation:
    shutil.copytree(fresh, tmp_path / "data")
    return Installation(tmp_path / "data")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with three people, made once."""
    data = tmp_path_factory.mktemp("made") / "data"
    tools, _ = install(Settings(data=data), context="research")
    with tools.transaction() as session:
        dataset = make_dataset(session)
        for number in range(PEOPLE):
            subject = make_subject(session, tools.vault, dataset, name=f"Any Body {number}")
            make_face(session, tools.vault, subject)
        user = make_user(session)
        session.add(
            BrowserSession(digest=b"d" * 32, user_id=user.id, data={}, expires_at=user.created_at)
        )
    tools.engine.dispose()
    return data


@pytest.fixture
def house(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> Iterator[House]:
    shutil.copytree(made, tmp_path / "data")
    house = House(tmp_path, monkeypatch, capsys)
    yield house
    house.close()
