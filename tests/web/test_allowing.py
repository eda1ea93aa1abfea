"""A person takes a use back and gives it again, both by themselves."""

import datetime as dt
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.core.db import now
from annotator.domain import consent, invitations
from annotator.models import ConsentEvent, Dataset, Subject
from tests.factories import make_dataset, make_subject
from tests.web.conftest import Browser

NOTICE = re.compile(r'name="notice" value="(\d+)"')


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    app.test_client_class = Browser
    return app.test_client()


@pytest.fixture
def subject(app: Flask, toolbox: Toolbox) -> Subject:
    with toolbox.transaction() as session:
        subject = make_subject(session, toolbox.vault, make_dataset(session), ["store", "train"])
        consent.withdraw_purposes(session, subject=subject, purposes=["train"])
    return subject


@pytest.fixture
def me(toolbox: Toolbox, subject: Subject) -> str:
    with toolbox.transaction() as session:
        person = session.get_one(Subject, subject.id)
        made = invitations.create_invitation(
            session, vault=toolbox.vault, subject=person, kind="own"
        )
    return f"/me/{made[1]}"


def given(session: Session, subject: Subject) -> list[str]:
    session.rollback()
    return list(consent.given_purposes(session, subject=session.get_one(Subject, subject.id)))


def test_what_was_taken_back_is_given_again_under_the_notice_in_force(
    browser: FlaskClient, me: str, subject: Subject, toolbox: Toolbox, session: Session
) -> None:
    with toolbox.transaction() as own:
        dataset = own.scalars(select(Dataset)).one()
        newer = consent.create_notice(own, dataset=dataset, text="We changed this text.")
    page = browser.get(me).text
    assert page.count("Allow this again</a>") == 1
    assert page.count("Allow this</a>") == 5  # never given, and offered no less
    asked = browser.get(f"{me}/allow?purpose=train").text
    assert "We changed this text." in asked
    assert NOTICE.findall(asked) == [str(newer.id)]
    form = {"purpose": "train", "notice": newer.id, "agreed": "yes", "name": "Ada Stone"}
    done = browser.post(f"{me}/allow", data=form, follow_redirects=True)
    assert "It counts from this moment" in done.text
    again = browser.post(f"{me}/allow", data=form)  # sent twice, it is one yes
    assert (again.status_code, again.location) == (303, me)
    assert given(session, subject) == ["store", "train"]
    event = session.scalars(select(ConsentEvent).order_by(ConsentEvent.id.desc())).first()
    assert event is not None
    assert (event.kind, event.expression, event.notice_id) == ("given", "ticked", newer.id)
    assert event.statement is not None
    opened = consent.open_evidence(session, vault=toolbox.vault, statement=event.statement, by=1)
    assert opened.name == "Ada Stone"
    session.rollback()
    record = browser.get(f"{me}/receipt.json").json["record"]["dpv:hasConsentStatus"]
    told = [(one["annotator:purpose"], one["annotator:kind"]) for one in record]
    assert told[-1] == ("train", "given")


@pytest.mark.parametrize("lacks", ["notice", "agreed", "name"])
def test_what_is_missing_is_said_and_nothing_recorded(
    browser: FlaskClient, me: str, subject: Subject, session: Session, lacks: str
) -> None:
    (number,) = NOTICE.findall(browser.get(f"{me}/allow?purpose=train").text)
    form = {"purpose": "train", "notice": number, "agreed": "yes", "name": "Ada Stone"} | {
        lacks: ""
    }
    if lacks == "agreed":
        del form["agreed"]
    answer = browser.post(f"{me}/allow", data=form)
    assert answer.status_code == 422
    said = {"notice": "has changed meanwhile", "agreed": "tick the box", "name": "type your name"}
    assert said[lacks] in answer.text
    assert lacks == "name" or 'value="Ada Stone"' in answer.text
    assert given(session, subject) == ["store"]


def test_a_minor_is_told_who_decides(
    browser: FlaskClient, me: str, subject: Subject, toolbox: Toolbox, session: Session
) -> None:
    with toolbox.transaction() as own:
        person = own.get_one(Subject, subject.id)
        consent.set_guardian(
            own,
            vault=toolbox.vault,
            subject=person,
            majority_at=now() + dt.timedelta(days=9),
            name="Any Guardian",
        )
    page = browser.get(me).text
    assert "a parent or guardian decides with you" in page
    assert "Allow this" not in page
    assert browser.get(f"{me}/allow?purpose=train").status_code == 409
    form = {"purpose": "train", "notice": "1", "agreed": "yes", "name": "Ada Stone"}
    assert browser.post(f"{me}/allow", data=form).status_code == 409
    assert given(session, subject) == []


def test_nothing_is_offered_without_the_first_use(
    browser: FlaskClient, me: str, subject: Subject, toolbox: Toolbox, session: Session
) -> None:
    with toolbox.transaction() as own:
        person = own.get_one(Subject, subject.id)
        consent.expire_purposes(own, subject=person, ended={"store": now()})
    page = browser.get(me).text
    assert page.count("Allow this again</a>") == 1
    assert "purpose=store" in page
    assert browser.get(f"{me}/allow?purpose=train").status_code == 422
    assert browser.get(f"{me}/allow?purpose=sell").status_code == 422
    (number,) = NOTICE.findall(browser.get(f"{me}/allow?purpose=store").text)
    form = {"purpose": "store", "notice": number, "agreed": "yes", "name": "Ada Stone"}
    assert browser.post(f"{me}/allow", data=form).status_code == 303
    assert given(session, subject) == ["store"]


def test_in_german(browser: FlaskClient, me: str) -> None:
    page = browser.get(f"{me}?lang=de", follow_redirects=True).text
    assert "Wieder erlauben" in page
    assert (
        "Ja, das erlaube ich"
        in browser.get(f"{me}/allow?purpose=train&lang=de", follow_redirects=True).text
    )
