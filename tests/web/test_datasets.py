from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.domain import consent
from annotator.models import Dataset, Image, Membership, Notice, User
from tests.factories import make_subject

SignIn = Callable[[str], FlaskClient]
MakeDataset = Callable[..., Dataset]
NEW = {
    "name": "Ward study",
    "description": "",
    "votes_per_face": "3",
    "blind_share": "0.15",
    "prelabel_threshold": "0.5",
    "approve_alone": "y",
    "organisation": "University of X",
    "contact": "privacy@example.org",
    "years": "3",
    "text": consent.NOTICE,
}


def test_a_new_dataset_has_its_maker_as_a_member_and_a_notice_with_their_words(
    sign_in: SignIn, session: Session
) -> None:
    curator = sign_in("curator")
    answer = curator.post("/datasets", data=NEW, follow_redirects=True)
    assert answer.status_code == 200
    notice = session.scalars(select(Notice)).one()
    assert notice.text.startswith("University of X keeps")
    assert "privacy@example.org" in notice.text
    assert "{" not in notice.text
    assert "Ward study" in curator.get("/datasets").text


def test_the_notice_is_kept_as_it_was_edited(sign_in: SignIn, session: Session) -> None:
    form = {**NEW, "text": "We keep pictures.\r\n\r\nAsk us.", "organisation": "", "contact": ""}
    assert sign_in("curator").post("/datasets", data=form).status_code == 303
    assert session.scalars(select(Notice.text)).one() == "We keep pictures.\n\nAsk us."


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("name", "", "Please fill this in."),
        ("name", " ", "A dataset needs a name."),
        ("votes_per_face", "0", "from 1 to 10"),
        ("votes_per_face", "many", "Not a valid integer value."),
        ("blind_share", "1.5", "from 0 to 1"),
        ("blind_share", "nan", "from 0 to 1"),
        ("organisation", "", "The notice names this"),
        ("text", "", "A notice needs a text."),
        ("text", "Ask {somebody}.", "Replace the words in curly brackets"),
    ],
)
def test_a_field_that_cannot_be_is_refused_beside_it(
    sign_in: SignIn, session: Session, field: str, value: str, sentence: str
) -> None:
    answer = sign_in("curator").post("/datasets", data={**NEW, field: value})
    assert answer.status_code == 422
    assert sentence in answer.text
    assert session.scalars(select(Dataset)).all() == []


def test_a_name_that_is_taken_is_refused(sign_in: SignIn, make_dataset: MakeDataset) -> None:
    make_dataset(name="Ward study")
    answer = sign_in("curator").post("/datasets", data=NEW)
    assert answer.status_code == 409
    assert "There is a dataset &#39;Ward study&#39; already." in answer.text


def test_the_list_turns_pages(
    sign_in: SignIn, make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotator.web.datasets.PAGE", 2)
    for number in range(3):
        make_dataset(name=f"Study {number}")
    admin = sign_in("admin")
    first = admin.get("/datasets").text
    assert "Study 1" in first
    assert "Study 2" not in first
    assert "Study 2" in admin.get("/datasets?after=2").text


def test_an_empty_list_says_what_to_do(sign_in: SignIn) -> None:
    assert "New dataset" in sign_in("curator").get("/datasets").text
    assert "A curator adds you" in sign_in("annotator").get("/datasets").text


def test_a_dataset_of_others_looks_like_none(sign_in: SignIn, make_dataset: MakeDataset) -> None:
    dataset = make_dataset()
    curator = sign_in("curator")
    of_others = curator.get(f"/datasets/{dataset.id}")
    missing = curator.get("/datasets/4711")
    assert of_others.status_code == missing.status_code == 404
    assert "There is no such dataset." in of_others.text
    assert "There is no such dataset." in missing.text


def test_the_hub_says_what_to_do_next(
    sign_in: SignIn, make_dataset: MakeDataset, toolbox: Toolbox
) -> None:
    dataset = make_dataset("curator")
    curator = sign_in("curator")
    address = f"/datasets/{dataset.id}"
    assert "Write the notice" in curator.get(address).text
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures.")
    assert "Record the first person" in curator.get(address).text
    with toolbox.transaction() as session:
        subject = make_subject(session, toolbox.vault, dataset)
    assert "Upload pictures" in curator.get(address).text
    with toolbox.transaction() as session:
        _add_image(session, dataset, subject.id, "review", b"1")
        _add_image(session, dataset, subject.id, "received", b"2")
    text = curator.get(address).text
    assert "1 wait for a person to say whose face it is." in text
    assert "1 came in and nobody has looked for faces." in text


def test_the_hub_offers_an_annotator_only_what_is_theirs(
    sign_in: SignIn, make_dataset: MakeDataset
) -> None:
    dataset = make_dataset("annotator")
    text = sign_in("annotator").get(f"/datasets/{dataset.id}").text
    assert f"/datasets/{dataset.id}/upload" not in text
    assert f"/datasets/{dataset.id}/members" not in text
    assert "Nothing waits for you here." in text


def test_a_new_version_of_the_notice_leaves_the_old_one(
    sign_in: SignIn, make_dataset: MakeDataset, session: Session
) -> None:
    dataset = make_dataset("curator")
    curator = sign_in("curator")
    for text in ("First words.", "Second words."):
        answer = curator.post(f"/datasets/{dataset.id}/notices", data={"text": text})
        assert answer.status_code == 303
    rows = session.scalars(select(Notice).order_by(Notice.version)).all()
    assert [(row.version, row.text) for row in rows] == [(1, "First words."), (2, "Second words.")]
    again = curator.post(f"/datasets/{dataset.id}/notices", data={"text": "Second words."})
    assert again.status_code == 422
    assert "nothing would change" in again.text
    page = curator.get(f"/datasets/{dataset.id}/notices/new").text
    assert "First words." in page


def test_members_come_and_go(sign_in: SignIn, make_dataset: MakeDataset, session: Session) -> None:
    dataset = make_dataset("curator")
    user = session.scalars(select(User).where(User.role == "annotator")).one()
    curator, address = sign_in("curator"), f"/datasets/{dataset.id}/members"
    assert "Any Annotator (annotator)" in curator.get(address).text
    assert curator.post(address, data={"user": user.id}).status_code == 303
    assert _members(session) == {"annotator", "curator"}
    assert curator.post(f"{address}/{user.id}/remove").status_code == 303
    assert _members(session) == {"curator"}
    assert curator.post(address, data={"user": "4711"}).status_code == 404
    assert curator.post(address, data={}).status_code == 404


def _members(session: Session) -> set[Any]:
    session.rollback()
    return set(session.scalars(select(User.role).join(Membership)))


def _add_image(
    session: Session, dataset: Dataset, subject_id: int, state: str, unique: bytes
) -> None:
    session.add(
        Image(
            uid=unique.hex() * 16,
            dataset_id=dataset.id,
            subject_id=subject_id,
            state=state,
            fingerprint=unique * 32,
        )
    )
