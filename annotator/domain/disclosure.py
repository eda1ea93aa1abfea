"""What is held of a person, for that person: shown on their page, and handed out as a copy.

The copy is what GDPR, Article 15, asks for. It names no colleague: votes come without who gave
them.
"""

import datetime as dt
import errno
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.core.errors import InvalidInput, NotFound, StorageFailed, StorageFull
from annotator.domain import audit, consent, erasure, receipts, viewing
from annotator.domain.exports.archive import Listing, zip_stream
from annotator.domain.ports import Vault
from annotator.models import (
    PURPOSES,
    Annotation,
    ConsentEvent,
    Dataset,
    Export,
    Face,
    Image,
    ModelVersion,
    Notice,
    Prediction,
    Subject,
    Task,
)

PIECE = 1 << 18  # bytes
README = """\
This is a copy of everything that is held of you.

person.json     who you are to us: your code, and the name and contact that you gave
consent.jsonld  your consent as a record that other programs can read (ISO/IEC TS 27560, DPV)
consents.json   what you agreed to and took back, and when; every event
notices/        the exact texts that you were told
receipt.json    the proof that your consent is in our log; verify_receipt.py, which your
                page offers, checks it without us: python3 verify_receipt.py receipt.json KEY
votes.json      what people said that your face expresses, without who said it
guesses.json    what models said
exports.json    training sets that you are in, and who asked for them
models.json     models that learned from your pictures
pictures.json   every picture that we hold, and how far it is
pictures/       your pictures as we keep them: with everything but your face covered, and your face
                cut from that; a picture that is not covered yet may show others and is left out
"""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What is held of a person, at a glance.

    Attributes:
        counts: pictures, faces, votes, guesses and exports.
        since: when the first picture that is still held came.
        given: every purpose that is allowed now, with the event that allows it.
        exports: training sets that they are in, those closed since included.
        models: models that learned from them.
    """

    counts: dict[str, int]
    since: dt.datetime | None
    given: dict[str, ConsentEvent]
    exports: tuple[Export, ...]
    models: tuple[ModelVersion, ...]


def describe_holdings(session: Session, *, subject: Subject) -> Holdings:
    """What is held of a person, for what, and who received it."""
    told = erasure.foresee(session, subject=subject, purposes=PURPOSES)
    since = select(func.min(Image.received_at)).where(Image.subject_id == subject.id)
    return Holdings(
        counts=consent.count_holdings(session, subject=subject),
        since=session.scalar(since),
        given=consent.given_purposes(session, subject=subject),
        exports=tuple(export for export in told.exports if export.state == "ready"),
        models=told.models,
    )


def list_own_images(
    session: Session, *, subject: Subject, before: int = 0, limit: int = 24
) -> list[Image]:
    """A person's pictures, newest first, from behind a cursor."""
    query = select(Image).where(Image.subject_id == subject.id).order_by(Image.id.desc())
    if before:
        query = query.where(Image.id < before)
    return list(session.scalars(query.limit(limit)))


def get_own_image(session: Session, *, subject: Subject, image_id: int) -> Image:
    """One of a person's pictures.

    Raises:
        NotFound: there is none, or it is somebody else's; the two look the same.
    """
    image = session.get(Image, image_id)
    if image is None or image.subject_id != subject.id:
        raise NotFound("There is no such picture.")
    return image


def begin_copy(session: Session, *, vault: Vault, subject: Subject, actor: str) -> dict[str, Any]:
    """Writes into the log that a person gets a copy, and makes the receipt that goes into it.

    Args:
        session: a transaction that writes; commit it before the copy is handed out.
        vault: opens what the receipt needs.
        subject: whose copy it is.
        actor: who asked, as the log names them.

    Raises:
        NotFound: they withdrew everything, so there is nothing to copy.
    """
    receipt = receipts.make_receipt(session, vault=vault, subject=subject)
    audit.append(session, action="subject.copied", actor=actor, subject=subject)
    return receipt


def write_copy(
    session: Session, *, vault: Vault, subject_id: int, receipt: dict[str, Any]
) -> Iterator[bytes]:
    """Everything that is held of a person as one ZIP, in pieces.

    One picture at a time is in memory, and nothing is on a disk in the clear. Without consent to
    ``store`` nobody may open the pictures, so the copy comes without them.

    Args:
        session: a look at the database; it must outlive the reading of the pieces.
        vault: opens pictures and fields.
        subject_id: whose copy it is.
        receipt: from ``begin_copy``; put in as it is.

    Raises:
        KeyDestroyed: they withdrew everything, so there is nothing to copy.
    """
    subject = consent.get_subject(session, subject_id=subject_id)
    person = _describe_person(session, vault, subject)
    entries = _entries(session, vault, subject, {"person.json": person, "receipt.json": receipt})
    archive = zip_stream(entries, listing=Listing(), closing=list)
    while piece := archive.read(PIECE):
        yield piece


def save_copy(pieces: Iterator[bytes], *, out: Path) -> int:
    """Writes a copy into a new file that only its owner may read, whole or not at all.

    Returns:
        Its size in bytes.

    Raises:
        InvalidInput: the place is taken or there is no such folder.
        StorageFull, StorageFailed: nothing is left of it.
    """
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise InvalidInput(f"{out} exists already; name another file.") from error
    except OSError as error:
        raise InvalidInput(f"{out} cannot be made; name a file in a folder of yours.") from error
    try:
        with os.fdopen(handle, "wb") as file:
            size = sum(file.write(piece) for piece in pieces)
            file.flush()
            os.fsync(handle)
    except BaseException as error:
        out.unlink()
        if isinstance(error, OSError):
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            raise (StorageFull if full else StorageFailed) from error
        raise
    return size


def _entries(
    session: Session, vault: Vault, subject: Subject, ready: dict[str, Any]
) -> Iterator[tuple[str, bytes]]:
    yield "README.txt", README.encode()
    tables = {
        **ready,
        "consent.jsonld": consent.describe_record(session, vault=vault, subject=subject),
        "consents.json": [_event(event) for event in subject.events],
        "pictures.json": _states(session, subject),
        "votes.json": _votes(session, subject),
        "guesses.json": _guesses(session, subject),
        "exports.json": _exports(session, subject),
        "models.json": _models(session, subject),
    }
    for name, rows in tables.items():
        yield name, _json(rows)
    for notice in _notices(session, subject):
        yield f"notices/{notice.locale}-{notice.version}.txt", notice.text.encode()
    if consent.allowed(session, subject=subject, purpose="store"):
        yield from _pictures(session, vault, subject)


def _pictures(session: Session, vault: Vault, subject: Subject) -> Iterator[tuple[str, bytes]]:
    numbers = session.scalars(
        select(Image.id).where(Image.subject_id == subject.id).order_by(Image.id)
    ).all()
    for number in numbers:
        image = get_own_image(session, subject=subject, image_id=number)
        for part in ("redacted", "crop"):
            data = viewing.open_own(session, vault=vault, subject=subject, image=image, part=part)
            if data is not None:
                yield f"pictures/{number}-{part}.png", data


def _states(session: Session, subject: Subject) -> list[dict[str, Any]]:
    query = select(Image).where(Image.subject_id == subject.id).order_by(Image.id)
    return [
        {"image": image.id, "state": image.state, "received": _moment(image.received_at)}
        for image in session.scalars(query)
    ]


def _describe_person(session: Session, vault: Vault, subject: Subject) -> dict[str, Any]:
    key = consent.key_of(vault, subject)

    def read(column: str, sealed: bytes | None) -> str | None:
        if sealed is None:
            return None
        return vault.open_field(
            subject=subject.uid,
            key=key,
            table="subjects",
            column=column,
            row=subject.uid,
            sealed=sealed,
        )

    dataset = session.get_one(Dataset, subject.dataset_id)
    return {
        "code": subject.code,
        "collection": dataset.name,
        "name": read("sealed_name", subject.sealed_name),
        "contact": read("sealed_contact", subject.sealed_contact),
        "group": subject.group,
        "since": _moment(subject.created_at),
    }


def _event(event: ConsentEvent) -> dict[str, Any]:
    return {
        "purpose": event.purpose,
        "what": event.kind,
        "at": _moment(event.at),
        "until": _moment(event.expires_at),
        "expressed": event.expression,
        "notice": event.notice and f"notices/{event.notice.locale}-{event.notice.version}.txt",
        "notice_sha256": event.notice and event.notice.digest,
    }


def _notices(session: Session, subject: Subject) -> Iterable[Notice]:
    told = select(ConsentEvent.notice_id).where(ConsentEvent.subject_id == subject.id)
    return session.scalars(select(Notice).where(Notice.id.in_(told)).order_by(Notice.id))


def _votes(session: Session, subject: Subject) -> list[dict[str, Any]]:
    rows = session.execute(
        select(Annotation, Face.image_id)
        .join(Task, Task.id == Annotation.task_id)
        .join(Face, Face.id == Task.face_id)
        .where(Face.subject_id == subject.id, Annotation.taken_back_at.is_(None))
        .order_by(Face.image_id, Annotation.id)
    )
    return [
        {
            "image": image,
            "label": vote.label,
            "second_label": vote.second_label,
            "intensity": vote.intensity,
            "valence": vote.valence,
            "arousal": vote.arousal,
            "flags": vote.flags,
            "at": _moment(vote.created_at),
        }
        for vote, image in rows
    ]


def _guesses(session: Session, subject: Subject) -> list[dict[str, Any]]:
    rows = session.execute(
        select(Prediction, Face.image_id, ModelVersion.name)
        .join(Face, Face.id == Prediction.face_id)
        .join(ModelVersion, ModelVersion.id == Prediction.model_id)
        .where(Face.subject_id == subject.id)
        .order_by(Face.image_id, Prediction.id)
    )
    return [
        {
            "image": image,
            "model": model,
            "label": said.label,
            "probability": said.probability,
            "at": _moment(said.created_at),
        }
        for said, image, model in rows
    ]


def _exports(session: Session, subject: Subject) -> list[dict[str, Any]]:
    return [
        {
            "recipient": export.recipient,
            "at": _moment(export.created_at),
            "kind": export.tier,
            "closed": _moment(export.withdrawn_at),
        }
        for export in describe_holdings(session, subject=subject).exports
    ]


def _models(session: Session, subject: Subject) -> list[dict[str, Any]]:
    return [
        {
            "name": model.name,
            "at": _moment(model.created_at),
            "marked": _moment(model.withdrawn_at),
        }
        for model in describe_holdings(session, subject=subject).models
    ]


def _moment(moment: dt.datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _json(rows: Any) -> bytes:
    return json.dumps(rows, ensure_ascii=False, indent=2).encode() + b"\n"
