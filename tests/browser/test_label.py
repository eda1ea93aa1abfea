"""Focus in a real browser: keys, undo, skip, a reload, a dropped connection; nothing lost."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from annotator.domain import accounts
from annotator.models import Annotation, Skip
from tests.browser.conftest import Server
from tests.factories import (
    make_dataset,
    make_model,
    make_open_task,
    make_prediction,
    make_subject,
)

pytestmark = pytest.mark.browser
FACES = 24
SHOWING = '.focus[data-state="showing"]'
SUGGESTED = "anger"


@pytest.fixture
def path(server: Server) -> str:
    """A dataset in which every other face has a suggestion."""
    with server.tools.transaction() as session:
        user = server.hire(session, "annotator")
        dataset = make_dataset(session, votes_per_face=1, blind_share=0)
        accounts.add_member(session, user=user, dataset=dataset, by=None)
        subject = make_subject(session, server.tools.vault, dataset)
        model = make_model(session)
        for at in range(FACES):
            task = make_open_task(session, server.tools.vault, dataset, subject)
            if at % 2:
                make_prediction(session, server.tools.vault, task.face, model, label=SUGGESTED)
        return f"/datasets/{dataset.id}/label"


class Hand:
    """Presses keys and remembers what they should have meant."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.votes: list[str] = []

    def vote(self, key: str, label: str) -> None:
        self.page.wait_for_selector(SHOWING)
        self.page.keyboard.press(key)
        self.votes.append(label)

    def accept_or(self, key: str, label: str) -> None:
        """Accepts the suggestion where there is one."""
        self.page.wait_for_selector(SHOWING)
        if self.page.is_visible('[data-part="suggestion"]'):
            self.vote("Enter", SUGGESTED)
        else:
            self.vote(key, label)

    def undo(self) -> None:
        self.page.keyboard.press("z")
        self.page.wait_for_selector(SHOWING)
        self.votes.pop()


def wait_until_sent(page: Any) -> None:
    page.wait_for_function(
        "() => !Object.keys(localStorage).some((key) => key.startsWith('annotator.outbox'))"
    )


def test_twenty_faces_by_keyboard(
    server: Server,
    path: str,
    open_as: Callable[..., Any],
    troubles: list[str],
    keep: Callable[[Any, str], None],
) -> None:
    page = open_as("annotator", path, viewport={"width": 1366, "height": 768})
    hand = Hand(page)
    for key, label in (("1", "neutral"), ("h", "happiness"), ("0", "unknown"), ("x", "not_a_face")):
        hand.vote(key, label)
    for _ in range(3):
        hand.accept_or("7", "fear")
    keep(page, "focus")
    hand.undo()
    hand.undo()
    hand.vote("4", "sadness")
    hand.vote("5", "anger")
    page.wait_for_selector(SHOWING)
    page.keyboard.press("s")
    page.keyboard.press("s")
    page.keyboard.press("z")  # the second skip was a slip
    wait_until_sent(page)

    page.reload()
    page.wait_for_selector(SHOWING)
    page.keyboard.press("z")  # undo reaches back past the reload, to the other skip
    page.wait_for_selector(SHOWING)
    page.keyboard.press("s")
    hand.vote("6", "disgust")
    hand.undo()
    hand.vote("8", "contempt")
    wait_until_sent(page)
    page.wait_for_function("() => navigator.onLine")
    page.wait_for_load_state("networkidle")
    assert troubles == []

    page.context.set_offline(True)
    for _ in range(5):
        hand.accept_or("3", "surprise")
    page.wait_for_function(
        "() => document.querySelector('[data-shared=sync]').textContent.includes('Not connected')"
    )
    keep(page, "offline")
    page.context.set_offline(False)
    wait_until_sent(page)
    assert all("ERR_INTERNET_DISCONNECTED" in trouble for trouble in troubles)
    troubles.clear()
    page.wait_for_function("() => document.querySelector('[data-shared=sync]').textContent === ''")

    while len(hand.votes) < FACES - 1:
        hand.accept_or("2", "happiness")
    page.wait_for_selector('.focus[data-state="finished"]')
    wait_until_sent(page)
    keep(page, "finished")
    assert troubles == []
    _check_rows(server, page, hand.votes)


def _check_rows(server: Server, page: Any, votes: list[str]) -> None:
    history = json.loads(
        page.evaluate(
            "() => Object.entries(sessionStorage)"
            ".find(([key]) => key.startsWith('annotator.history'))[1]"
        )
    )
    given = {step["face"]["id"]: step["label"] for step in history if step["kind"] == "vote"}
    assert [step["label"] for step in history if step["kind"] == "vote"] == votes
    with server.tools.sessions() as session:
        rows = session.scalars(select(Annotation).where(Annotation.taken_back_at.is_(None))).all()
        assert {row.task_id: row.label for row in rows} == given
        assert len(rows) == FACES - 1
        assert all(row.duration_ms is not None and row.duration_ms >= 0 for row in rows)
        assert any(row.prelabel_shown for row in rows)
        assert {row.prelabel for row in rows if row.prelabel_shown} == {SUGGESTED}
        (skip,) = session.scalars(select(Skip))
        assert skip.task_id not in given


def test_second_emotion_pad_and_flags(
    server: Server, path: str, open_as: Callable[..., Any], troubles: list[str]
) -> None:
    page = open_as("annotator", path)
    page.wait_for_selector(SHOWING)
    for key in ("m", "3", "v", "ArrowRight", "ArrowRight", "ArrowUp", "Enter", "f", "3", "f", "7"):
        page.keyboard.press(key)
    wait_until_sent(page)
    with server.tools.sessions() as session:
        (vote,) = session.scalars(select(Annotation))
    assert (vote.label, vote.second_label, vote.flags) == ("fear", "surprise", ["poor_quality"])
    assert (vote.valence, vote.arousal) == (0.5, 0.25)
    assert troubles == []


def test_by_thumb(
    server: Server, path: str, open_as: Callable[..., Any], troubles: list[str]
) -> None:
    page = open_as(
        "annotator", path, viewport={"width": 360, "height": 720}, has_touch=True, is_mobile=True
    )
    page.wait_for_selector(SHOWING)
    for label in ("happiness", "sadness", "not_a_face"):
        page.tap(f'[data-label="{label}"]')
    page.tap('.labels.minor [data-command="undo"]')
    page.wait_for_selector(SHOWING)
    wait_until_sent(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    with server.tools.sessions() as session:
        standing = select(Annotation.label).where(Annotation.taken_back_at.is_(None))
        assert session.scalars(standing.order_by(Annotation.id)).all() == ["happiness", "sadness"]
    assert troubles == []


def test_pause_hides_the_face(path: str, open_as: Callable[..., Any]) -> None:
    page = open_as("annotator", path)
    page.wait_for_selector(SHOWING)
    page.keyboard.press("p")
    assert page.is_hidden('[data-part="face"] img')
    page.keyboard.press("1")  # no vote while paused
    page.keyboard.press("Escape")
    page.wait_for_selector('[data-part="face"] img')
    page.keyboard.press("p")
    page.keyboard.press("p")  # the same key goes on
    page.wait_for_selector('[data-part="face"] img')
    assert page.inner_text('[data-shared="today"]') == "0"
    page.keyboard.press("?")
    assert page.is_visible('[data-part="keymap"]')


def test_without_scripts(server: Server, path: str, open_as: Callable[..., Any]) -> None:
    page = open_as("annotator", path, java_script_enabled=False)
    page.click("text=Show me a face")
    page.click('button[value="happiness"]')
    page.click('button[value="skip"]')
    page.click('button[value="fear"]')
    page.click("text=Take my last vote back")
    with server.tools.sessions() as session:
        standing = select(Annotation.label).where(Annotation.taken_back_at.is_(None))
        assert session.scalars(standing).all() == ["happiness"]
        assert len(session.scalars(select(Skip)).all()) == 1
