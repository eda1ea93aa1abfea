"""Consent by the person themselves, through the page that a link opens."""

import datetime as dt
import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.core.db import now
from annotator.domain import consent, invitations
from annotator.models import AuditEntry, ConsentEvent, Dataset, Subject
from annotator.web import joining
from tests.web.conftest import Browser

MINOR = {"age": "minor", "guardian": "Grace Grown", "agreed": "yes", "assent": "yes"}


@pytest.fixture
def subject(toolbox: Toolbox, make_dataset: Callable[..., Dataset]) -> Subject:
    dataset = make_dataset()
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
        german = "Wir behalten Bilder von Ihnen."
        consent.create_notice(session, dataset=dataset, text=german, locale="de")
        return consent.create_subject(session, vault=toolbox.vault, dataset=dataset, code="P-1")


@pytest.fixture
def secret(toolbox: Toolbox, subject: Subject) -> str:
    with toolbox.transaction() as session:
        person = session.get_one(Subject, subject.id)
        return invitations.create_invitation(session, vault=toolbox.vault, subject=person)[1]


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    app.test_client_class = Browser
    return app.test_client()


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None
    return found[1]


def fill(browser: FlaskClient, secret: str, **values: object) -> dict[str, object]:
    """The form as the page hands it out, filled in by an adult who agrees to keeping."""
    page = browser.get(f"/consent/{secret}").text
    ready = {"notice": field(page, "notice"), "nonce": field(page, "nonce")}
    said: dict[str, object] = {"purposes": ["store"], "name": "Ada Stone", "age": "adult"}
    return {**ready, **said, **values}


def test_nothing_is_ticked_beforehand_and_each_purpose_has_its_own_box(
    browser: FlaskClient, secret: str
) -> None:
    page = browser.get(f"/consent/{secret}").text
    assert "We keep pictures of you." in page
    assert len(re.findall('type="checkbox" id="purpose-', page)) == 7
    assert "checked" not in page


def test_a_yes_is_recorded_as_it_was_said(
    browser: FlaskClient, secret: str, subject: Subject, session: Session, toolbox: Toolbox
) -> None:
    form = fill(browser, secret, purposes=["store", "train"])
    answer = browser.post(f"/consent/{secret}", data=form)
    assert answer.status_code == 303
    assert re.fullmatch(r"/me/[\w-]{43}/keep", answer.location)
    person = session.get_one(Subject, subject.id)
    given = consent.given_purposes(session, subject=person)
    assert set(given) == {"store", "train"}
    assert given["store"].expression == "ticked"
    record = consent.describe_record(session, vault=toolbox.vault, subject=person)
    assert "Ada Stone" in str(record)
    entry = select(AuditEntry).where(AuditEntry.action == "consent.given")
    assert session.scalars(entry).one().actor == "subject"
    page = browser.get(answer.location).text
    assert "<svg" in page
    assert answer.location.removesuffix("/keep") in page


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"purposes": []}, "You ticked nothing"),
        ({"purposes": ["train"]}, "Without the first box"),
        ({"name": "  "}, "Please type your name"),
        ({"age": ""}, "Please choose one"),
        ({"age": "minor"}, "A parent or guardian must type their name"),
        ({**MINOR, "majority": "2001-01-01"}, "Please give the day on which you turn 18"),
        ({**MINOR, "assent": []}, "the day on which you turn 18"),
        ({"notice": "999"}, "The text has changed meanwhile"),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_lost(
    browser: FlaskClient,
    secret: str,
    session: Session,
    values: dict[str, object],
    words: str,
) -> None:
    form = fill(browser, secret, **{"purposes": ["store", "label"], "name": "Ada", **values})
    answer = browser.post(f"/consent/{secret}", data=form)
    assert answer.status_code == 422
    assert words in answer.text
    assert field(answer.text, "nonce") == form["nonce"]
    if "label" in form["purposes"]:  # type: ignore[operator]
        assert re.search(r'value="label" checked', answer.text)
    assert session.scalars(select(ConsentEvent)).all() == []


def test_a_minor_needs_a_guardian_and_their_own_yes(
    browser: FlaskClient, secret: str, subject: Subject, session: Session, toolbox: Toolbox
) -> None:
    turns = (now() + dt.timedelta(days=800)).date().isoformat()
    alone = fill(browser, secret, **{**MINOR, "majority": turns, "assent": []})
    answer = browser.post(f"/consent/{secret}", data=alone)
    assert "You must want it too" in answer.text
    together = fill(browser, secret, **{**MINOR, "majority": turns})
    assert browser.post(f"/consent/{secret}", data=together).status_code == 303
    person = session.get_one(Subject, subject.id)
    assert person.majority_at is not None
    assert person.majority_at.date().isoformat() == turns
    assert {event.party for event in person.events} == {"guardian"}
    assert "store" in consent.given_purposes(session, subject=person)
    record = str(consent.describe_record(session, vault=toolbox.vault, subject=person))
    assert "Grace Grown" in record


def test_somebody_known_as_a_minor_cannot_say_otherwise(
    browser: FlaskClient, secret: str, subject: Subject, toolbox: Toolbox
) -> None:
    with toolbox.transaction() as session:
        person = session.get_one(Subject, subject.id)
        later = now() + dt.timedelta(days=90)
        consent.set_guardian(session, vault=toolbox.vault, subject=person, majority_at=later)
    answer = browser.post(f"/consent/{secret}", data=fill(browser, secret))
    assert answer.status_code == 422
    assert "recorded as younger than 18" in answer.text


def test_the_question_works_once_and_a_lost_answer_is_found_again(
    browser: FlaskClient, secret: str, session: Session
) -> None:
    form = fill(browser, secret)
    first = browser.post(f"/consent/{secret}", data=form)
    again = browser.post(f"/consent/{secret}", data=form)
    assert (again.status_code, again.location) == (303, first.location)
    assert len(session.scalars(select(ConsentEvent)).all()) == 1
    assert browser.get(f"/consent/{secret}").status_code == 404
    other = browser.post(f"/consent/{secret}", data={**form, "nonce": "another"})
    assert other.status_code == 404


def test_a_form_that_was_open_for_too_long_comes_back_filled_in(
    browser: FlaskClient, secret: str, session: Session
) -> None:
    form = fill(browser, secret, purposes=["store", "label"])
    answer = browser.post(f"/consent/{secret}", data=form, headers={"X-CSRFToken": "old"})
    assert answer.status_code == 400
    assert "open for too long" in answer.text
    assert 'value="Ada Stone"' in answer.text
    assert re.search(r'value="label" checked', answer.text)
    assert session.scalars(select(ConsentEvent)).all() == []
    assert browser.post(f"/consent/{secret}", data=form).status_code == 303


def test_the_notice_is_in_the_language_of_the_reader(browser: FlaskClient, secret: str) -> None:
    page = browser.get(f"/consent/{secret}", headers={"Accept-Language": "de-AT,en;q=0.5"}).text
    assert "Wir behalten Bilder von Ihnen." in page
    assert 'lang="de"' in page
    assert "Dürfen wir Bilder von Ihrem Gesicht haben?" in page


def test_a_language_without_a_notice_says_so(
    browser: FlaskClient, toolbox: Toolbox, make_dataset: Callable[..., Dataset]
) -> None:
    dataset = make_dataset(name="Other")
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="Only in English.")
        person = consent.create_subject(session, vault=toolbox.vault, dataset=dataset)
        made = invitations.create_invitation(session, vault=toolbox.vault, subject=person)
    page = browser.get(f"/consent/{made[1]}?lang=de").text
    assert '<div class="told" lang="en"' in page
    assert "Diesen Text gibt es noch nicht in Ihrer Sprache" in page


def test_a_consent_on_a_leap_day_ends_three_years_later(monkeypatch: pytest.MonkeyPatch) -> None:
    leap = dt.datetime(2028, 2, 29, 15, 30, tzinfo=dt.UTC)
    monkeypatch.setattr(joining, "now", lambda: leap)
    assert joining.end_of_consent() == dt.datetime(2031, 2, 28, tzinfo=dt.UTC)
