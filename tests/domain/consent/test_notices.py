import dataclasses
import datetime as dt
import hashlib

import pytest
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput
from annotator.domain import consent
from annotator.domain.consent.facts import ARTICLES
from annotator.models import PURPOSES, Dataset
from tests.factories import make_dataset
from tests.fakes import FakeVault

FACTS = consent.fill_notice(organisation="Clinic", contact="p@example.org", years=3)
GERMAN = dataclasses.replace(
    consent.starter("de"),
    controller="Klinik, Ort",
    contact="p@example.org",
    retention="Drei Jahre.",
    complaint="Bei der Behörde.",
)


@pytest.fixture
def dataset(session: Session) -> Dataset:
    return make_dataset(session)


def publish(session: Session, dataset: Dataset, **changes: str) -> int:
    facts = dataclasses.replace(FACTS, **changes)
    (notice,) = consent.publish_notice(session, dataset=dataset, texts={"en": facts})
    return notice.version


@pytest.mark.parametrize("field", [name for name in ARTICLES if name != "dpo"])
def test_each_field_that_the_law_asks_for_is_missed_by_name(
    session: Session, dataset: Dataset, field: str
) -> None:
    facts = dataclasses.replace(FACTS, **{field: ""})
    assert list(consent.find_gaps(facts, purposes=PURPOSES)) == [field]
    with pytest.raises(InvalidInput, match=field):
        consent.publish_notice(session, dataset=dataset, texts={"en": facts})


def test_emotion_recognition_is_told_only_where_a_model_may_guess() -> None:
    facts = dataclasses.replace(FACTS, emotion="")
    assert consent.find_gaps(facts, purposes=["store", "label"]) == {}
    text = consent.compose_text(FACTS, purposes=["store", "label"], locale="en")
    assert "emotion recognition" not in text
    assert "suggests a label" not in text


@pytest.mark.parametrize("locale", ["en", "de"])
def test_a_starter_names_what_is_left_to_fill_in(locale: str) -> None:
    gaps = consent.find_gaps(consent.starter(locale), purposes=PURPOSES)
    assert set(gaps) == {"controller", "contact", "retention", "complaint"}
    assert all("curly brackets" in sentence for sentence in gaps.values())


def test_the_text_says_everything_that_was_filled_in() -> None:
    marked = consent.Facts(**{name: f"<{name}>" for name in FACTS.as_dict()})
    for locale, words in consent.WORDS.items():
        text = consent.compose_text(marked, purposes=PURPOSES, locale=locale)
        for name in FACTS.as_dict():
            assert f"<{name}>" in text
        for title, sentence in words.purposes.values():
            assert f"- {title}: {sentence}" in text
        assert words.rights_text in text
        assert words.basis_text in text


def test_one_version_has_every_language(session: Session, dataset: Dataset) -> None:
    notices = consent.publish_notice(session, dataset=dataset, texts={"de": GERMAN, "en": FACTS})
    assert {notice.version for notice in notices} == {2}
    assert consent.list_locales(session, dataset=dataset) == ["en", "de"]
    german = consent.current_notice(session, dataset=dataset, locale="de-AT")
    assert german.locale == "de"
    assert german.digest == hashlib.sha256(german.text.encode()).hexdigest()
    assert consent.current_notice(session, dataset=dataset, locale="fr").locale == "en"
    publish(session, dataset, about="Only English.")
    assert consent.current_notice(session, dataset=dataset, locale="de").locale == "en"


def test_a_text_from_elsewhere_in_another_language_joins_the_version(
    session: Session, dataset: Dataset
) -> None:
    german = consent.create_notice(session, dataset=dataset, text="Bilder.", locale="de")
    assert german.version == 1
    narrower = consent.create_notice(
        session, dataset=dataset, text="Images.", locale="fr", purposes=["store"]
    )
    assert narrower.version == 2
    assert consent.current_notice(session, dataset=dataset, locale="en") is narrower


def test_without_any_notice_nobody_can_agree(session: Session) -> None:
    from annotator.domain import datasets

    empty = datasets.create_dataset(session, name="Empty", created_by=None)
    assert consent.list_locales(session, dataset=empty) == []
    with pytest.raises(Conflict, match="no notice yet"):
        consent.current_notice(session, dataset=empty)


def test_the_same_again_is_refused(session: Session, dataset: Dataset) -> None:
    publish(session, dataset)
    with pytest.raises(InvalidInput, match="nothing would change"):
        publish(session, dataset)
    with pytest.raises(InvalidInput, match="no wording"):
        consent.publish_notice(session, dataset=dataset, texts={"xx": FACTS})
    with pytest.raises(InvalidInput, match="at least one language"):
        consent.publish_notice(session, dataset=dataset, texts={})


def test_new_recipients_need_everybody_anew_and_a_new_address_does_not(
    session: Session, dataset: Dataset, vault: FakeVault
) -> None:
    publish(session, dataset)
    subject = consent.create_subject(session, vault=vault, dataset=dataset, code="P-1")

    def agree() -> None:
        consent.record_consent(
            session,
            subject=subject,
            purposes=["store", "label", "export_pseudonymised"],
            notice=consent.current_notice(session, dataset=dataset),
            expression="ticked",
            expires_at=now() + dt.timedelta(days=30),
        )

    def given() -> set[str]:
        return set(consent.given_purposes(session, subject=subject))

    agree()
    publish(session, dataset, contact="other@example.org")
    assert "export_pseudonymised" in given()
    assert consent.list_due(session, dataset=dataset) == []
    version = publish(session, dataset, recipients="The University of X.")
    assert given() == {"store", "label"}
    (due,) = consent.list_due(session, dataset=dataset)
    assert (due.subject, due.purposes, due.told) == (subject, ("export_pseudonymised",), 2)
    assert {row.version for row in consent.list_renewals(session, dataset=dataset)} == {version}
    agree()
    assert "export_pseudonymised" in given()
    assert consent.list_due(session, dataset=dataset) == []
    assert [e.kind for e in subject.events if e.purpose == "label"] == ["given", "renewed"]


def test_the_author_may_ask_anew_about_more(
    session: Session, dataset: Dataset, vault: FakeVault
) -> None:
    publish(session, dataset)
    facts = dataclasses.replace(FACTS, about="For something else.")
    consent.publish_notice(session, dataset=dataset, texts={"en": facts}, renew=["store"])
    assert [row.purpose for row in consent.list_renewals(session, dataset=dataset)] == ["store"]


def test_a_difference_is_told_line_by_line() -> None:
    assert consent.compare_texts("a\nb\nc", "a\nB\nc") == [
        ("same", "a"),
        ("gone", "b"),
        ("new", "B"),
        ("same", "c"),
    ]
