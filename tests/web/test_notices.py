import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.domain import consent
from annotator.models import PURPOSES, Dataset, Notice
from tests.factories import make_subject

SignIn = Callable[[str], FlaskClient]
MakeDataset = Callable[..., Dataset]
FACTS = consent.fill_notice(organisation="Clinic", contact="p@example.org", years=3)
NEW: dict[str, Any] = {
    "locale": ["en"],
    "purposes": list(PURPOSES),
    **{f"en-{name}": text for name, text in FACTS.as_dict().items()},
}


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    return make_dataset("curator")


def test_a_notice_is_written_and_read(sign_in: SignIn, dataset: Dataset, session: Session) -> None:
    curator = sign_in("curator")
    address = f"/datasets/{dataset.id}/notices"
    assert "No notice yet" in curator.get(address).text
    assert "{organisation, address}" in curator.get(f"{address}/new").text
    answer = curator.post(address, data=NEW, follow_redirects=True)
    assert "Version 1 of the notice is in force." in answer.text
    notice = session.scalars(select(Notice)).one()
    assert notice.text == consent.compose_text(FACTS, purposes=PURPOSES, locale="en")
    assert notice.digest in answer.text
    assert "Clinic" in curator.get(f"{address}/new").text
    again = curator.post(address, data=NEW)
    assert again.status_code == 422
    assert "nothing would change" in again.text


def test_each_missing_field_is_named_at_its_field_and_nothing_is_lost(
    sign_in: SignIn, dataset: Dataset, session: Session
) -> None:
    data = {**NEW, "en-contact": "", "en-rights": "", "en-complaint": "", "purposes": ["label"]}
    answer = sign_in("curator").post(f"/datasets/{dataset.id}/notices", data=data)
    assert answer.status_code == 422
    for name, article in (("contact", "13(1)(a)"), ("complaint", "13(2)(d)")):
        place = answer.text.split(f'id="en-{name}-error"')[1]
        assert article in place.split("</p>")[0]
    assert 'id="en-controller-error"' not in answer.text
    assert "Without keeping pictures nothing else can be" in answer.text
    assert FACTS.withdrawal in answer.text
    assert session.scalars(select(Notice)).all() == []


def test_the_preview_needs_no_script_and_writes_nothing(
    sign_in: SignIn, dataset: Dataset, session: Session
) -> None:
    data = {**NEW, "look": "yes", "en-about": "For <b>science</b>.", "en-contact": ""}
    answer = sign_in("curator").post(f"/datasets/{dataset.id}/notices", data=data)
    assert answer.status_code == 200
    preview = answer.text.split('data-part="preview"')[1]
    assert "For &lt;b&gt;science&lt;/b&gt;." in preview
    assert "Still missing" in preview
    assert session.scalars(select(Notice)).all() == []


def test_a_change_shows_what_changed_and_who_is_asked_anew(
    sign_in: SignIn, dataset: Dataset, toolbox: Toolbox
) -> None:
    curator, address = sign_in("curator"), f"/datasets/{dataset.id}/notices"
    curator.post(address, data=NEW)
    with toolbox.transaction() as session:
        make_subject(session, toolbox.vault, dataset, code="P-77")
    changed = {**NEW, "en-recipients": "The University of X."}
    looked = curator.post(address, data={**changed, "look": "yes"}).text
    assert "Everybody is asked anew about" in looked
    assert "<ins>The University of X.</ins>" in looked
    assert "<del>Nobody outside our organisation.</del>" in looked
    text = curator.post(address, data=changed, follow_redirects=True).text
    assert "P-77" in text
    assert "share pseudonymised" in text


def test_two_languages_are_one_version(sign_in: SignIn, dataset: Dataset, session: Session) -> None:
    curator, address = sign_in("curator"), f"/datasets/{dataset.id}/notices"
    assert "Wofür Ihre Bilder sind" in curator.get(f"{address}/new?locale=en&locale=de").text
    german = {f"de-{name}": text or "-" for name, text in FACTS.as_dict().items()}
    data = {**NEW, **german, "locale": ["en", "de"]}
    assert curator.post(address, data=data).status_code == 303
    rows = session.execute(select(Notice.version, Notice.locale).order_by(Notice.id)).all()
    assert [tuple(row) for row in rows] == [(1, "en"), (1, "de")]


def test_a_language_is_added_without_losing_what_is_typed(
    sign_in: SignIn, dataset: Dataset, session: Session
) -> None:
    curator, address = sign_in("curator"), f"/datasets/{dataset.id}/notices"
    asked = curator.get(f"{address}/new").text
    buttons = re.findall(r'<button[^>]*type="submit"[^>]*>', asked.split('data-part="form"')[1])
    assert 'name="look"' in buttons[0], "Enter must show the preview, not put it in force"
    added = curator.post(address, data={**NEW, "en-about": "For drawing.", "add": "de"})
    assert added.status_code == 200
    assert "For drawing.</textarea>" in added.text
    assert 'id="de-about"' in added.text
    assert consent.starter("de").about in added.text
    assert session.scalars(select(Notice)).all() == []


def test_an_annotator_writes_no_notice(sign_in: SignIn, make_dataset: MakeDataset) -> None:
    dataset = make_dataset("annotator", name="Another")
    answer = sign_in("annotator").get(f"/datasets/{dataset.id}/notices/new")
    assert answer.status_code == 403
