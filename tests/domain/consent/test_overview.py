import datetime as dt

import pytest
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.domain import consent
from annotator.models import PURPOSES, Dataset
from tests.factories import make_dataset, make_face, make_subject
from tests.fakes import FakeVault


@pytest.fixture
def dataset(session: Session) -> Dataset:
    return make_dataset(session)


def test_everybody_has_one_state(session: Session, dataset: Dataset, vault: FakeVault) -> None:
    make_subject(session, vault, dataset, code="all")
    make_subject(session, vault, dataset, ["label"], code="without-store")
    gone = make_subject(session, vault, dataset, code="gone")
    gone.withdrawn_at = now()
    short = consent.create_subject(session, vault=vault, dataset=dataset, code="short")
    consent.record_consent(
        session,
        subject=short,
        purposes=["store"],
        notice=consent.current_notice(session, dataset=dataset),
        expression="ticked",
        expires_at=now() + dt.timedelta(days=10),
    )
    session.flush()
    found = consent.list_standings(session, dataset=dataset)
    assert {row.subject.code: row.state for row in found} == {
        "all": "consents",
        "without-store": "no consent",
        "gone": "withdrawn",
        "short": "ends soon",
    }
    assert found[0].purposes == PURPOSES


def test_an_overview_says_what_the_gate_says(
    session: Session, dataset: Dataset, vault: FakeVault
) -> None:
    subject = make_subject(session, vault, dataset)
    consent.withdraw_purposes(session, subject=subject, purposes=["train"])
    standing = consent.standing_of(session, subject=subject)
    assert set(standing.purposes) == set(consent.given_purposes(session, subject=subject))


def test_holdings_are_counted(session: Session, dataset: Dataset, vault: FakeVault) -> None:
    subject = make_subject(session, vault, dataset)
    make_face(session, vault, subject, {"neutral": 2})
    make_face(session, vault, make_subject(session, vault, dataset))
    assert consent.count_holdings(session, subject=subject) == {
        "pictures": 1,
        "faces": 1,
        "votes": 2,
        "guesses": 0,
        "exports": 0,
    }
