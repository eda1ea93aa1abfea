from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.domain import consent
from annotator.models import Dataset, Image, Membership, User
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
    "grace_days": "30",
    "retention_days": "",
}


def test_a_new_dataset_has_its_maker_as_a_member_and_leads_to_its_notice(
    sign_in: SignIn, session: Session
) -> None:
    curator = sign_in("curator")
    answer = curator.post("/datasets", data={**NEW, "retention_days": "400"})
    assert answer.status_code == 303
    dataset = session.scalars(select(Dataset)).one()
    assert (dataset.retention_days, dataset.grace_days) == (400, 30)
    assert answer.location == f"/datasets/{dataset.id}/notices/new"
    assert "Write the notice" in curator.get(answer.location).text
    assert "Ward study" in curator.get("/datasets").text


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("name", "", "Please fill this in."),
        ("name", " ", "A dataset needs a name."),
        ("votes_per_face", "0", "from 1 to 10"),
        ("votes_per_face", "many", "Not a valid integer value."),
        ("blind_share", "1.5", "from 0 to 1"),
        ("blind_share", "nan", "from 0 to 1"),
        ("grace_days", "366", "from 0 to 365"),
        ("retention_days", "0", "between 1 and 3660"),
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
