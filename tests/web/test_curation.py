"""The curation pages."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.domain import consent
from annotator.models import AuditEntry, Dataset, Job, Review, Task
from tests.factories import make_face, make_subject
from tests.fakes import FakeVault


@pytest.fixture
def dataset(toolbox: Toolbox, make_dataset: Callable[..., Dataset]) -> Dataset:
    toolbox.vault = FakeVault()
    dataset = make_dataset("annotator", "reviewer", "curator")
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
        subject = make_subject(session, toolbox.vault, dataset)
        make_face(session, toolbox.vault, subject, {"fear": 3})
        make_face(session, toolbox.vault, subject, {"fear": 2, "anger": 1})
    return dataset


def test_figures_balance_and_an_empty_state(
    sign_in: Callable[[str], Any], dataset: Dataset
) -> None:
    page = sign_in("reviewer").get(f"/datasets/{dataset.id}/curation").text
    assert "67 %" in page or "83 %" in page
    assert "No groups yet" in page
    assert f"/datasets/{dataset.id}/curation/disagreements?label=anger" in page
    assert "Group the faces" not in page  # a curator's button


def test_a_curator_starts_the_grouping(
    sign_in: Callable[[str], Any], dataset: Dataset, session: Session
) -> None:
    browser = sign_in("curator")
    path = f"/datasets/{dataset.id}/curation"
    refused = browser.post(path, data={"k": "1"}, follow_redirects=True)
    assert "Choose 2 to 200 groups" in refused.text
    assert browser.post(path, data={"k": "12"}).status_code == 303
    (job,) = session.scalars(select(Job))
    assert (job.kind, job.arguments["k"]) == ("cluster", 12)
    assert "Grouping" in browser.get(path).text
    assert sign_in("reviewer").post(path, data={}).status_code == 403


def test_a_reviewer_decides(
    sign_in: Callable[[str], Any], dataset: Dataset, session: Session
) -> None:
    browser = sign_in("reviewer")
    path = f"/datasets/{dataset.id}/curation/disagreements"
    assert browser.get(path).text.count("Add decision") == 1
    task_id = session.scalars(select(Task.id).order_by(Task.id.desc())).first()
    refused = browser.post(f"{path}/{task_id}", data={"label": ""}, follow_redirects=True)
    assert 'class="notice danger"' in refused.text
    answer = browser.post(
        f"{path}/{task_id}", data={"label": "anger", "comment": "brows"}, follow_redirects=True
    )
    assert "No disagreements" in answer.text
    session.rollback()  # ends the look of before
    (decision,) = session.scalars(select(Review))
    assert (decision.label, decision.comment) == ("anger", "brows")
    assert "brows" in browser.get(f"{path}?decided=1").text
    assert "brows" not in browser.get(f"{path}?decided=1&label=sadness").text


def test_faces_shown_are_counted_in_the_log(
    sign_in: Callable[[str], Any], dataset: Dataset, session: Session
) -> None:
    sign_in("reviewer").get(f"/datasets/{dataset.id}/curation/disagreements")
    (entry,) = session.scalars(select(AuditEntry).where(AuditEntry.action == "faces.shown"))
    assert entry.details == {"dataset": dataset.id, "faces": 1, "page": "disagreements"}


def test_annotators_do_not_curate(sign_in: Callable[[str], Any], dataset: Dataset) -> None:
    assert sign_in("annotator").get(f"/datasets/{dataset.id}/curation").status_code == 403
