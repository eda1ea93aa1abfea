import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.domain import consent
from annotator.models import AuditEntry, ConsentEvent, Dataset, Subject
from tests.factories import make_subject
from tests.web.conftest import PASSWORD

SignIn = Callable[[str], FlaskClient]
MakeDataset = Callable[..., Dataset]
NEW: dict[str, Any] = {
    "code": "P-001",
    "name": "Somebody",
    "contact": "somebody@example.org",
    "group": "",
    "purposes": ["store", "train"],
    "expression": "paper",
    "expires": "2029-11-23",
}
HEADER = "code,name,contact,group,purposes,expression,expires,at\n"


@pytest.fixture
def dataset(make_dataset: MakeDataset, toolbox: Toolbox) -> Dataset:
    dataset = make_dataset("curator")
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
    return dataset


@pytest.fixture
def curator(sign_in: SignIn, dataset: Dataset) -> FlaskClient:
    return sign_in("curator")


def look(session: Session) -> list[Subject]:
    session.rollback()
    session.expire_all()
    return list(session.scalars(select(Subject).order_by(Subject.id)))


def test_nothing_is_ticked_beforehand_and_the_notice_is_shown(
    curator: FlaskClient, dataset: Dataset
) -> None:
    text = curator.get(f"/datasets/{dataset.id}/people/new").text
    ticked = re.findall(r"<input[^>]*checked[^>]*>", text)
    assert [each for each in ticked if 'name="party"' not in each and 'value=""' not in each] == []
    assert "We keep pictures of you." in text


def test_a_person_and_their_consent_are_recorded_in_one_form(
    curator: FlaskClient, dataset: Dataset, session: Session
) -> None:
    answer = curator.post(f"/datasets/{dataset.id}/people", data=NEW, follow_redirects=True)
    assert answer.status_code == 200
    (subject,) = look(session)
    assert set(consent.given_purposes(session, subject=subject)) == {"store", "train"}
    assert "On signed paper" in answer.text
    assert "23 November 2029" in answer.text
    assert "Somebody" not in answer.text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"purposes": []}, "Tick at least one"),
        ({"expression": ""}, "Please say how"),
        ({"expires": "soon"}, "Not a valid date value."),
        ({"expires": "2020-01-01"}, "Consent must end after it begins"),
        ({"expires": "2099-01-01"}, "within 10 years"),
        ({"code": "x" * 81}, "80"),
    ],
)
def test_a_refused_consent_records_nobody(
    curator: FlaskClient, dataset: Dataset, session: Session, change: dict[str, Any], sentence: str
) -> None:
    answer = curator.post(f"/datasets/{dataset.id}/people", data={**NEW, **change})
    assert answer.status_code == 422
    assert sentence in answer.text
    assert look(session) == []


def test_a_code_that_is_taken_is_refused(curator: FlaskClient, dataset: Dataset) -> None:
    curator.post(f"/datasets/{dataset.id}/people", data=NEW)
    answer = curator.post(f"/datasets/{dataset.id}/people", data=NEW)
    assert answer.status_code == 409
    assert "There is a person &#39;P-001&#39; in this dataset already." in answer.text


def test_the_name_is_opened_by_a_click_that_the_log_keeps(
    curator: FlaskClient, dataset: Dataset, session: Session
) -> None:
    curator.post(f"/datasets/{dataset.id}/people", data=NEW)
    (subject,) = look(session)
    answer = curator.post(f"/subjects/{subject.id}/contact")
    assert "Somebody" in answer.text
    assert "somebody@example.org" in answer.text
    session.rollback()
    kept = select(AuditEntry).where(AuditEntry.action == "subject.contact_opened")
    entry = session.scalars(kept).one()
    assert entry.details == {}
    assert entry.subject is not None


def test_one_purpose_is_withdrawn_and_given_again(
    curator: FlaskClient, dataset: Dataset, session: Session
) -> None:
    curator.post(f"/datasets/{dataset.id}/people", data=NEW)
    (subject,) = look(session)
    address = f"/subjects/{subject.id}/consents"
    assert (
        f"/subjects/{subject.id}/withdrawal?purpose=train"
        in curator.get(f"/subjects/{subject.id}").text
    )
    taken = {"purpose": "train", "password": PASSWORD}
    assert curator.post(f"/subjects/{subject.id}/withdrawal", data=taken).status_code == 303
    assert _given(session) == {"store"}
    more = {"purposes": ["train", "label"], "expression": "verbal", "expires": "2028-01-01"}
    assert curator.post(address, data=more).status_code == 303
    assert _given(session) == {"store", "train", "label"}
    kinds = session.scalars(select(ConsentEvent.kind).where(ConsentEvent.purpose == "train"))
    assert list(kinds) == ["given", "withdrawn", "given"]


def test_people_of_other_datasets_are_not_there(
    curator: FlaskClient, make_dataset: MakeDataset, toolbox: Toolbox
) -> None:
    other = make_dataset(name="Not yours")
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=other, text="We keep pictures.")
        subject = make_subject(session, toolbox.vault, other)
    for method, address in (
        ("GET", f"/subjects/{subject.id}"),
        ("POST", f"/subjects/{subject.id}/contact"),
        ("GET", f"/datasets/{other.id}/people"),
        ("GET", f"/datasets/{other.id}/people/codes"),
    ):
        assert curator.open(address, method=method).status_code == 404, address


def test_the_list_searches_and_turns_pages(
    curator: FlaskClient, dataset: Dataset, toolbox: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotator.web.subjects.PAGE", 2)
    with toolbox.transaction() as session:
        for code in ("A-1", "A-2", "B_1", "Bx1"):
            make_subject(session, toolbox.vault, dataset, ["store"], code=code)
    address = f"/datasets/{dataset.id}/people"
    first = curator.get(address).text
    assert "A-2" in first
    assert "B_1" not in first
    assert "B_1" in curator.get(f"{address}?after=2").text
    found = curator.get(f"{address}?text=B_").text
    assert "B_1" in found
    assert "Bx1" not in found
    assert "Nobody found" in curator.get(f"{address}?text=%25").text
    assert curator.get(f"{address}/codes?text=a-").json == {"codes": ["A-1", "A-2"]}


def test_a_table_is_tried_before_it_is_recorded(
    curator: FlaskClient, dataset: Dataset, session: Session
) -> None:
    table = (
        HEADER + "P-1,,,,store train,paper,2029-01-01,2026-01-01\nP-2,,,,store,paper,2029-01-01,\n"
    )
    tried = _send(curator, dataset, table)
    assert tried.status_code == 200
    assert "Every line is good." in tried.text
    assert look(session) == []
    again = tried.text.split('name="again" value="')[1].split('"')[0]
    address = f"/datasets/{dataset.id}/people/import"
    assert curator.post(address, data={"again": again, "record": "yes"}).status_code == 303
    assert [subject.code for subject in look(session)] == ["P-1", "P-2"]


def test_refused_lines_are_listed_and_nothing_is_recorded(
    curator: FlaskClient, dataset: Dataset, session: Session
) -> None:
    table = HEADER + "P-1,,,,store,paper,2029-01-01,\nP-1,,,,store,paper,soon,\n"
    answer = _send(curator, dataset, table, record="yes")
    assert answer.status_code == 422
    assert "&#39;soon&#39; in &#39;expires&#39; is not a date" in answer.text
    assert look(session) == []


@pytest.mark.parametrize("again", ["***", ""])
def test_a_table_that_is_not_there_is_asked_for(
    curator: FlaskClient, dataset: Dataset, again: str
) -> None:
    answer = curator.post(f"/datasets/{dataset.id}/people/import", data={"again": again})
    assert answer.status_code == 422
    assert "Please choose" in answer.text


def _send(curator: FlaskClient, dataset: Dataset, table: str, **fields: str) -> Any:
    data = {"table": (io.BytesIO(table.encode()), "people.csv"), **fields}
    return curator.post(f"/datasets/{dataset.id}/people/import", data=data)


def _given(session: Session) -> set[str]:
    (subject,) = look(session)
    return set(consent.given_purposes(session, subject=subject))


PDF = b"%PDF-1.7 signed"


def _send_paper(client: FlaskClient, address: str, **changes: Any) -> Any:
    data = {**NEW, "signed_name": "Ada Signed", "scan": (io.BytesIO(PDF), "a.pdf"), **changes}
    return client.post(address, data=data)


def test_the_signed_paper_is_sealed_and_opened_by_admins_only(
    curator: FlaskClient,
    sign_in: SignIn,
    dataset: Dataset,
    session: Session,
    toolbox: Toolbox,
) -> None:
    assert _send_paper(curator, f"/datasets/{dataset.id}/people").status_code == 303
    (subject,) = look(session)
    statement = subject.events[0].statement
    assert statement is not None
    address = f"/subjects/{subject.id}/statements/{statement.id}"
    assert address not in curator.get(f"/subjects/{subject.id}").text
    assert curator.post(address).status_code == 403
    admin = sign_in("admin")
    assert address in admin.get(f"/subjects/{subject.id}").text
    opened = admin.post(address)
    assert "Ada Signed" in opened.text
    paper = admin.post(address, data={"scan": "yes"})
    assert paper.data == PDF
    assert paper.mimetype == "application/pdf"
    assert paper.headers["Content-Disposition"].startswith("attachment")
    session.rollback()
    kept = session.scalars(select(AuditEntry).where(AuditEntry.action == "evidence.opened")).all()
    assert len(kept) == 2
    assert "Signed" not in str([entry.details for entry in kept])
    assert admin.post(f"/subjects/{subject.id}/statements/4711").status_code == 404


def test_a_scan_that_is_none_is_refused_beside_its_field(
    curator: FlaskClient, dataset: Dataset, session: Session
) -> None:
    fake = (io.BytesIO(b"<script>alert(1)</script>"), "a.pdf")
    answer = _send_paper(curator, f"/datasets/{dataset.id}/people", scan=fake)
    assert answer.status_code == 422
    assert "no PDF, PNG or JPEG" in answer.text.split('id="scan-error"')[1]
    assert look(session) == []


def test_a_minor_needs_a_guardian_and_their_own_yes(
    curator: FlaskClient, dataset: Dataset, session: Session
) -> None:
    address = f"/datasets/{dataset.id}/people"
    minor = {**NEW, "majority": "2090-05-01", "guardian_name": "Any Parent"}
    alone = curator.post(address, data=minor)
    assert alone.status_code == 422
    assert "their guardian consents" in alone.text
    unasked = curator.post(address, data={**minor, "party": "guardian"})
    assert "Say what the minor said themselves" in unasked.text
    assert look(session) == []
    both = {**minor, "party": "guardian", "assent": "given"}
    assert curator.post(address, data=both).status_code == 303
    (subject,) = look(session)
    assert subject.majority_at is not None
    text = curator.get(f"/subjects/{subject.id}").text
    assert "Their guardian, for them" in text
    assert "The minor said yes too" in text
    assert "Any Parent" not in text
    assert "Any Parent" in curator.post(f"/subjects/{subject.id}/contact").text


def test_a_consent_of_a_minor_who_spoke_alone_ends_when_it_is_found_out(
    curator: FlaskClient, dataset: Dataset, session: Session
) -> None:
    curator.post(f"/datasets/{dataset.id}/people", data=NEW)
    (subject,) = look(session)
    answer = curator.post(f"/subjects/{subject.id}/guardian", data={"majority": "2090-05-01"})
    assert answer.status_code == 303
    assert _given(session) == set()


def test_the_record_is_taken_as_json_ld(
    curator: FlaskClient, dataset: Dataset, session: Session
) -> None:
    curator.post(f"/datasets/{dataset.id}/people", data=NEW)
    (subject,) = look(session)
    answer = curator.post(f"/subjects/{subject.id}/record")
    assert answer.mimetype == "application/ld+json"
    events = consent.read_record(answer.get_json(force=True))
    assert [(event.purpose, event.expression) for event in events] == [
        ("store", "paper"),
        ("train", "paper"),
    ]
