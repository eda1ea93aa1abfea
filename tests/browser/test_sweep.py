"""A sweep page in a real browser: marks by mouse and by letters, labels, accept, take back."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from annotator.domain import accounts
from annotator.models import Annotation, ClusterMember, ClusterRun, Lease
from tests.browser.conftest import Server
from tests.factories import (
    make_dataset,
    make_model,
    make_open_task,
    make_prediction,
    make_subject,
)

pytestmark = pytest.mark.browser
FACES = 8


@pytest.fixture
def path(server: Server) -> str:
    """A dataset with one group of faces."""
    with server.tools.transaction() as session:
        user = server.hire(session, "annotator")
        dataset = make_dataset(session, votes_per_face=1, blind_share=0)
        accounts.add_member(session, user=user, dataset=dataset, by=None)
        subject = make_subject(session, server.tools.vault, dataset)
        model = make_model(session)
        run = ClusterRun(dataset_id=dataset.id, model_id=model.id, clusters=1, seed=1)
        session.add(run)
        session.flush()
        for at in range(FACES):
            task = make_open_task(session, server.tools.vault, dataset, subject)
            make_prediction(session, server.tools.vault, task.face, model)
            session.add(ClusterMember(run_id=run.id, face_id=task.face_id, cluster=0, distance=at))
        return f"/datasets/{dataset.id}/sweep"


def test_mark_label_accept_and_take_back(
    server: Server,
    path: str,
    open_as: Callable[..., Any],
    troubles: list[str],
    keep: Callable[[Any, str], None],
) -> None:
    page = open_as("annotator", path)
    page.click("text=Open")
    tiles = page.locator(".tile")
    assert tiles.count() == FACES
    tiles.nth(0).click()  # marked: goes to focus
    tiles.nth(1).click()
    page.keyboard.press("4")  # sadness for the face marked last
    page.keyboard.down(" ")
    page.keyboard.press("d")  # the letter of the third face
    page.keyboard.up(" ")
    page.keyboard.press("u")  # and unmarked again
    tiles.nth(3).hover()
    page.mouse.down()
    tiles.nth(5).hover()
    page.mouse.up()
    page.keyboard.press("7")  # a run of three by drag: fear
    assert page.inner_text('[data-shared="marked"]') == "5 marked, 4 with another label, 1 to focus"
    keep(page, "marked")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=This group is done for you")
    with server.tools.sessions() as session:
        votes = session.scalars(select(Annotation).order_by(Annotation.task_id)).all()
        (kept,) = session.scalars(select(Lease).where(Lease.held))
    assert [vote.label for vote in votes] == ["sadness", "happiness", *["fear"] * 3] + (
        ["happiness"] * 2
    )
    assert len({vote.page for vote in votes}) == 1
    assert all(vote.duration_ms is not None for vote in votes)
    assert kept.mode == "focus"
    page.keyboard.press("z")
    page.wait_for_selector(".tile")
    assert page.locator(".tile").count() == FACES - 1
    assert troubles == []
