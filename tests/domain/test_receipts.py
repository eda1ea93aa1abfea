from typing import Any

import pytest
from sqlalchemy.orm import Session

from annotator.core.errors import NotFound
from annotator.domain import audit, consent, erasure, receipts
from annotator.models import Dataset, Subject
from tests.factories import make_dataset, make_subject
from tests.fakes import FakeVault, FakeWork


@pytest.fixture
def dataset(session: Session) -> Dataset:
    return make_dataset(session)


@pytest.fixture
def subject(session: Session, vault: FakeVault, dataset: Dataset) -> Subject:
    subject = make_subject(session, vault, dataset, code="P-7")
    make_subject(session, vault, dataset, code="P-8")
    session.commit()
    return subject


def actions(receipt: dict[str, Any]) -> list[str]:
    return [item["entry"]["action"] for item in receipt["entries"]]


def test_a_receipt_tells_what_its_person_agreed_to(
    session: Session, vault: FakeVault, subject: Subject
) -> None:
    consent.withdraw_purposes(session, subject=subject, purposes=["train"])
    session.commit()
    receipt = receipts.make_receipt(session, vault=vault, subject=subject)
    assert actions(receipt) == ["subject.created", "consent.given", "consent.withdrawn"]
    assert [item["number"] for item in receipt["entries"]] == [1, 2, 3]
    assert receipt["entries"][2]["entry"]["details"] == {"purposes": ["train"]}
    events = consent.read_record(receipt["record"])
    assert (events[0].purpose, events[-1].kind) == ("store", "withdrawn")
    assert len(events[0].notice or "") == 64
    assert "P-7" not in audit.canonical(receipt["entries"]).decode()


def test_two_receipts_of_a_log_that_stands_still_are_the_same(
    session: Session, vault: FakeVault, subject: Subject
) -> None:
    first = receipts.make_receipt(session, vault=vault, subject=subject)
    session.commit()
    assert receipts.make_receipt(session, vault=vault, subject=subject) == first


def test_an_erasure_is_proven_with_the_salt_that_was_taken_out_before(
    session: Session, vault: FakeVault, work: FakeWork, subject: Subject
) -> None:
    opened = receipts.open_salt(session, vault=vault, subject=subject)
    with pytest.raises(NotFound):
        receipts.make_erasure_receipt(session, vault=vault, opened=opened)
    done = erasure.withdraw_subject(session, subject=subject, by=None)
    session.commit()
    receipt = receipts.make_erasure_receipt(session, vault=vault, opened=opened)
    session.commit()
    assert actions(receipt)[-1] == "subject.erased"
    assert receipt["renewal"] is None
    assert done.job is not None
    erasure.finish_withdrawal(work, **done.job.arguments)
    receipt = receipts.make_erasure_receipt(session, vault=vault, opened=opened)
    assert receipt["renewal"]["entry"]["action"] == "keys.renewed"


def test_after_the_erasure_nobody_finds_the_entries(
    session: Session, vault: FakeVault, subject: Subject
) -> None:
    erasure.withdraw_subject(session, subject=subject, by=None)
    session.commit()
    with pytest.raises(NotFound):
        receipts.make_receipt(session, vault=vault, subject=subject)
    with pytest.raises(NotFound):
        receipts.open_salt(session, vault=vault, subject=subject)
