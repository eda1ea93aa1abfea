from typing import Any

import pytest
from sqlalchemy.orm import Session

from annotator.core.errors import Conflict, InvalidInput, NotFound
from annotator.domain import accounts, datasets, erasure
from tests.factories import make_dataset, make_face, make_subject, make_user
from tests.fakes import FakeVault


def test_its_maker_is_a_member(session: Session) -> None:
    user = make_user(session, "curator")
    dataset = datasets.create_dataset(session, name=" Clinic ", created_by=user)
    assert (dataset.name, dataset.created_by) == ("Clinic", user.id)
    assert accounts.is_member(session, user=user, dataset_id=dataset.id)
    with pytest.raises(Conflict):
        datasets.create_dataset(session, name="Clinic", created_by=None)


@pytest.mark.parametrize(
    "rules",
    [
        {"name": "  "},
        {"votes_per_face": 0},
        {"votes_per_face": 11},
        {"blind_share": -0.1},
        {"blind_share": 1.1},
        {"blind_share": float("nan")},
        {"prelabel_threshold": 2.0},
    ],
)
def test_rules_have_their_ranges(session: Session, rules: Any) -> None:
    with pytest.raises(InvalidInput):
        datasets.create_dataset(session, created_by=None, **{"name": "Clinic", **rules})


def test_it_is_found_by_name_or_number(session: Session) -> None:
    with pytest.raises(NotFound, match="none yet"):
        datasets.find_dataset(session, name="Clinic")
    first = make_dataset(session, name="Clinic")
    number = make_dataset(session, name=str(first.id))
    assert datasets.find_dataset(session, name="Clinic") is first
    assert datasets.find_dataset(session, name=str(first.id)) is number  # the name comes first
    assert datasets.find_dataset(session, name=str(number.id)) is number
    assert datasets.get_dataset(session, dataset_id=first.id) is first
    for name in ("clinic", "99", "\N{SUPERSCRIPT TWO}"):
        with pytest.raises(NotFound, match="There are: 1, Clinic"):
            datasets.find_dataset(session, name=name)
    with pytest.raises(NotFound):
        datasets.get_dataset(session, dataset_id=99)


def test_a_person_sees_their_own_and_an_admin_all(session: Session) -> None:
    user, admin = make_user(session), make_user(session, "admin")
    made = [make_dataset(session, name=f"Set {number}") for number in range(3)]
    accounts.add_member(session, user=user, dataset=made[1], by=None)
    assert datasets.list_datasets(session, user=user) == [made[1]]
    assert datasets.list_datasets(session, user=admin) == made
    assert datasets.list_datasets(session, user=admin, after=made[0].id, limit=1) == [made[1]]


def test_how_far_it_is(session: Session, vault: FakeVault) -> None:
    dataset, other = make_dataset(session), make_dataset(session, name="Other")
    people = [make_subject(session, vault, dataset) for _ in range(3)]
    make_face(session, vault, people[0])
    make_face(session, vault, people[0], {"fear": 1})
    make_face(session, vault, people[1], votes=None).image.state = "review"
    session.flush()
    assert datasets.count_progress(session, dataset_id=dataset.id) == datasets.Progress(2, 1, 1)
    assert datasets.count_progress(session, dataset_id=other.id) == datasets.Progress(0, 0, 0)
    assert datasets.count_images(session, dataset_id=dataset.id) == {"ready": 2, "review": 1}
    assert datasets.count_images(session, dataset_id=other.id) == {}
    erasure.withdraw_subject(session, subject=people[2], by=None)
    assert datasets.count_subjects(session, dataset_id=dataset.id) == {"present": 2, "withdrawn": 1}
    assert datasets.count_subjects(session, dataset_id=other.id) == {"present": 0, "withdrawn": 0}
