"""Focus without scripts, and what the page brings for its script."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.domain import consent
from annotator.models import Annotation, Dataset, Lease, Skip
from tests.factories import make_open_task, make_subject
from tests.fakes import FakeVault

HIDDEN = re.compile(r'name="(task|id)" value="([^"]+)"')


@pytest.fixture
def dataset(toolbox: Toolbox, make_dataset: Callable[..., Dataset]) -> Dataset:
    toolbox.vault = FakeVault()
    dataset = make_dataset("annotator")
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
        subject = make_subject(session, toolbox.vault, dataset)
        for _ in range(3):
            make_open_task(session, toolbox.vault, dataset, subject)
    return dataset


@pytest.fixture
def press(sign_in: Callable[[str], Any], dataset: Dataset) -> Callable[..., str]:
    """Presses a button of the page without scripts; gives the page behind it."""
    browser = sign_in("annotator")
    path = f"/datasets/{dataset.id}/label"

    def press(label: str, **fields: str) -> str:
        hidden = dict(HIDDEN.findall(browser.get(path).text))
        data = {**hidden, **fields, "label": label}
        answer = browser.post(path, data=data, follow_redirects=True)
        assert answer.status_code == 200
        return str(answer.text)

    return press


def test_looking_writes_nothing(
    sign_in: Callable[[str], Any], dataset: Dataset, session: Session
) -> None:
    page = sign_in("annotator").get(f"/datasets/{dataset.id}/label")
    assert page.status_code == 200
    assert 'data-controller="label/focus"' in page.text
    assert "0</span> of 3" in page.text
    assert session.scalars(select(Lease)).all() == []


def test_one_face_at_a_time(press: Callable[..., str], session: Session) -> None:
    assert "/crop" in press("start")
    page = press("fear")
    assert "Take my last vote back" in page
    press("skip")
    page = press("anger")
    assert "Nothing is waiting" in page
    assert sorted(session.scalars(select(Annotation.label))) == ["anger", "fear"]
    assert len(session.scalars(select(Skip)).all()) == 1
    last = re.findall(r'name="id" value="([^"]+)"', page)[-1]
    press("undo", id=last)
    session.rollback()  # ends the look of before
    standing = select(Annotation.label).where(Annotation.taken_back_at.is_(None))
    assert session.scalars(standing).all() == ["fear"]


def test_a_refusal_is_said_and_labelling_goes_on(press: Callable[..., str]) -> None:
    press("start")
    assert "There is no label &#39;joy&#39;" in press("joy")
    assert "There is no such task" in press("fear", task="999")


def test_who_is_no_member_finds_nothing(sign_in: Callable[[str], Any], dataset: Dataset) -> None:
    assert sign_in("curator").get(f"/datasets/{dataset.id}/label").status_code == 404
