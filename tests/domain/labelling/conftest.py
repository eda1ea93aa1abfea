"""A dataset with faces that want votes, and two people who label it."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session

from annotator.domain import accounts
from annotator.models import Dataset, User
from tests.factories import make_dataset, make_open_task, make_user
from tests.fakes import FakeVault


@pytest.fixture
def dataset(session: Session) -> Dataset:
    return make_dataset(session, votes_per_face=2, blind_share=0)


@pytest.fixture
def hire(session: Session, dataset: Dataset) -> Callable[..., User]:
    def hire(role: str = "annotator") -> User:
        user = make_user(session, role)
        accounts.add_member(session, user=user, dataset=dataset, by=None)
        return user

    return hire


@pytest.fixture
def ann(hire: Callable[..., User]) -> User:
    return hire()


@pytest.fixture
def bob(hire: Callable[..., User]) -> User:
    return hire()


@pytest.fixture
def tasks(session: Session, vault: FakeVault, dataset: Dataset) -> list[Any]:
    return [make_open_task(session, vault, dataset) for _ in range(5)]
