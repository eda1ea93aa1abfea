"""The consent record: an RDF library reads it, every field is there, and its events come back."""

import copy
import datetime as dt
import json
from typing import Any

import pytest
from rdflib import RDF, Graph, Literal, Namespace, URIRef
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import InvalidInput
from annotator.domain import consent
from annotator.domain.consent.reading import MANDATORY, find_missing
from annotator.models import Dataset, Subject
from tests.factories import make_dataset
from tests.fakes import FakeVault

DPV = Namespace("https://w3id.org/dpv#")
DCT = Namespace("http://purl.org/dc/terms/")
PD = Namespace("https://w3id.org/dpv/pd#")
AI = Namespace("https://w3id.org/dpv/ai#")
GDPR = Namespace("https://w3id.org/dpv/legal/eu/gdpr#")


@pytest.fixture
def dataset(session: Session) -> Dataset:
    dataset = make_dataset(session)
    facts = consent.fill_notice(organisation="Clinic", contact="p@example.org", years=3)
    consent.publish_notice(session, dataset=dataset, texts={"en": facts})
    return dataset


@pytest.fixture
def subject(session: Session, vault: FakeVault, dataset: Dataset) -> Subject:
    """A minor whose guardian agreed, took something back, and renewed the rest."""
    subject = consent.create_subject(
        session,
        vault=vault,
        dataset=dataset,
        code="P-1",
        majority_at=now() + dt.timedelta(days=900),
        guardian_name="Any Guardian",
    )
    said = consent.Statement(party="guardian", assent="given", name="Any Guardian", locale="en")
    for purposes in (["store", "label", "prelabel", "train"], ["store"]):
        consent.record_consent(
            session,
            subject=subject,
            purposes=purposes,
            notice=consent.current_notice(session, dataset=dataset),
            expression="paper",
            expires_at=now() + dt.timedelta(days=300),
            statement=said,
            vault=vault,
        )
    consent.withdraw_purposes(session, subject=subject, purposes=["label"])
    consent.expire_purposes(session, subject=subject, ended={"train": now()})
    return subject


@pytest.fixture
def record(session: Session, vault: FakeVault, subject: Subject) -> dict[str, Any]:
    described = consent.describe_record(session, vault=vault, subject=subject)
    again: dict[str, Any] = json.loads(json.dumps(described))
    return again


# The library's own parser uses a class of its own that it calls old.
@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
def test_an_rdf_library_reads_the_record_without_a_network(record: dict[str, Any]) -> None:
    graph = Graph().parse(data=json.dumps(record), format="json-ld")
    me = URIRef(record["@id"])
    assert (me, RDF.type, DPV.ConsentRecord) in graph
    for status, count in (
        (DPV.ConsentGiven, 4),
        (DPV.RenewedConsentGiven, 1),
        (DPV.ConsentWithdrawn, 1),
        (DPV.ConsentExpired, 1),
    ):
        assert len(list(graph.subjects(RDF.type, status))) == count, status
    assert next(graph.subjects(RDF.type, DPV.GuardianOfDataSubject), None) is not None
    assert set(graph.objects(None, DPV.hasPersonalData)) == {PD.Picture, PD.FacialExpression}
    assert {AI.DataLabelling, AI.ModelTraining} <= set(graph.objects(None, DPV.hasProcessing))
    bases = set(graph.objects(None, DPV.hasLegalBasis))
    assert bases == {DPV.ExplicitlyExpressedConsent, GDPR["A6-1-a"], GDPR["A9-2-a"]}
    moments = list(graph.objects(None, DPV.isIndicatedAtTime))
    assert all(isinstance(each, Literal) and each.value.tzinfo is not None for each in moments)


@pytest.mark.parametrize("field", MANDATORY)
def test_every_mandatory_field_is_there_and_missed(record: dict[str, Any], field: str) -> None:
    assert find_missing(record) == []
    damaged = copy.deepcopy(record)
    *way, last = [key for key in MANDATORY[field] if key != "*"]
    places: list[Any] = [damaged]
    for key in way:
        places = [each for place in places for each in _all(place[key])]
    for place in places:
        del place[last]
    assert field in find_missing(damaged)
    with pytest.raises(InvalidInput, match=r"lacks|profile"):
        consent.read_record(damaged)


def _all(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_every_given_event_says_how_long_it_lasts(record: dict[str, Any]) -> None:
    for event in record["dpv:hasConsentStatus"]:
        assert ("dct:valid" in event) == (event["annotator:kind"] in {"given", "renewed"})


def test_the_events_come_back_as_they_were(subject: Subject, record: dict[str, Any]) -> None:
    written = [
        (
            event.purpose,
            event.kind,
            event.at,
            event.expires_at,
            event.expression,
            event.party,
            event.statement.assent if event.statement else None,
            event.notice.digest if event.notice else None,
            event.notice.version if event.notice else None,
            event.statement.locale if event.statement else None,
        )
        for event in sorted(subject.events, key=lambda event: (event.at, event.id))
    ]
    read = [
        (
            event.purpose,
            event.kind,
            event.at,
            event.expires_at,
            event.expression,
            event.party,
            event.assent,
            event.notice,
            event.version,
            event.locale,
        )
        for event in consent.read_record(record)
    ]
    assert len(read) == 7
    assert read == written


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("annotator:kind", "denied"),
        ("annotator:purpose", "dance"),
        ("annotator:expression", "nod"),
        ("annotator:party", "neighbour"),
        ("dpv:isIndicatedAtTime", "2026-11-24T10:00:00"),
        ("dpv:hasNotice", {"@id": "urn:sha256:0"}),
        ("@type", "dpv:ConsentWithdrawn"),
    ],
)
def test_an_event_that_cannot_be_is_refused(record: dict[str, Any], key: str, value: Any) -> None:
    record["dpv:hasConsentStatus"][0][key] = value
    with pytest.raises(InvalidInput, match="cannot be read"):
        consent.read_record(record)


@pytest.mark.parametrize("document", [{}, [], {"dct:conformsTo": "x"}])
def test_what_is_no_record_is_refused(document: Any) -> None:
    with pytest.raises(InvalidInput, match="no consent record"):
        consent.read_record(document)


def test_the_record_opens_names_and_says_the_exact_text(
    session: Session, record: dict[str, Any], dataset: Dataset
) -> None:
    notice = consent.current_notice(session, dataset=dataset)
    (told,) = record["dpv:hasNotice"]
    assert (told["schema:sha256"], told["dct:description"]) == (notice.digest, notice.text)
    assert record["dpv:hasEntity"]["dpv:hasName"] == "Any Guardian"
    assert record["dpv:hasDataController"]["dpv:hasContact"] == "p@example.org"


def test_after_an_erasure_the_record_has_no_names(
    session: Session, vault: FakeVault, subject: Subject
) -> None:
    subject.wrapped_key = subject.key_epoch = subject.key_version = None
    subject.withdrawn_at = now()
    consent.forget_statements(session, subject=subject)
    described = consent.describe_record(session, vault=vault, subject=subject)
    assert "Any Guardian" not in json.dumps(described)
    assert len(consent.read_record(described)) == 7


def test_a_person_who_said_nothing_has_a_record_too(
    session: Session, vault: FakeVault, dataset: Dataset
) -> None:
    silent = consent.create_subject(session, vault=vault, dataset=dataset, code="P-2")
    described = consent.describe_record(session, vault=vault, subject=silent)
    assert find_missing(described) == []
    assert consent.read_record(described) == []
