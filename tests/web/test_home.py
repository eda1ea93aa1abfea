from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from annotator.bootstrap import Toolbox
from annotator.core.db import now
from annotator.domain import accounts
from annotator.models import ROLES, Dataset, Job, ModelVersion, User
from tests.factories import make_dataset as make_rows
from tests.factories import make_face, make_subject

SignIn = Callable[[str], FlaskClient]


@pytest.mark.parametrize("role", ROLES)
def test_an_empty_installation_says_what_comes_next(sign_in: SignIn, role: str) -> None:
    page = sign_in(role).get("/").text
    assert "No face is waiting for your vote." in page
    assert ("There is no dataset yet." in page) == (role in {"curator", "admin"})
    assert "<table" not in page


def test_an_annotator_sees_how_far_the_labelling_is(
    sign_in: SignIn, toolbox: Toolbox, make_dataset: Callable[..., Dataset]
) -> None:
    client = sign_in("annotator")
    make_dataset(name="Not for them")
    with toolbox.transaction() as session:
        dataset = make_rows(session, name="Theirs")
        subject = make_subject(session, toolbox.vault, dataset)
        make_face(session, toolbox.vault, subject, votes={})
        user = session.scalars(select(User).where(User.role == "annotator")).one()
        accounts.add_member(session, user=user, dataset=dataset, by=None)
    page = client.get("/").text
    assert "Theirs" in page
    assert "0 of 1 faces have all their votes" in page
    assert "Not for them" not in page


def test_a_failed_job_asks_for_a_decision(
    sign_in: SignIn, toolbox: Toolbox, make_dataset: Callable[..., Dataset]
) -> None:
    dataset = make_dataset("curator")
    with toolbox.transaction() as session:
        session.add(
            Job(
                kind="build_export",
                arguments={},
                dataset_id=dataset.id,
                state="failed",
                error="The disk is full.",
                finished_at=now(),
            )
        )
    assert "The disk is full." in sign_in("curator").get("/").text
    assert "The disk is full." in sign_in("admin").get("/").text
    assert "The disk is full." not in sign_in("reviewer").get("/").text
    assert "The disk is full." not in sign_in("annotator").get("/").text


def test_a_curator_sees_the_model_in_use_beside_the_last_candidate(
    sign_in: SignIn, toolbox: Toolbox
) -> None:
    with toolbox.transaction() as session:
        for name, state in (("first", "current"), ("second", "candidate")):
            session.add(ModelVersion(name=name, kind="cnn", state=state, digest="0" * 64))
    page = sign_in("curator").get("/").text
    assert "Makes the pre-labels" in page
    assert "Waits for a decision" in page
    assert "Makes the pre-labels" not in sign_in("annotator").get("/").text


def test_the_top_bar_says_that_work_is_running(
    sign_in: SignIn, toolbox: Toolbox, make_dataset: Callable[..., Dataset]
) -> None:
    dataset = make_dataset("curator")
    with toolbox.transaction() as session:
        session.add(Job(kind="detect", arguments={}, dataset_id=dataset.id, state="running"))
    assert "1 job running" in sign_in("curator").get("/").text
    assert "1 job running" not in sign_in("annotator").get("/").text
