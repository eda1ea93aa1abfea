"""A database in a file, with fakes around it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from annotator.core.db import Base, open_engine
from tests.fakes import FakeTools, FakeVault, FakeWork


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'test.sqlite'}")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine, expire_on_commit=False) as session:
        yield session


@pytest.fixture
def tools(tmp_path: Path) -> FakeTools:
    return FakeTools(data=tmp_path)


@pytest.fixture
def vault(tools: FakeTools) -> FakeVault:
    return tools.vault


@pytest.fixture
def work(engine: Engine, tools: FakeTools) -> FakeWork:
    return FakeWork(engine, tools)
