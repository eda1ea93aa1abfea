import io
import zipfile
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.domain import consent, exports
from annotator.domain.verification import verify_export
from annotator.models import AuditEntry, Dataset, Export, Job, Subject
from tests.factories import make_face, make_subject
from tests.fakes import FakeTools, FakeVault, FakeWork

PASSWORD = "correct horse battery"
SignIn = Callable[[str], FlaskClient]
WANTED = {"recipient": "University of X", "balance": "none", "password": PASSWORD}


@pytest.fixture
def vault(toolbox: Toolbox) -> FakeVault:
    vault = FakeVault()
    toolbox.vault = vault  # type: ignore[misc]
    return vault


@pytest.fixture
def dataset(toolbox: Toolbox, vault: FakeVault, make_dataset: Callable[..., Dataset]) -> Dataset:
    dataset = make_dataset("curator", "annotator")
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
        for number in range(12):
            subject = make_subject(session, vault, dataset)
            make_face(session, vault, subject, ("neutral", "fear")[number % 2])
    return dataset


@pytest.fixture
def build(toolbox: Toolbox, vault: FakeVault) -> Callable[[int], None]:
    def build(export_id: int) -> None:
        tools = FakeTools(vault=vault)
        exports.build_export(FakeWork(toolbox.engine, tools), export_id=export_id)

    return build


def newest(session: Session) -> Export:
    session.rollback()
    session.expire_all()
    return session.scalars(select(Export).order_by(Export.id.desc())).first()


def test_without_exports_the_page_says_what_one_is(sign_in: SignIn, dataset: Dataset) -> None:
    text = sign_in("curator").get(f"/datasets/{dataset.id}/exports").text
    assert "Nothing has left yet" in text
    assert f"/datasets/{dataset.id}/exports/new" in text


def test_the_form_tells_who_and_at_which_risk(
    sign_in: SignIn, dataset: Dataset, toolbox: Toolbox, vault: FakeVault
) -> None:
    with toolbox.transaction() as session:
        silent = make_subject(session, vault, dataset, ["store", "label"])
        make_face(session, vault, silent)
    text = sign_in("curator").get(f"/datasets/{dataset.id}/exports/new").text
    for words in (
        "Who may be in it",
        "What it looks like",
        "What it costs and risks",
        "not anonymous",
        "has not consented to training",
        "Write 12 pictures of 12 people for this recipient",
    ):
        assert words in text


def test_the_preview_follows_the_choice_and_survives_nonsense(
    sign_in: SignIn, dataset: Dataset, toolbox: Toolbox, vault: FakeVault
) -> None:
    with toolbox.transaction() as session:
        subject = make_subject(session, vault, dataset)
        make_face(session, vault, subject, {"fear": 1})
    curator = sign_in("curator")
    address = f"/datasets/{dataset.id}/exports/preview"
    assert 'data-files="12"' in curator.get(address).text
    assert 'data-files="13"' in curator.get(f"{address}?min_votes=1").text
    for query in ("balance=magic", "seed=x", "min_votes=99", "seed=-1", "min_votes="):
        answer = curator.get(f"{address}?{query}")
        assert answer.status_code == 200, query
        assert "<html" not in answer.text


def test_it_is_built_for_a_recipient_after_the_password(
    sign_in: SignIn,
    dataset: Dataset,
    session: Session,
    vault: FakeVault,
    build: Callable[[int], None],
) -> None:
    curator = sign_in("curator")
    answer = curator.post(f"/datasets/{dataset.id}/exports", data=WANTED)
    assert answer.status_code == 303
    export = newest(session)
    page = curator.get(answer.location).text
    assert "Building the export" in page
    build(export.id)
    page = curator.get(answer.location).text
    assert "Fetch the ZIP" in page
    assert "University of X" in page
    fetched = curator.get(f"/exports/{export.id}/archive")
    assert fetched.mimetype == "application/zip"
    assert "attachment" in fetched.headers["Content-Disposition"]
    key = curator.get("/exports/public-key.pem").data
    report = verify_export(io.BytesIO(fetched.data), public_key=key)
    assert report.ok, report.message
    assert len(zipfile.ZipFile(io.BytesIO(fetched.data)).namelist()) > 12
    session.rollback()
    actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert actions[-1] == "export.delivered"
    assert export.uid[:8] in curator.get(f"/datasets/{dataset.id}/exports").text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"password": "wrong"}, "This is not your password."),
        ({"password": ""}, "Please give your password."),
        ({"recipient": ""}, "Please say who gets it."),
        ({"recipient": " "}, "Say who gets this export"),
        ({"min_votes": "11"}, "a number from 1 to 10"),
        ({"seed": "-3"}, "a whole number from 0"),
        ({"balance": "magic"}, "Not a valid choice"),
    ],
)
def test_nothing_is_asked_for_when_a_field_is_wrong(
    sign_in: SignIn, dataset: Dataset, session: Session, change: dict[str, str], words: str
) -> None:
    answer = sign_in("curator").post(f"/datasets/{dataset.id}/exports", data=WANTED | change)
    assert answer.status_code == 422
    assert words in answer.text
    assert newest(session) is None


def test_a_dataset_with_nobody_to_export_says_why(
    sign_in: SignIn, vault: FakeVault, make_dataset: Callable[..., Dataset]
) -> None:
    dataset = make_dataset("curator")
    curator = sign_in("curator")
    assert (
        "There are no faces in this dataset."
        in curator.get(f"/datasets/{dataset.id}/exports/new").text
    )
    answer = curator.post(f"/datasets/{dataset.id}/exports", data=WANTED)
    assert answer.status_code == 409
    assert "There are no faces in this dataset yet." in answer.text


def test_after_a_withdrawal_it_is_not_handed_out_and_says_whom_to_tell(
    sign_in: SignIn,
    dataset: Dataset,
    session: Session,
    toolbox: Toolbox,
    build: Callable[[int], None],
) -> None:
    curator = sign_in("curator")
    curator.post(f"/datasets/{dataset.id}/exports", data=WANTED)
    export = newest(session)
    build(export.id)
    with toolbox.transaction() as writing:
        gone = writing.scalars(select(Subject)).first()
        consent.withdraw_purposes(writing, subject=gone, purposes=["train"])
    answer = curator.get(f"/exports/{export.id}/archive")
    assert answer.status_code == 409
    page = curator.get(f"/exports/{export.id}").text
    assert "Tell University of X to delete" in page
    assert "p-" in page
    assert "Fetch the ZIP" not in page


def test_a_failed_build_says_why(
    sign_in: SignIn, dataset: Dataset, session: Session, toolbox: Toolbox
) -> None:
    curator = sign_in("curator")
    curator.post(f"/datasets/{dataset.id}/exports", data=WANTED)
    export = newest(session)
    with toolbox.transaction() as writing:
        row = writing.get_one(Job, export.job_id)
        row.state, row.error = "failed", "The disk is full."
    page = curator.get(f"/exports/{export.id}").text
    assert "This export was not built: The disk is full." in page


def test_another_dataset_s_export_is_not_there(
    sign_in: SignIn,
    dataset: Dataset,
    session: Session,
    toolbox: Toolbox,
    make_dataset: Callable[..., Dataset],
) -> None:
    sign_in("curator").post(f"/datasets/{dataset.id}/exports", data=WANTED)
    export = newest(session)
    other = make_dataset(name="Other")
    with toolbox.transaction() as writing:
        writing.get_one(Export, export.id).dataset_id = other.id
    curator = sign_in("curator")
    for address in (f"/exports/{export.id}", f"/exports/{export.id}/archive"):
        assert curator.get(address).status_code == 404
        assert curator.get(f"/api/v1{address}").status_code == 404
