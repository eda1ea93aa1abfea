"""The API of labelling, as a program uses it."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.domain import consent
from annotator.models import Annotation, Dataset, Subject, Task
from tests.factories import make_open_task, make_subject
from tests.fakes import FakeVault

FACES = 6


@pytest.fixture
def dataset(toolbox: Toolbox, make_dataset: Callable[..., Dataset]) -> Dataset:
    """A dataset with faces of one person; annotator and reviewer are members."""
    toolbox.vault = FakeVault()
    dataset = make_dataset("annotator", "reviewer")
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
        subject = make_subject(session, toolbox.vault, dataset)
        for _ in range(FACES):
            make_open_task(session, toolbox.vault, dataset, subject)
    return dataset


@pytest.fixture
def api(client: FlaskClient, token: Callable[[str], dict[str, str]]) -> Callable[..., Any]:
    headers = token("annotator")

    def call(method: str, path: str, json: Any = None) -> Any:
        return client.open(f"/api/v1{path}", method=method, json=json, headers=headers)

    return call


def lease(api: Callable[..., Any], dataset: Dataset, n: int = FACES) -> list[dict[str, Any]]:
    answer = api("POST", f"/datasets/{dataset.id}/tasks/lease", {"n": n, "mode": "focus"})
    assert answer.status_code == 200, answer.text
    return answer.json["tasks"]


def vote(task: dict[str, Any], label: str = "fear", **more: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "task": task["id"], "label": label, **more}


def test_lease_look_vote_undo(api: Callable[..., Any], dataset: Dataset, session: Session) -> None:
    tasks = lease(api, dataset)
    assert len(tasks) == FACES
    assert set(tasks[0]) == {"id", "face", "crop", "prelabel"}
    crop = api("GET", tasks[0]["crop"].removeprefix("/api/v1"))
    assert crop.data.startswith(b"\x89PNG")
    assert crop.headers["Content-Type"] == "image/png"
    assert crop.headers["Cache-Control"] == "no-store"
    votes = [vote(task, duration_ms=900.4) for task in tasks]
    answer = api("POST", "/annotations", votes)
    assert answer.json == [{"id": item["id"], "state": "stored"} for item in votes]
    assert api("POST", "/annotations", votes).json == answer.json
    assert session.scalar(select(func.count()).select_from(Annotation)) == FACES
    for _ in range(2):
        undone = api("DELETE", f"/annotations/{votes[0]['id']}")
        assert undone.json == {"id": votes[0]["id"], "state": "taken_back"}
    assert api("POST", "/annotations", votes[:1]).json[0]["state"] == "taken_back"
    assert [task["id"] for task in lease(api, dataset)] == [votes[0]["task"]]


def test_one_bad_vote_does_not_lose_the_others(
    api: Callable[..., Any], dataset: Dataset, session: Session
) -> None:
    tasks = lease(api, dataset)
    votes = [
        vote(tasks[0]),
        vote(tasks[1], label="joy"),
        {"task": tasks[2]["id"], "label": "fear"},
        vote({"id": 999_999}),
        vote(tasks[3], flags="occluded"),
        vote(tasks[4]),
    ]
    states = api("POST", "/annotations", votes).json
    assert [item["state"] for item in states] == [
        "stored",
        "refused",
        "refused",
        "refused",
        "refused",
        "stored",
    ]
    assert [item.get("code") for item in states[1:5]] == [
        "invalid_input",
        "invalid_input",
        "not_found",
        "invalid_input",
    ]
    assert all(item["detail"].endswith(".") for item in states[1:5])
    assert session.scalar(select(func.count()).select_from(Annotation)) == 2


@pytest.mark.parametrize("body", [{}, [1], None, "x", [vote({"id": 1})] * 201])
def test_what_is_no_list_of_votes_is_refused(
    api: Callable[..., Any], dataset: Dataset, body: Any
) -> None:
    answer = api("POST", "/annotations", body)
    assert answer.status_code == 422
    assert answer.json["code"] == "invalid_input"


def test_a_skip_and_back(api: Callable[..., Any], dataset: Dataset) -> None:
    first, *rest = lease(api, dataset)
    assert api("POST", f"/tasks/{first['id']}/skip").json["state"] == "skipped"
    assert [task["id"] for task in lease(api, dataset)] == [task["id"] for task in rest]
    assert api("DELETE", f"/tasks/{first['id']}/skip").json["state"] == "open"
    assert lease(api, dataset, 1)[0]["id"] == first["id"]


def test_consent_withdrawn_between_lease_and_crop(
    api: Callable[..., Any], toolbox: Toolbox, dataset: Dataset
) -> None:
    (task, *_) = lease(api, dataset)
    with toolbox.transaction() as session:
        subject = session.scalars(select(Subject)).one()
        consent.withdraw_purposes(session, subject=subject, purposes=["label"])
    refused = api("GET", f"/faces/{task['face']}/crop")
    assert (refused.status_code, refused.json["code"]) == (409, "consent_missing")
    assert api("POST", "/annotations", [vote(task)]).json[0]["code"] == "consent_missing"
    assert lease(api, dataset) == []


def test_faces_of_others(
    api: Callable[..., Any],
    client: FlaskClient,
    token: Callable[[str], dict[str, str]],
    dataset: Dataset,
    session: Session,
) -> None:
    face = session.scalars(select(Task.face_id)).first()
    assert api("GET", f"/faces/{face}/crop").status_code == 403
    assert api("GET", "/faces/999/crop").status_code == 404
    stranger = token("curator")  # no member
    crop = client.get(f"/api/v1/faces/{face}/crop", headers=stranger)
    assert crop.status_code == 404
    path = f"/api/v1/datasets/{dataset.id}/tasks/lease"
    assert client.post(path, json={}, headers=stranger).status_code == 404
    assert client.post(path, json={}).status_code == 401


@pytest.mark.parametrize("body", [{"n": 0}, {"n": "x"}, {"n": 500}, {"mode": "import"}, []])
def test_bad_lease_requests(api: Callable[..., Any], dataset: Dataset, body: Any) -> None:
    assert api("POST", f"/datasets/{dataset.id}/tasks/lease", body).status_code == 422


def test_a_browser_needs_its_csrf_token(sign_in: Callable[[str], Any], dataset: Dataset) -> None:
    browser = sign_in("annotator")
    path = f"/api/v1/datasets/{dataset.id}/tasks/lease"
    assert browser.post(path, json={"n": 1}).status_code == 200
    assert browser.post(path, json={"n": 1}, headers={"X-CSRFToken": "x"}).status_code == 400
