"""Links are made by colleagues, shown once, listed without secrets, and ended."""

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.domain import consent, erasure
from annotator.models import Dataset, Invitation, Subject
from annotator.web.own import draw_code
from tests.factories import make_subject

SignIn = Callable[[str], FlaskClient]


@pytest.fixture
def dataset(toolbox: Toolbox, make_dataset: Callable[..., Dataset]) -> Dataset:
    dataset = make_dataset("curator")
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
    return dataset


def address_in(page: str) -> str:
    found = re.search(r'<p class="address">http://localhost(/[^<]+)</p>', page)
    assert found is not None, page
    return found[1].replace("&amp;", "&")


def test_somebody_new_is_invited_and_the_link_is_shown_once(
    sign_in: SignIn, client: FlaskClient, dataset: Dataset, session: Session
) -> None:
    curator = sign_in("curator")
    assert "Invite them instead" in curator.get(f"/datasets/{dataset.id}/people/new").text
    where = f"/datasets/{dataset.id}/people/invite"
    assert "Make the link" in curator.get(where).text
    made = curator.post(where, data={"code": "P-7", "days": "3", "language": "de"})
    assert made.status_code == 201
    assert made.headers["Referrer-Policy"] == "no-referrer"
    assert '<svg role="img"' in made.text
    address = address_in(made.text)
    assert "no telephone can open it" in made.text  # it begins with localhost
    assert "lang=de" in address
    assert "Dürfen wir Bilder von Ihrem Gesicht haben?" in made.text
    assert "Show it, print it or send it now" in made.text  # the colleague reads English
    assert "Dürfen wir Bilder" in client.get(address).text
    person = session.query(Subject).one()
    assert (person.code, consent.given_purposes(session, subject=person)) == ("P-7", {})
    listed = curator.get(f"/subjects/{person.id}/links").text
    secret = address.split("/")[2].split("?")[0]
    assert "works" in listed
    assert secret not in listed
    taken = curator.post(where, data={"code": "P-7", "days": "3", "language": "en"})
    assert (taken.status_code, "already" in taken.text) == (409, True)
    odd = curator.post(where, data={"code": "P-8", "days": "400", "language": "en"})
    assert (odd.status_code, "1 to 90 days" in odd.text) == (422, True)


def test_nobody_is_invited_before_there_is_a_notice(
    sign_in: SignIn, make_dataset: Callable[..., Dataset], session: Session
) -> None:
    silent = make_dataset("curator", name="Silent")
    curator, where = sign_in("curator"), f"/datasets/{silent.id}/people/invite"
    for answer in (
        curator.get(where),
        curator.post(where, data={"code": "P-7", "days": "3", "language": "en"}),
    ):
        assert "Write the notice" in answer.text
        assert "Make the link" not in answer.text
    assert answer.status_code == 409
    assert session.query(Subject).all() == []


def test_a_lost_page_gets_a_new_address_and_a_link_is_ended(
    sign_in: SignIn, client: FlaskClient, dataset: Dataset, toolbox: Toolbox, session: Session
) -> None:
    with toolbox.transaction() as writing:
        subject = make_subject(writing, toolbox.vault, dataset, code="P-1")
    curator, links = sign_in("curator"), f"/subjects/{subject.id}/links"
    assert links in curator.get(f"/subjects/{subject.id}").text
    form = {"kind": "own", "days": "14", "language": "en"}
    first = address_in(curator.post(links, data=form).text)
    second = address_in(curator.post(links, data=form).text)
    assert client.get(first).status_code == 404
    assert client.get(second).status_code == 200
    number = session.query(Invitation.id).order_by(Invitation.id.desc()).first()
    assert number is not None
    assert curator.post(f"/links/{number[0]}/revoke").status_code == 303
    assert client.get(second).status_code == 404
    assert "ended" in curator.get(links).text
    wrong = curator.post(links, data={**form, "days": ""})
    assert wrong.status_code == 422


def test_nobody_who_withdrew_is_asked_again(
    sign_in: SignIn, dataset: Dataset, toolbox: Toolbox
) -> None:
    with toolbox.transaction() as session:
        subject = make_subject(session, toolbox.vault, dataset)
        erasure.withdraw_subject(session, subject=subject, by=None)
    curator, links = sign_in("curator"), f"/subjects/{subject.id}/links"
    assert "Ask for consent" not in curator.get(links).text
    answer = curator.post(links, data={"kind": "consent", "days": "3", "language": "en"})
    assert answer.status_code == 409


def test_links_of_foreign_datasets_do_not_exist(
    sign_in: SignIn, toolbox: Toolbox, make_dataset: Callable[..., Dataset]
) -> None:
    other = make_dataset(name="Other")
    with toolbox.transaction() as session:
        subject = consent.create_subject(session, vault=toolbox.vault, dataset=other)
    curator = sign_in("curator")
    assert curator.get(f"/subjects/{subject.id}/links").status_code == 404
    without_notice = sign_in("admin").post(
        f"/datasets/{other.id}/people/invite", data={"code": "", "days": "3", "language": "en"}
    )
    assert without_notice.status_code == 409


def test_the_code_is_plain_svg_that_says_what_it_is() -> None:
    drawn = str(draw_code("https://faces.example/me/" + "a" * 43))
    assert drawn.startswith('<svg role="img" aria-label="QR"')
    assert "style" not in drawn
    assert "<script" not in drawn
