"""What ends by itself, with the clock in the test's hand."""

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.domain import consent, labelling, retention
from annotator.models import (
    PURPOSES,
    AuditEntry,
    Dataset,
    Export,
    ExportItem,
    Face,
    Image,
    Installation,
    Job,
    Lease,
    Prediction,
    Subject,
)
from tests.factories import (
    make_dataset,
    make_face,
    make_model,
    make_open_task,
    make_prediction,
    make_user,
)
from tests.fakes import FakeVault, FakeWork

DAY = dt.timedelta(days=1)


@pytest.fixture
def dataset(session: Session) -> Dataset:
    return make_dataset(session, grace_days=10)


def agree(session: Session, subject: Subject, days: float, *purposes: str, **more: Any) -> None:
    consent.record_consent(
        session,
        subject=subject,
        purposes=purposes or PURPOSES,
        notice=consent.current_notice(
            session, dataset=session.get_one(Dataset, subject.dataset_id)
        ),
        expression="ticked",
        expires_at=now() + days * DAY,
        at=now() - DAY,
        **more,
    )


@pytest.fixture
def subject(session: Session, vault: FakeVault, dataset: Dataset) -> Subject:
    return consent.create_subject(session, vault=vault, dataset=dataset, code="P-1")


def sweep(session: Session, days: float) -> dict[str, int]:
    at, total = now() + days * DAY, {"expired": 0, "erased": 0}
    for due in retention.find_due(session, at=at):
        for name, count in retention.close_due(session, due=due, at=at).items():
            total[name] += count
    session.flush()
    return total


def make_export(session: Session, face: Face, tier: str = "T1") -> Export:
    event = consent.allowed(session, subject=face.subject, purpose="store")
    assert event is not None
    export = Export(
        uid=tier, dataset_id=face.dataset_id, tier=tier, balance="none", seed=1, recipient="X"
    )
    export.sealed_blob = "blob"
    session.add(export)
    session.flush()
    item = {"split": "train", "file": "a.png", "consent_event_id": event.id}
    session.add(
        ExportItem(export_id=export.id, face_id=face.id, subject_id=face.subject_id, **item)
    )
    session.flush()
    return export


def test_nothing_is_due_while_consent_lasts(session: Session, subject: Subject) -> None:
    agree(session, subject, 5)
    assert sweep(session, 4.9) == {"expired": 0, "erased": 0}


def test_an_end_is_written_down_at_its_own_moment_and_only_once(
    session: Session, subject: Subject
) -> None:
    agree(session, subject, 5, "store", "label", "train")
    agree(session, subject, 400, "store")
    assert sweep(session, 6) == {"expired": 2, "erased": 0}
    ended = [event for event in subject.events if event.kind == "expired"]
    assert {event.purpose for event in ended} == {"label", "train"}
    given = next(event for event in subject.events if event.purpose == "label")
    assert ended[0].at == given.expires_at
    assert sweep(session, 6) == {"expired": 0, "erased": 0}
    entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "consent.expired")).one()
    assert entry.actor == "worker"


def test_an_ended_purpose_closes_what_rests_on_it(
    session: Session, subject: Subject, vault: FakeVault, dataset: Dataset
) -> None:
    agree(session, subject, 400, "store")
    agree(session, subject, 5, "label", "prelabel", "export_pseudonymised")
    task = make_open_task(session, vault, dataset, subject)
    face = session.get_one(Face, task.face_id)
    make_prediction(session, vault, face, make_model(session))
    export, kept = make_export(session, face), make_export(session, face, "T2")
    lent = labelling.lease_tasks(session, dataset=dataset, user=make_user(session, "admin"), n=1)
    assert lent
    assert sweep(session, 6)["expired"] == 3
    assert session.scalars(select(Prediction)).all() == []
    assert session.scalars(select(Lease)).all() == []
    assert export.withdrawn_at is not None
    assert export.sealed_blob is None
    assert kept.withdrawn_at is None
    assert subject.withdrawn_at is None
    assert session.scalars(select(Face)).one() is face


def test_the_end_of_keeping_stops_use_and_erases_after_the_days_of_grace(
    session: Session, subject: Subject, vault: FakeVault
) -> None:
    agree(session, subject, 5)
    face = make_face(session, vault, subject)
    make_prediction(session, vault, face, make_model(session))
    assert sweep(session, 6) == {"expired": len(PURPOSES), "erased": 0}
    assert session.scalars(select(Prediction)).all() == []
    assert subject.wrapped_key is not None
    assert sweep(session, 14.9) == {"expired": 0, "erased": 0}
    assert sweep(session, 15.1) == {"expired": 0, "erased": 1}
    assert subject.wrapped_key is None
    assert session.scalars(select(Image)).all() == []
    assert {event.kind for event in subject.events} == {"given", "expired"}
    assert session.scalars(select(Job.kind)).all() == ["erase", "erase"]  # use, then everything
    entry = session.scalars(
        select(AuditEntry).where(AuditEntry.action == "retention.reached")
    ).one()
    assert entry.details["why"] == "grace"


def test_a_late_first_sweep_erases_at_once(session: Session, subject: Subject) -> None:
    agree(session, subject, 5)
    assert sweep(session, 100) == {"expired": len(PURPOSES), "erased": 1}


def test_a_renewal_in_the_days_of_grace_keeps_everything(
    session: Session, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    agree(session, subject, 5)
    sweep(session, 6)
    later = now() + 7 * DAY
    monkeypatch.setattr("annotator.domain.consent.events.now", lambda: later)
    consent.record_consent(
        session,
        subject=subject,
        purposes=["store"],
        notice=subject.events[0].notice,
        expression="ticked",
        expires_at=later + 300 * DAY,
    )
    assert sweep(session, 100) == {"expired": 0, "erased": 0}
    assert consent.allowed(session, subject=subject, purpose="store", at=later + DAY) is not None


def test_a_guardians_word_ends_when_the_minor_grows_up(
    session: Session, vault: FakeVault, dataset: Dataset
) -> None:
    minor = consent.create_subject(
        session, vault=vault, dataset=dataset, code="M-1", majority_at=now() + 20 * DAY
    )
    said = consent.Statement(party="guardian", assent="given")
    agree(session, minor, 300, "store", "train", statement=said)
    (ending,) = retention.list_endings(session, dataset=dataset, days=30)
    assert (ending.subject, ending.why, set(ending.ends)) == (minor, "majority", {"store", "train"})
    assert sweep(session, 19) == {"expired": 0, "erased": 0}
    assert sweep(session, 21) == {"expired": 2, "erased": 0}
    assert sweep(session, 31) == {"expired": 0, "erased": 1}


@pytest.mark.parametrize(("limit", "erased"), [(None, 0), (100, 0), (40, 1)])
def test_pictures_go_at_the_datasets_limit(
    session: Session,
    subject: Subject,
    vault: FakeVault,
    dataset: Dataset,
    *,
    limit: int | None,
    erased: int,
) -> None:
    dataset.retention_days = limit
    agree(session, subject, 900)
    make_face(session, vault, subject)
    assert sweep(session, 50)["erased"] == erased
    assert (subject.withdrawn_at is not None) == bool(erased)


def test_what_ends_soon_is_listed_soonest_first(
    session: Session, subject: Subject, vault: FakeVault, dataset: Dataset
) -> None:
    other = consent.create_subject(session, vault=vault, dataset=dataset, code="P-2")
    agree(session, subject, 60)
    agree(session, other, 20, "store")
    found = retention.list_endings(session, dataset=dataset)
    assert [(ending.subject.code, ending.why) for ending in found] == [
        ("P-2", "expiry"),
        ("P-1", "expiry"),
    ]
    soon = retention.list_endings(session, dataset=dataset, days=30)
    assert [ending.subject.code for ending in soon] == ["P-2"]
    assert retention.list_endings(session, dataset=dataset, at=now() + 70 * DAY) == []


def test_what_was_said_between_finding_and_closing_counts(
    session: Session, subject: Subject
) -> None:
    agree(session, subject, 5)
    at = now() + 6 * DAY
    (due,) = retention.find_due(session, at=at)
    agree(session, subject, 300)
    assert retention.close_due(session, due=due, at=at) == {"expired": 0, "erased": 0}


def test_the_job_sweeps_everybody_and_twice_is_once(
    session: Session, subject: Subject, work: FakeWork
) -> None:
    agree(session, subject, 5)
    session.query(type(subject.events[0])).update({"expires_at": now() - DAY / 2})
    session.commit()
    assert retention.sweep_consents(work) == {"expired": len(PURPOSES), "erased": 0}
    assert retention.sweep_consents(work) == {"expired": 0, "erased": 0}


def test_a_sweep_is_planned_once_a_day(session: Session) -> None:
    session.add(Installation(install="test", context="research"))
    session.commit()
    assert retention.start_daily_sweep(session) is not None
    assert retention.start_daily_sweep(session) is None
    assert retention.start_daily_sweep(session, at=now() + 1.01 * DAY) is not None
