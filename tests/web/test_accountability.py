from collections.abc import Callable

from flask.testing import FlaskClient

from annotator.bootstrap import Toolbox
from annotator.domain import consent
from annotator.models import Dataset
from tests.factories import make_model, make_subject

SignIn = Callable[[str], FlaskClient]
MakeDataset = Callable[..., Dataset]
PAGES = ("/accountability/processing", "/accountability/impact")
FACTS = consent.fill_notice(organisation="Clinic & Sons", contact="p@example.org", years=3)


def test_the_documents_are_for_admins(sign_in: SignIn) -> None:
    curator = sign_in("curator")
    for address in (*PAGES, "/accountability/processing.json"):
        assert curator.get(address).status_code == 403
    assert "Records" not in curator.get("/").text


def test_they_can_be_read_when_nothing_is_here(sign_in: SignIn) -> None:
    admin = sign_in("admin")
    for address in PAGES:
        assert admin.get(address).status_code == 200
    assert "Nothing to record" in admin.get("/accountability", follow_redirects=True).text


def test_they_tell_the_figures_of_this_installation(
    sign_in: SignIn, make_dataset: MakeDataset, toolbox: Toolbox
) -> None:
    dataset = make_dataset()
    with toolbox.transaction() as session:
        consent.publish_notice(session, dataset=dataset, texts={"en": FACTS})
        make_subject(session, toolbox.vault, dataset, ["store"], code="P-77")
        make_model(session)
    admin = sign_in("admin")
    record = admin.get("/accountability/processing").text
    assert "Clinic &amp; Sons" in record
    assert "1 in the pictures, 0 of them minors" in record
    assert "P-77" not in record
    impact = admin.get("/accountability/impact").text
    assert "Article 50(3)" in impact
    found = admin.get("/accountability/processing.json").json
    assert found["activities"][0]["people"]["present"] == 1


def test_a_notice_that_was_brought_as_a_text_is_said(
    sign_in: SignIn, make_dataset: MakeDataset, toolbox: Toolbox
) -> None:
    dataset = make_dataset()
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures.")
    text = sign_in("admin").get("/accountability/processing").text
    assert "brought as one text" in text
