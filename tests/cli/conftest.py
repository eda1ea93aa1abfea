"""One installation, made once for all command tests, and copied for each."""

import shutil
from pathlib import Path

import pytest

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
