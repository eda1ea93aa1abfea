from collections.abc import Callable

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.core.errors import Conflict
from annotator.domain import datasets, jobs
from annotator.models import Dataset
from annotator.web.security import requires
from annotator.web.transaction import db

SignIn = Callable[[str], FlaskClient]


@pytest.fixture
def client(app: Flask, sign_in: SignIn) -> FlaskClient:
    @requires("annotator")
    def make(how: str) -> object:
        dataset = datasets.create_dataset(db(), name=how, created_by=None)
        jobs.enqueue(db(), kind="test", arguments={}, dataset_id=dataset.id)
        if how == "refused":
            raise Conflict
        if how == "broken":
            raise RuntimeError("the secret sentence")
        if how == "aborted":
            abort(404)
        return ("no", 422) if how == "answered" else "stored"

    app.add_url_rule("/make/<how>", "make", make, methods=["POST"])
    return sign_in("annotator")


def stored(session: Session) -> list[str]:
    return list(session.scalars(select(Dataset.name)))


def test_a_good_answer_commits_and_then_wakes_a_worker(
    client: FlaskClient, session: Session, toolbox: Toolbox
) -> None:
    assert client.post("/make/good").text == "stored"
    assert stored(session) == ["good"]
    assert toolbox.queue.woken == [1]


@pytest.mark.parametrize(
    ("how", "status"), [("refused", 409), ("broken", 500), ("aborted", 404), ("answered", 422)]
)
def test_everything_else_rolls_back(
    client: FlaskClient, session: Session, toolbox: Toolbox, how: str, status: int
) -> None:
    answer = client.post(f"/make/{how}")
    assert answer.status_code == status
    assert "the secret sentence" not in answer.text
    assert stored(session) == []
    assert toolbox.queue.woken == []


def test_when_the_commit_fails_nobody_is_told_that_it_worked(
    client: FlaskClient, session: Session, toolbox: Toolbox
) -> None:
    def fail(connection: object) -> None:
        if armed:
            raise OperationalError("COMMIT", {}, Exception("database or disk is full"))

    armed = []
    event.listen(toolbox.engine, "commit", fail)
    headers = {"X-CSRFToken": client.csrf()}
    armed.append(True)
    answer = client.post("/make/full", headers=headers)
    armed.clear()
    assert answer.status_code == 507
    assert "The disk is full." in answer.text
    assert "stored" not in answer.text.replace("Nothing was stored", "")
    assert stored(session) == []


def test_two_writers_at_once_both_succeed(client: FlaskClient, session: Session) -> None:
    for number in range(3):
        assert client.post(f"/make/{number}").status_code == 200
    assert stored(session) == ["0", "1", "2"]
