import datetime as dt
from typing import Any

import pytest
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput
from annotator.domain import consent
from annotator.models import PURPOSES, AuditEntry, Dataset, Subject
from tests.factories import make_dataset
from tests.fakes import FakeVault


@pytest.fixture
def dataset(session: Session) -> Dataset:
    return make_dataset(session)


@pytest.fixture
def subject(session: Session, vault: FakeVault, dataset: Dataset) -> Subject:
    return consent.create_subject(session, vault=vault, dataset=dataset, code="P-1", name="A Name")


def record(session: Session, subject: Subject, *purposes: str, **changes: Any) -> Any:
    dataset = session.get_one(Dataset, subject.dataset_id)
    return consent.record_consent(
        session,
        **{
            "subject": subject,
            "purposes": purposes,
            "notice": consent.current_notice(session, dataset=dataset),
            "expression": "ticked",
            "expires_at": now() + dt.timedelta(days=30),
            **changes,
        },
    )


def test_each_purpose_is_an_event_of_its_own(session: Session, subject: Subject) -> None:
    events = record(session, subject, "store", "label", "store")
    assert [(event.purpose, event.kind) for event in events] == [
        ("store", "given"),
        ("label", "given"),
    ]
    assert set(consent.given_purposes(session, subject=subject)) == {"store", "label"}


def test_saying_it_again_renews(session: Session, subject: Subject) -> None:
    record(session, subject, "store")
    (event,) = record(session, subject, "store")
    assert event.kind == "renewed"


def test_a_purpose_taken_back_is_gone_and_can_be_given_again(
    session: Session, subject: Subject
) -> None:
    record(session, subject, *PURPOSES)
    consent.withdraw_purposes(session, subject=subject, purposes=["label"])
    assert "label" not in consent.given_purposes(session, subject=subject)
    record(session, subject, "label")
    assert "label" in consent.given_purposes(session, subject=subject)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"purposes": ["dance"]}, "no purpose 'dance'"),
        ({"expression": "nod"}, "expressed as one of"),
        ({"expires_at": now() - dt.timedelta(days=1)}, "must end after it begins"),
        ({"expires_at": now() + dt.timedelta(days=4000)}, "within 10 years"),
    ],
)
def test_what_cannot_be_is_refused(
    session: Session, subject: Subject, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        record(session, subject, "store", **changes)
    assert consent.given_purposes(session, subject=subject) == {}


def test_a_notice_that_does_not_tell_of_a_purpose_cannot_carry_it(
    session: Session, subject: Subject
) -> None:
    dataset = session.get_one(Dataset, subject.dataset_id)
    notice = consent.create_notice(session, dataset=dataset, text="Only this.", purposes=["store"])
    with pytest.raises(InvalidInput, match="does not tell"):
        record(session, subject, "store", "train", notice=notice)


def test_after_an_erasure_nothing_can_be_given(session: Session, subject: Subject) -> None:
    subject.withdrawn_at = now()
    with pytest.raises(Conflict, match="erased"):
        record(session, subject, "store")


def test_the_code_is_taken_once(session: Session, vault: FakeVault, subject: Subject) -> None:
    dataset = session.get_one(Dataset, subject.dataset_id)
    with pytest.raises(Conflict, match="already"):
        consent.create_subject(session, vault=vault, dataset=dataset, code="P-1")


def test_the_log_tells_without_names(session: Session, subject: Subject) -> None:
    record(session, subject, "store")
    told = " ".join(str(entry.details) for entry in session.query(AuditEntry))
    assert "A Name" not in told
    assert "P-1" not in told


def test_a_notice_never_changes_and_a_new_one_counts_on(session: Session, dataset: Dataset) -> None:
    first = consent.current_notice(session, dataset=dataset)
    second = consent.create_notice(session, dataset=dataset, text="Something else.")
    assert second.version == first.version + 1
    assert second.digest != first.digest
    assert consent.current_notice(session, dataset=dataset) is second
    with pytest.raises(InvalidInput, match="text"):
        consent.create_notice(session, dataset=dataset, text="  ")
