from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.domain import consent, exports
from annotator.models import Dataset, Face, Job, Subject
from annotator.web.subjects import PURPOSE_WORDS
from annotator.worker import run_job
from tests.factories import make_face, make_subject
from tests.fakes import FakeTools, FakeVault, FakeWork

PASSWORD = "correct horse battery"
SignIn = Callable[[str], FlaskClient]


@pytest.fixture
def vault(toolbox: Toolbox) -> FakeVault:
    vault = FakeVault()
    toolbox.vault = vault  # type: ignore[misc]
    return vault


@pytest.fixture
def subject(toolbox: Toolbox, vault: FakeVault, make_dataset: Callable[..., Dataset]) -> Subject:
    dataset = make_dataset("curator")
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
        subject = make_subject(session, vault, dataset, code="P-1")
        make_face(session, vault, subject)
        for _ in range(4):
            make_face(session, vault, make_subject(session, vault, dataset))
        export = exports.request_export(
            session, dataset=dataset, recipient="University of X", by=None, wish=exports.Wish()
        )
    exports.build_export(FakeWork(toolbox.engine, FakeTools(vault=vault)), export_id=export.id)
    return subject


def reread(session: Session, subject: Subject) -> Subject:
    session.rollback()
    session.expire_all()
    return session.get_one(Subject, subject.id)


def test_the_page_says_exactly_what_will_happen(sign_in: SignIn, subject: Subject) -> None:
    page = sign_in("curator").get(f"/subjects/{subject.id}/withdrawal").text
    for words in (
        "Withdraw everything of P-1?",
        "1 picture, their name and contact",
        "3 votes on their face",
        "1 export is closed",
        "University of X",
        "This cannot be undone",
    ):
        assert words in page


@pytest.mark.parametrize("purpose", ["label", "prelabel", "train", "publish_weights"])
def test_one_purpose_has_its_own_page(
    sign_in: SignIn, subject: Subject, session: Session, purpose: str
) -> None:
    curator = sign_in("curator")
    page = curator.get(f"/subjects/{subject.id}/withdrawal?purpose={purpose}").text
    word = PURPOSE_WORDS[purpose][0].lower()
    assert f"Withdraw \u2018{word}\u2019 for P-1?" in page
    assert "cannot be undone" not in page
    form = {"purpose": purpose, "password": PASSWORD}
    answer = curator.post(f"/subjects/{subject.id}/withdrawal", data=form)
    assert answer.status_code == 303
    assert f"P-1 withdrew \u2018{word}\u2019" in curator.get(answer.location).text
    row = reread(session, subject)
    given = consent.given_purposes(session, subject=row)
    assert purpose not in given
    assert "store" in given


def test_the_password_comes_first(sign_in: SignIn, subject: Subject, session: Session) -> None:
    curator = sign_in("curator")
    for password, words in (("", "give your password"), ("wrong", "not your password")):
        answer = curator.post(
            f"/subjects/{subject.id}/withdrawal", data={"purpose": "all", "password": password}
        )
        assert answer.status_code == 422
        assert words in answer.text
    assert reread(session, subject).withdrawn_at is None
    early = curator.get(f"/subjects/{subject.id}/withdrawal/done")
    assert early.status_code == 409


def test_everything_goes_and_the_rest_is_told(
    *,
    sign_in: SignIn,
    subject: Subject,
    session: Session,
    vault: FakeVault,
    toolbox: Toolbox,
) -> None:
    curator = sign_in("curator")
    form = {"purpose": "all", "password": PASSWORD}
    answer = curator.post(f"/subjects/{subject.id}/withdrawal", data=form)
    assert answer.status_code == 303
    page = curator.get(answer.location).text
    assert "Tell these recipients" in page
    assert "University of X" in page
    row = reread(session, subject)
    assert row.wrapped_key is None
    assert session.scalars(select(Face).where(Face.subject_id == subject.id)).all() == []
    assert run_job(toolbox, session.scalars(select(Job.id).where(Job.kind == "erase")).one())
    assert not [blob for blob, (context, _) in vault.blobs.items() if context[0] == subject.uid]
    assert curator.get(f"/subjects/{subject.id}/withdrawal").status_code == 302
    assert curator.post(f"/subjects/{subject.id}/withdrawal", data=form).status_code == 409


def test_an_unknown_purpose_is_refused(sign_in: SignIn, subject: Subject) -> None:
    answer = sign_in("curator").get(f"/subjects/{subject.id}/withdrawal?purpose=magic")
    assert answer.status_code == 422


def test_strangers_to_the_dataset_find_nobody(
    sign_in: SignIn, subject: Subject, toolbox: Toolbox, make_dataset: Callable[..., Dataset]
) -> None:
    other = make_dataset(name="Other")
    with toolbox.transaction() as writing:
        writing.get_one(Subject, subject.id).dataset_id = other.id
    assert sign_in("curator").get(f"/subjects/{subject.id}/withdrawal").status_code == 404
