"""The consent record of one person as JSON-LD.

ISO/IEC TS 27560:2023 says what a consent record holds: a header, the processing, the parties, and
events that are only ever added. The W3C Data Privacy Vocabulary (DPV 2) has the terms. Which field
stands where is tabled in ADR 12. The context is inline, so that reading one needs no network;
where DPV has no word, a term of our own says it (``annotator:``).
"""

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.domain import audit
from annotator.domain.consent.gate import given_purposes, outdated_at
from annotator.domain.consent.statements import open_words
from annotator.domain.consent.subjects import open_column
from annotator.domain.consent.wording import WORDS
from annotator.domain.ports import Vault
from annotator.models import PURPOSES, ConsentEvent, Dataset, Notice, Subject

PROFILE = "https://w3id.org/dpv/schema/dpv-27560#record-eu-gdpr"
SCHEMA_VERSION = "ISO/IEC TS 27560:2023"
NOT_STATED = "See the text of the notice."

CONTEXT: dict[str, Any] = {
    "dpv": "https://w3id.org/dpv#",
    "pd": "https://w3id.org/dpv/pd#",
    "ai": "https://w3id.org/dpv/ai#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "legal-eu": "https://w3id.org/dpv/legal/eu#",
    "loc": "https://w3id.org/dpv/loc#",
    "dct": "http://purl.org/dc/terms/",
    "schema": "https://schema.org/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "annotator": "urn:annotator:term:",
    "dct:created": {"@type": "xsd:dateTime"},
    "dct:valid": {"@type": "xsd:dateTime"},
    "dct:conformsTo": {"@type": "@id"},
    "dpv:isIndicatedAtTime": {"@type": "xsd:dateTime"},
    "dpv:hasLegalBasis": {"@type": "@id"},
    "dpv:hasProcessing": {"@type": "@id"},
    "dpv:hasPersonalData": {"@type": "@id"},
    "dpv:hasRight": {"@type": "@id"},
    "dpv:hasJurisdiction": {"@type": "@id"},
    "dpv:hasApplicableLaw": {"@type": "@id"},
    "dpv:hasDataSource": {"@type": "@id"},
    "dpv:isIndicatedBy": {"@type": "@id"},
}
STATUS = {
    "given": "dpv:ConsentGiven",
    "renewed": "dpv:RenewedConsentGiven",
    "withdrawn": "dpv:ConsentWithdrawn",
    "expired": "dpv:ConsentExpired",
}
# What is done for each purpose, in DPV's words.
PROCESSING = {
    "store": ["dpv:Collect", "dpv:Store", "dpv:Pseudonymise"],
    "label": ["dpv:Use", "ai:DataLabelling"],
    "prelabel": ["dpv:Infer", "ai:DataLabelling"],
    "train": ["dpv:Use", "ai:ModelTraining"],
    "export_pseudonymised": ["dpv:Pseudonymise", "dpv:Share"],
    "export_anonymised": ["dpv:Transform", "dpv:Share"],
    "publish_weights": ["dpv:MakeAvailable"],
}
RIGHTS = [f"eu-gdpr:{article}" for article in ("A7-3", "A15", "A16", "A17", "A18", "A20", "A77")]
METHODS = {
    "ticked": "Ticked on a form",
    "paper": "Signed on paper",
    "verbal": "Said aloud and written down",
    "imported": "Recorded in another system",
}


def describe_record(session: Session, *, vault: Vault, subject: Subject) -> dict[str, Any]:
    """The consent record of one person: what they said, under which notice, and what for.

    Args:
        session: the open transaction; it reads only.
        vault: opens the names in the record; after an erasure nobody can, and they are left out.
        subject: whose record.

    Returns:
        JSON-LD with an inline context. ``read_record`` reads its events back.
    """
    events = list(
        session.scalars(
            select(ConsentEvent)
            .where(ConsentEvent.subject_id == subject.id)
            .order_by(ConsentEvent.at, ConsentEvent.id)
        )
    )
    dataset = session.get_one(Dataset, subject.dataset_id)
    notices = _read_notices(session, events, dataset)
    facts = _read_facts(notices)
    base = f"urn:uuid:{uuid.UUID(hex=subject.uid)}"
    lasts = given_purposes(session, subject=subject)
    told = {purpose for notice in notices for purpose in notice.purposes}
    return {
        "@context": CONTEXT,
        "@id": base,
        "@type": "dpv:ConsentRecord",
        "dct:identifier": base,
        "dct:conformsTo": PROFILE,
        "schema:schemaVersion": SCHEMA_VERSION,
        "dct:created": subject.created_at.isoformat(),
        "dpv:hasDataSubject": _describe_subject(base, subject, vault),
        "dpv:hasProcess": [
            _describe_process(base, purpose, facts, lasts)
            for purpose in PURPOSES
            if purpose in told or any(event.purpose == purpose for event in events)
        ],
        "dpv:hasNotice": [_describe_notice(notice) for notice in notices],
        "dpv:hasJurisdiction": "loc:EU",
        "dpv:hasApplicableLaw": "legal-eu:law-GDPR",
        "dpv:hasRight": RIGHTS,
        **_describe_parties(base, facts, vault, subject),
        "dpv:hasConsentControl": {
            "@id": f"{base}#withdrawal",
            "@type": "dpv:WithdrawConsent",
            "dct:description": facts.get("withdrawal") or NOT_STATED,
        },
        "dpv:hasConsentStatus": [
            _describe_event(base, event, vault, subject, outdated_at(session, event=event))
            for event in events
        ],
    }


def take_record(session: Session, *, vault: Vault, subject: Subject, by: int) -> dict[str, Any]:
    """``describe_record`` for a colleague; the log says who took it."""
    document = describe_record(session, vault=vault, subject=subject)
    actor = audit.actor_of(by)
    audit.append(session, action="record.taken", actor=actor, subject=subject)
    return document


def _read_notices(session: Session, events: list[ConsentEvent], dataset: Dataset) -> list[Notice]:
    """The notices that were read; the one in force when nobody has said anything yet."""
    ids = {event.notice_id for event in events if event.notice_id is not None}
    query = select(Notice).order_by(Notice.version, Notice.id)
    if ids:
        return list(session.scalars(query.where(Notice.id.in_(ids))))
    found = list(session.scalars(query.where(Notice.dataset_id == dataset.id)))
    return found[-1:]


def _read_facts(notices: list[Notice]) -> dict[str, str]:
    return dict(notices[-1].facts or {}) if notices else {}


def _describe_subject(base: str, subject: Subject, vault: Vault) -> dict[str, Any]:
    minor = subject.majority_at is not None
    described: dict[str, Any] = {
        "@id": f"{base}#subject",
        "@type": ["dpv:DataSubject", "dpv:Child"] if minor else "dpv:DataSubject",
        "dct:identifier": subject.code,
    }
    if subject.majority_at is not None:  # without it the gate would answer otherwise elsewhere
        described["annotator:majority"] = subject.majority_at.isoformat()
    if subject.wrapped_key is not None and subject.sealed_name is not None:
        described["dpv:hasName"] = open_column(vault, subject, "sealed_name")
    return described


def _describe_process(
    base: str, purpose: str, facts: dict[str, str], lasts: dict[str, ConsentEvent]
) -> dict[str, Any]:
    title, sentence = WORDS["en"].purposes[purpose]
    event = lasts.get(purpose)
    return {
        "@id": f"{base}#process-{purpose}",
        "@type": "dpv:Process",
        "dpv:hasPurpose": {
            "@id": f"{base}#{purpose}",
            "@type": "dpv:Purpose",
            "dct:title": title,
            "dct:description": sentence,
            "annotator:purpose": purpose,
        },
        "dpv:hasLegalBasis": ["eu-gdpr:A6-1-a", "eu-gdpr:A9-2-a"],
        "dpv:hasPersonalData": ["pd:Picture", "pd:FacialExpression"],
        "dpv:hasDataSource": "dpv:DataSubjectDataSource",
        "dpv:hasProcessing": PROCESSING[purpose],
        "dpv:hasStorageCondition": [
            {
                "@type": "dpv:StorageLocation",
                "dct:description": "On the controller's own machines, encrypted with a key of "
                "their own. " + (facts.get("transfers") or NOT_STATED),
            },
            {
                "@type": "dpv:StorageDuration",
                "dct:description": facts.get("retention") or NOT_STATED,
                **(
                    {"dct:valid": event.expires_at.isoformat()}
                    if event and event.expires_at
                    else {}
                ),
            },
        ],
        "dpv:hasRecipient": {
            "@id": f"{base}#recipients",
            "@type": "dpv:Recipient",
            "dct:description": facts.get("recipients") or NOT_STATED,
        },
        "annotator:consentInForce": event is not None,
    }


def _describe_notice(notice: Notice) -> dict[str, Any]:
    return {
        "@id": notice_id(notice.digest),
        "@type": "dpv:ConsentNotice",
        "dct:language": notice.locale,
        "schema:version": str(notice.version),
        "schema:sha256": notice.digest,
        "dct:created": notice.created_at.isoformat(),
        "dct:description": notice.text,
        "annotator:purposes": list(notice.purposes),
    }


def _describe_parties(
    base: str, facts: dict[str, str], vault: Vault, subject: Subject
) -> dict[str, Any]:
    contact = facts.get("contact") or NOT_STATED
    controller = {
        "@id": f"{base}#controller",
        "@type": "dpv:DataController",
        "dct:identifier": f"urn:annotator:install:{vault.install}",
        "dpv:hasName": facts.get("controller") or NOT_STATED,
        "dpv:hasAddress": facts.get("controller") or NOT_STATED,
        "dpv:hasContact": contact,
    }
    parties: dict[str, Any] = {
        "dpv:hasDataController": controller,
        "dpv:hasAuthority": {
            "@id": f"{base}#authority",
            "@type": "dpv:DataProtectionAuthority",
            "dct:description": facts.get("complaint") or NOT_STATED,
        },
    }
    if facts.get("dpo"):
        parties["dpv:hasDataProtectionOfficer"] = {
            "@id": f"{base}#dpo",
            "@type": "dpv:DataProtectionOfficer",
            "dpv:hasContact": facts["dpo"],
        }
    guardian = {"@id": f"{base}#guardian", "@type": "dpv:GuardianOfDataSubject"}
    if subject.wrapped_key is not None and subject.sealed_guardian_name is not None:
        guardian["dpv:hasName"] = open_column(vault, subject, "sealed_guardian_name")
    if subject.majority_at is not None or any(e.party == "guardian" for e in subject.events):
        parties["dpv:hasEntity"] = guardian
    return parties


def _describe_event(
    base: str,
    event: ConsentEvent,
    vault: Vault,
    subject: Subject,
    outdated: dt.datetime | None,
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "@id": f"{base}#event-{event.id}",
        "@type": STATUS[event.kind],
        "dct:identifier": str(event.id),
        "dpv:hasPurpose": {"@id": f"{base}#{event.purpose}"},
        "dpv:isIndicatedAtTime": event.at.isoformat(),
        "dpv:isIndicatedBy": f"{base}#{event.party}",
        "annotator:purpose": event.purpose,
        "annotator:kind": event.kind,
        "annotator:party": event.party,
    }
    if event.kind in {"given", "renewed"}:
        described["dpv:hasLegalBasis"] = ["dpv:ExplicitlyExpressedConsent", "eu-gdpr:A9-2-a"]
    if event.expires_at is not None:
        described["dct:valid"] = event.expires_at.isoformat()
    if event.expression is not None:
        described["dpv:hasIndicationMethod"] = METHODS[event.expression]
        described["annotator:expression"] = event.expression
    if event.notice is not None:
        described["dpv:hasNotice"] = {"@id": notice_id(event.notice.digest)}
    if outdated is not None:
        described["annotator:outdatedAt"] = outdated.isoformat()
    said = event.statement
    if said is not None:
        described["dct:language"] = said.locale
        if said.assent is not None:
            described["annotator:assent"] = said.assent
        if subject.wrapped_key is not None and said.sealed_name is not None:
            described["dpv:hasName"] = open_words(vault, subject, said, "sealed_name")
        described["annotator:evidence"] = said.evidence_blob is not None
    return described


def notice_id(digest: str) -> str:
    """How a record names the exact text of a notice."""
    return f"urn:sha256:{digest}"
