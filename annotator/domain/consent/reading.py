"""Reading a consent record back: the events of one person, as another installation wrote them."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotator.core.errors import InvalidInput
from annotator.domain.consent.record import PROFILE, STATUS
from annotator.models import EXPRESSIONS, PARTIES, PURPOSES

# Every field that ISO/IEC TS 27560 asks for, and where our profile keeps it: a path of keys, where
# ``*`` stands for each member of a list. ADR 12 has the same table in words.
MANDATORY: dict[str, tuple[str, ...]] = {
    "schema_version": ("schema:schemaVersion",),
    "record_id": ("dct:identifier",),
    "pii_principal_id": ("dpv:hasDataSubject", "dct:identifier"),
    "privacy_notice": ("dpv:hasNotice", "*", "dct:description"),
    "language": ("dpv:hasNotice", "*", "dct:language"),
    "purposes": ("dpv:hasProcess",),
    "purpose": ("dpv:hasProcess", "*", "dpv:hasPurpose", "dct:description"),
    "lawful_basis": ("dpv:hasProcess", "*", "dpv:hasLegalBasis"),
    "pii_information": ("dpv:hasProcess", "*", "dpv:hasPersonalData"),
    "pii_controllers": ("dpv:hasDataController", "dct:identifier"),
    "collection_method": ("dpv:hasProcess", "*", "dpv:hasDataSource"),
    "processing_method": ("dpv:hasProcess", "*", "dpv:hasProcessing"),
    "storage_locations": ("dpv:hasProcess", "*", "dpv:hasStorageCondition"),
    "retention_period": ("dpv:hasProcess", "*", "dpv:hasStorageCondition", "*", "dct:description"),
    "recipient_third_parties": ("dpv:hasProcess", "*", "dpv:hasRecipient", "dct:description"),
    "withdrawal_method": ("dpv:hasConsentControl", "dct:description"),
    "privacy_rights": ("dpv:hasRight",),
    "jurisdiction": ("dpv:hasJurisdiction",),
    "authority_party": ("dpv:hasAuthority", "dct:description"),
    "party_id": ("dpv:hasDataController", "@id"),
    "party_name": ("dpv:hasDataController", "dpv:hasName"),
    "party_role": ("dpv:hasDataController", "@type"),
    "party_address": ("dpv:hasDataController", "dpv:hasAddress"),
    "party_contact": ("dpv:hasDataController", "dpv:hasContact"),
    "event_time": ("dpv:hasConsentStatus", "*", "dpv:isIndicatedAtTime"),
    "event_type": ("dpv:hasConsentStatus", "*", "@type"),
    "event_state": ("dpv:hasConsentStatus", "*", "annotator:kind"),
    "entity_id": ("dpv:hasConsentStatus", "*", "dpv:isIndicatedBy"),
}


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One event as a record tells it.

    Attributes:
        purpose: see ``PURPOSES``.
        kind: see ``EVENT_KINDS``.
        at: when it was said.
        expires_at: when it ends by itself; ``None`` for what takes back or ends.
        expression: how it was said; ``None`` likewise.
        party: who spoke.
        assent: what a minor said themselves.
        notice: SHA-256 of the text that was read, hex.
        version: of that notice.
        locale: of the text that was shown.
        outdated_at: since when a later notice asks anew, so that this consent no longer counts.
    """

    purpose: str
    kind: str
    at: dt.datetime
    expires_at: dt.datetime | None
    expression: str | None
    party: str
    assent: str | None
    notice: str | None
    version: int | None
    locale: str | None
    outdated_at: dt.datetime | None = None


def find_missing(document: Mapping[str, Any]) -> list[str]:
    """The mandatory fields of ISO/IEC TS 27560 that a record lacks, by their names there."""
    return [name for name, path in MANDATORY.items() if not _has(document, path)]


def read_record(document: Mapping[str, Any]) -> list[RecordedEvent]:
    """Reads the events of a record that ``describe_record`` wrote, here or elsewhere.

    Args:
        document: parsed JSON.

    Raises:
        InvalidInput: another profile, a mandatory field that is missing, or an impossible event.
    """
    if not isinstance(document, Mapping) or document.get("dct:conformsTo") != PROFILE:
        raise InvalidInput("This is no consent record of the profile that Annotator reads.")
    missing = find_missing(document)
    if missing:
        raise InvalidInput(f"The record lacks what it must hold: {', '.join(missing)}.")
    try:
        notices = {notice["@id"]: notice for notice in _each(document["dpv:hasNotice"])}
        events = _each(document.get("dpv:hasConsentStatus") or [])
        return [_read_event(event, notices) for event in events]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput("An event of the record cannot be read; ask for it again.") from error


def _read_event(event: Mapping[str, Any], notices: Mapping[str, Any]) -> RecordedEvent:
    kind, purpose = event["annotator:kind"], event["annotator:purpose"]
    expression, party = event.get("annotator:expression"), event["annotator:party"]
    if event["@type"] != STATUS[kind] or purpose not in PURPOSES or party not in PARTIES:
        raise ValueError
    if expression is not None and expression not in EXPRESSIONS:
        raise ValueError
    link = event.get("dpv:hasNotice")
    notice = None if link is None else notices[link["@id"]]
    return RecordedEvent(
        purpose=purpose,
        kind=kind,
        at=_moment(event["dpv:isIndicatedAtTime"]),
        expires_at=_moment(event["dct:valid"]) if "dct:valid" in event else None,
        expression=expression,
        party=party,
        assent=event.get("annotator:assent"),
        notice=None if notice is None else notice["schema:sha256"],
        version=None if notice is None else int(notice["schema:version"]),
        locale=event.get("dct:language"),
        outdated_at=_moment(event["annotator:outdatedAt"])
        if "annotator:outdatedAt" in event
        else None,
    )


def _moment(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError
    return moment


def _has(value: Any, path: Sequence[str]) -> bool:
    if not path:
        return value not in (None, "", [], {})
    key, rest = path[0], path[1:]
    if key == "*":
        return all(_has(each, rest) for each in _each(value))
    return isinstance(value, Mapping) and key in value and _has(value[key], rest)


def _each(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
