"""Sweep pages as forms."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.domain import consent
from annotator.models import Annotation, ClusterMember, ClusterRun, Dataset, Lease, Task
from tests.factories import make_model, make_open_task, make_prediction, make_subject
from tests.fakes import FakeVault

FACES = 5
PAGE = re.compile(r'name="page" value="([^"]+)"')
TASK = re.compile(r'name="task" value="(\d+)"')


@pytest.fixture
def dataset(toolbox: Toolbox, make_dataset: Callable[..., Dataset]) -> Dataset:
    """One group of faces that the model calls anger."""
    toolbox.vault = FakeVault()
    dataset = make_dataset("annotator", "reviewer", "curator")
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
        subject = make_subject(session, toolbox.vault, dataset)
        model = make_model(session)
        run = ClusterRun(dataset_id=dataset.id, model_id=model.id, clusters=1, seed=1)
        session.add(run)
        session.flush()
        for at in range(FACES):
            task = make_open_task(session, toolbox.vault, dataset, subject)
            task.blind = False
            make_prediction(session, toolbox.vault, task.face, model, label="anger")
            session.add(
                ClusterMember(run_id=run.id, face_id=task.face_id, cluster=0, distance=FACES - at)
            )
    return dataset


@pytest.fixture
def post(sign_in: Callable[[str], Any], dataset: Dataset) -> Callable[..., Any]:
    browser = sign_in("annotator")

    def post(**data: Any) -> Any:
        return browser.post(
            f"/datasets/{dataset.id}/sweep/page",
            data={"cluster": "0", **data},
            follow_redirects=True,
        )

    return post


def accept(post: Callable[..., Any], page: str, **more: Any) -> Any:
    return post(
        action="accept",
        page=PAGE.search(page)[1],
        task=TASK.findall(page),
        common="anger",
        dwell_ms="5000",
        **more,
    )


def test_the_groups_are_listed(sign_in: Callable[[str], Any], dataset: Dataset) -> None:
    page = sign_in("annotator").get(f"/datasets/{dataset.id}/sweep").text
    assert "anger" in page
    assert "Open group 1" in page


def test_a_page_is_accepted_with_its_odd_ones(post: Callable[..., Any], session: Session) -> None:
    page = post().text
    tasks = TASK.findall(page)
    nearest_first = session.scalars(select(Task.id).order_by(Task.id.desc())).all()
    assert [int(task) for task in tasks] == nearest_first
    session.rollback()  # ends the look of before
    page_id = PAGE.search(page)[1]
    done = accept(post, page, odd=tasks[:2], **{f"label-{tasks[1]}": "fear"})
    assert "This group is done for you" in done.text
    votes = {vote.task_id: vote for vote in session.scalars(select(Annotation))}
    assert {task: vote.label for task, vote in votes.items()} == {
        int(tasks[1]): "fear",
        **dict.fromkeys(map(int, tasks[2:]), "anger"),
    }
    assert {(v.mode, v.page, v.duration_ms, v.prelabel_shown) for v in votes.values()} == {
        ("sweep", page_id, 1000, True)
    }
    (kept,) = session.scalars(select(Lease).where(Lease.held))
    assert (kept.task_id, kept.mode) == (int(tasks[0]), "focus")


def test_the_same_page_twice_is_once(post: Callable[..., Any], session: Session) -> None:
    page = post().text
    for _ in range(2):
        accept(post, page)
    assert len(session.scalars(select(Annotation)).all()) == FACES


def test_a_page_is_taken_back(post: Callable[..., Any], session: Session) -> None:
    page = post().text
    accept(post, page)
    back = post(action="undo", last=PAGE.search(page)[1])
    assert f"{FACES} votes are taken back" in back.text
    assert TASK.findall(back.text) == TASK.findall(page)
    standing = select(Annotation).where(Annotation.taken_back_at.is_(None))
    assert session.scalars(standing).all() == []


@pytest.mark.parametrize(
    "bad",
    [
        {"cluster": "x"},
        {"cluster": ""},
        {"label": "joy"},
        {"action": "accept", "task": ["x"], "page": "p", "common": "anger"},
        {"action": "accept", "task": ["1"], "page": "p", "common": "anger"},
        {"action": "accept", "task": ["1"], "page": "p", "common": "joy"},
    ],
)
def test_what_is_no_page_is_refused(post: Callable[..., Any], bad: dict[str, Any]) -> None:
    assert post(**bad).status_code == 422


def test_a_group_that_is_gone(sign_in: Callable[[str], Any], dataset: Dataset) -> None:
    path = f"/datasets/{dataset.id}/sweep/page?cluster=7"
    assert sign_in("annotator").get(path).status_code == 404
