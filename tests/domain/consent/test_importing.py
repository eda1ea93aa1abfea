"""A record goes from one installation to another: the gate answers the same in both."""

import copy
import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.core.db import Base, now, open_engine
from annotator.core.errors import Conflict, InvalidInput
from annotator.domain import consent, erasure
from annotator.models import PURPOSES, Dataset, Notice, Subject
from tests.factories import make_dataset
from tests.fakes import FakeVault


class Elsewhere(FakeVault):
    """The vault of a second installation: it knows nothing of the first one's keys."""

    install = "elsewhere"


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Session]:
    """The second installation, which told its own people something else."""
    engine = open_engine(f"sqlite:///{tmp_path / 'there.sqlite'}")
    Base.metadata.create_all(engine)
    with Session(engine, expire_on_commit=False) as session:
        make_dataset(session, name="There")
        session.commit()
        yield session
    engine.dispose()


@pytest.fixture
def other() -> Elsewhere:
    return Elsewhere()


@pytest.fixture
def target(there: Session) -> Dataset:
    return there.scalars(select(Dataset)).one()


@pytest.fixture
def dataset(session: Session) -> Dataset:
    dataset = make_dataset(session)
    facts = consent.fill_notice(organisation="Clinic", contact="p@example.org", years=3)
    consent.publish_notice(session, dataset=dataset, texts={"en": facts})
    return dataset


START = dt.timedelta(days=200)  # how long ago the histories begin


def say(
    session: Session,
    vault: FakeVault,
    subject: Subject,
    dataset: Dataset,
    *purposes: str,
    **how: Any,
) -> None:
    at = how.pop("at", now() - START)
    consent.record_consent(
        session,
        subject=subject,
        purposes=purposes,
        notice=consent.current_notice(session, dataset=dataset),
        expression="paper",
        at=at,
        expires_at=how.pop("until", at + dt.timedelta(days=400)),
        statement=consent.Statement(name="Any Name", locale="en", **how),
        vault=vault,
    )


def plain(session: Session, vault: FakeVault, dataset: Dataset) -> Subject:
    subject = consent.create_subject(
        session, vault=vault, dataset=dataset, code="P-1", name="Any Person"
    )
    say(session, vault, subject, dataset, *PURPOSES)
    return subject


def changed_their_mind(session: Session, vault: FakeVault, dataset: Dataset) -> Subject:
    subject = plain(session, vault, dataset)
    consent.withdraw_purposes(session, subject=subject, purposes=["train", "label"])
    say(session, vault, subject, dataset, "label", at=now())
    return subject


def ended(session: Session, vault: FakeVault, dataset: Dataset) -> Subject:
    subject = plain(session, vault, dataset)
    soon = now() - START + dt.timedelta(days=20)
    say(session, vault, subject, dataset, "prelabel", at=now() - START, until=soon)
    consent.expire_purposes(session, subject=subject, ended={"prelabel": soon})
    return subject


def minor(session: Session, vault: FakeVault, dataset: Dataset) -> Subject:
    subject = consent.create_subject(
        session,
        vault=vault,
        dataset=dataset,
        code="P-1",
        majority_at=now() + dt.timedelta(days=30),
        guardian_name="Any Guardian",
    )
    say(session, vault, subject, dataset, "store", "train", party="guardian", assent="given")
    return subject


def asked_anew(session: Session, vault: FakeVault, dataset: Dataset) -> Subject:
    """A later notice outdates two purposes; the person renewed one of them."""
    subject = plain(session, vault, dataset)
    facts = consent.fill_notice(organisation="Another", contact="p@example.org", years=3)
    consent.publish_notice(session, dataset=dataset, texts={"en": facts}, renew=["train", "label"])
    say(session, vault, subject, dataset, "label", at=now())
    return subject


HISTORIES = (plain, changed_their_mind, ended, minor, asked_anew)


def describe(session: Session, vault: FakeVault, subject: Subject) -> dict[str, Any]:
    session.flush()
    session.expire_all()
    told = consent.describe_record(session, vault=vault, subject=subject)
    again: dict[str, Any] = json.loads(json.dumps(told))
    return again


def answers(session: Session, subject: Subject) -> dict[tuple[str, int], bool]:
    """What the gate says about every purpose, at moments before, between and after."""
    days = (-250, -199, -185, -170, -1, 1, 29, 31, 150, 250)
    return {
        (purpose, day): consent.allowed(
            session, subject=subject, purpose=purpose, at=now() + dt.timedelta(days=day)
        )
        is not None
        for purpose in PURPOSES
        for day in days
    }


@pytest.mark.parametrize("history", HISTORIES)
def test_the_gate_answers_the_same_in_both_installations(  # noqa: PLR0917 - fixtures
    session: Session,
    vault: FakeVault,
    dataset: Dataset,
    there: Session,
    other: Elsewhere,
    target: Dataset,
    history: Callable[[Session, FakeVault, Dataset], Subject],
) -> None:
    subject = history(session, vault, dataset)
    record = describe(session, vault, subject)
    moved = consent.import_record(there, vault=other, dataset=target, document=record)
    there.commit()
    here, elsewhere = answers(session, subject), answers(there, moved)
    assert {place for place in here if here[place] != elsewhere[place]} == set()
    assert any(here.values())
    assert not all(here.values())
    assert moved.code == "P-1"
    assert {event.expression for event in moved.events} <= {"imported", None}
    # And once more: what the second one writes is the same record, told by another controller.
    again = describe(there, other, moved)
    before, after = consent.read_record(record), consent.read_record(again)
    told = {(e.purpose, e.kind, e.at, e.expires_at, e.party, e.assent, e.notice) for e in before}
    assert told <= {
        (e.purpose, e.kind, e.at, e.expires_at, e.party, e.assent, e.notice) for e in after
    }
    assert again["dct:identifier"] == record["dct:identifier"]


def test_names_arrive_sealed_under_a_key_of_their_own(  # noqa: PLR0917 - fixtures
    session: Session,
    vault: FakeVault,
    dataset: Dataset,
    there: Session,
    other: Elsewhere,
    target: Dataset,
) -> None:
    subject = plain(session, vault, dataset)
    record = describe(session, vault, subject)
    moved = consent.import_record(there, vault=other, dataset=target, document=record, code="X-9")
    assert moved.code == "X-9"
    assert moved.wrapped_key != subject.wrapped_key
    assert consent.open_contact(there, vault=other, subject=moved, by=1)[0] == "Any Person"


def test_a_foreign_notice_is_kept_and_never_in_force(  # noqa: PLR0917 - fixtures
    session: Session,
    vault: FakeVault,
    dataset: Dataset,
    there: Session,
    other: Elsewhere,
    target: Dataset,
) -> None:
    before = consent.current_notice(there, dataset=target)
    record = describe(session, vault, plain(session, vault, dataset))
    moved = consent.import_record(there, vault=other, dataset=target, document=record)
    (digest,) = {event.notice.digest for event in moved.events if event.notice}
    kept = there.scalars(select(Notice).where(Notice.digest == digest)).one()
    assert (kept.version, kept.text) == (0, record["dpv:hasNotice"][0]["dct:description"])
    assert consent.current_notice(there, dataset=target) is before
    assert kept not in consent.list_notices(there, dataset=target)
    fresh = consent.create_notice(there, dataset=target, text="We changed something.")
    assert fresh.version == before.version + 1
    # Whoever is asked anew here is asked anew under a foreign text as well.
    facts = consent.fill_notice(organisation="There", contact="t@example.org", years=1)
    consent.publish_notice(there, dataset=target, texts={"en": facts}, renew=["train"])
    assert consent.allowed(there, subject=moved, purpose="train") is None
    assert consent.allowed(there, subject=moved, purpose="label") is not None


def test_the_same_text_here_is_the_same_notice(  # noqa: PLR0917 - fixtures
    session: Session,
    vault: FakeVault,
    dataset: Dataset,
    there: Session,
    other: Elsewhere,
    target: Dataset,
) -> None:
    record = describe(session, vault, plain(session, vault, dataset))
    text = record["dpv:hasNotice"][0]["dct:description"]
    known = consent.create_notice(there, dataset=target, text=text)
    moved = consent.import_record(there, vault=other, dataset=target, document=record)
    assert {event.notice_id for event in moved.events} == {known.id}


def in_the_future(record: dict[str, Any]) -> None:
    record["dpv:hasConsentStatus"][0]["dpv:isIndicatedAtTime"] = (
        now() + dt.timedelta(days=1)
    ).isoformat()


def another_text(record: dict[str, Any]) -> None:
    record["dpv:hasNotice"][0]["dct:description"] += " And everything else."


def endless(record: dict[str, Any]) -> None:
    record["dpv:hasConsentStatus"][0]["dct:valid"] = (now() + dt.timedelta(days=9000)).isoformat()


def unknown_purpose(record: dict[str, Any]) -> None:
    record["dpv:hasConsentStatus"][0]["annotator:purpose"] = "sell"


def untold_purpose(record: dict[str, Any]) -> None:
    record["dpv:hasNotice"][0]["annotator:purposes"] = ["store"]


def nothing_said(record: dict[str, Any]) -> None:
    record["dpv:hasConsentStatus"] = []


def nobody(record: dict[str, Any]) -> None:
    record["dct:identifier"] = "urn:uuid:somebody"


def a_minor_without_a_day(record: dict[str, Any]) -> None:
    record["dpv:hasDataSubject"]["@type"] = ["dpv:DataSubject", "dpv:Child"]


def no_record(record: dict[str, Any]) -> None:
    record["dct:conformsTo"] = "https://example.org/another"


def without_notice(record: dict[str, Any]) -> None:
    del record["dpv:hasConsentStatus"][0]["dpv:hasNotice"]


DAMAGES: dict[Callable[[dict[str, Any]], None], str] = {
    in_the_future: "in the future",
    another_text: "not the text",
    endless: "within 10 years",
    unknown_purpose: "cannot be read",
    untold_purpose: "does not tell of what was agreed",
    nothing_said: "tells of no consent",
    nobody: "whom it is about",
    a_minor_without_a_day: "of a minor",
    no_record: "no consent record",
    without_notice: "lacks its notice",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_such_record_is_refused_and_nothing_is_kept(  # noqa: PLR0917 - fixtures
    session: Session,
    vault: FakeVault,
    dataset: Dataset,
    there: Session,
    other: Elsewhere,
    target: Dataset,
    damage: Callable[[dict[str, Any]], None],
) -> None:
    record = describe(session, vault, plain(session, vault, dataset))
    damaged = copy.deepcopy(record)
    damage(damaged)
    with pytest.raises(InvalidInput, match=DAMAGES[damage]):
        consent.import_record(there, vault=other, dataset=target, document=damaged)
    there.rollback()
    assert there.scalar(select(func.count(Subject.id))) == 0
    consent.import_record(there, vault=other, dataset=target, document=record)


def test_a_withdrawn_person_a_second_time_and_a_taken_code_are_refused(  # noqa: PLR0917 - fixtures
    session: Session,
    vault: FakeVault,
    dataset: Dataset,
    there: Session,
    other: Elsewhere,
    target: Dataset,
) -> None:
    subject = plain(session, vault, dataset)
    record = describe(session, vault, subject)
    moved = consent.import_record(there, vault=other, dataset=target, document=record)
    with pytest.raises(Conflict, match="here already: it is the person 'P-1'"):
        consent.import_record(there, vault=other, dataset=target, document=record, code="new")
    stranger = copy.deepcopy(record)
    uid = hashlib.sha256(b"stranger").hexdigest()[:32]
    stranger["dct:identifier"] = f"urn:uuid:{uid}"
    with pytest.raises(Conflict, match="a person 'P-1'"):
        consent.import_record(there, vault=other, dataset=target, document=stranger)
    erasure.withdraw_subject(there, subject=moved, by=None)
    with pytest.raises(Conflict, match="withdrew everything here"):
        consent.import_record(there, vault=other, dataset=target, document=record, code="back")
    erasure.withdraw_subject(session, subject=subject, by=None)
    gone = describe(session, vault, subject)
    with pytest.raises(Conflict, match="gives no right to anything"):
        consent.import_record(there, vault=other, dataset=target, document=gone)
