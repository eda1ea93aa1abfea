from typing import Any

import pytest
from sqlalchemy.orm import Session

from annotator.core.errors import Conflict, InvalidInput, NotFound
from annotator.domain import exports
from annotator.domain.exports import Wish
from annotator.models import Dataset, Job
from tests.factories import make_dataset, make_face, make_subject
from tests.fakes import FakeVault


@pytest.fixture
def dataset(session: Session, vault: FakeVault) -> Any:
    dataset = make_dataset(session, seed=11)
    make_face(session, vault, make_subject(session, vault, dataset))
    return dataset


def ask(session: Session, dataset: Dataset, recipient: str = "University of X", **wish: Any) -> Any:
    return exports.request_export(
        session, dataset=dataset, recipient=recipient, by=None, wish=Wish(**wish)
    )


def test_a_wish_becomes_a_row_and_a_job(session: Session, dataset: Dataset) -> None:
    export = ask(session, dataset, min_votes=2)
    assert (export.tier, export.balance, export.seed, export.state) == ("T1", "none", 11, "queued")
    job = session.get_one(Job, export.job_id)
    assert (job.kind, job.arguments) == ("export", {"export_id": export.id, "min_votes": 2})
    assert session.info["jobs"] == [job.id]


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [
        ({"tier": "T2"}, "T2 is not available in this version"),
        ({"tier": "T9"}, "no tier 'T9'"),
        ({"format": "csv"}, "'csv' is not available"),
        ({"balance": "magic"}, "no balance 'magic'"),
        ({"seed": -1}, "seed lies between"),
        ({"min_votes": 0}, "At least one vote"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    session: Session, dataset: Dataset, wish: Any, sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        ask(session, dataset, **wish)


@pytest.mark.parametrize("recipient", ["", "   ", "x" * 201])
def test_a_recipient_is_needed(session: Session, dataset: Dataset, recipient: str) -> None:
    with pytest.raises(InvalidInput, match="who gets this"):
        ask(session, dataset, recipient=recipient)


def test_nothing_to_export_says_why(session: Session, vault: FakeVault) -> None:
    dataset = make_dataset(session, name="Empty")
    with pytest.raises(Conflict, match="no faces"):
        ask(session, dataset)
    silent = make_subject(session, vault, dataset, ["store", "label"])
    make_face(session, vault, silent)
    with pytest.raises(Conflict, match="not consented to training"):
        ask(session, dataset)


def test_exports_are_found_by_number_and_by_the_beginning_of_their_id(
    session: Session, dataset: Dataset
) -> None:
    export = ask(session, dataset)
    export.uid = "abc" + export.uid[3:]
    session.flush()
    assert exports.find_export(session, name=str(export.id)) is export
    assert exports.find_export(session, name="abc") is export
    assert exports.get_export(session, export_id=export.id) is export
    for name in ("zzz", "", "99"):
        with pytest.raises(NotFound):
            exports.find_export(session, name=name)
    with pytest.raises(NotFound):
        exports.get_export(session, export_id=99)


def test_the_newest_come_first_by_page(session: Session, dataset: Dataset) -> None:
    made = [ask(session, dataset) for _ in range(3)]
    first = exports.list_exports(session, dataset=dataset, limit=2)
    assert first == [made[2], made[1]]
    assert exports.list_exports(session, dataset=dataset, before=first[-1].id) == [made[0]]
