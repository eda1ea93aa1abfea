"""Receipts: what a person agreed to, and that it was erased, so that anybody can check it.

A receipt is one JSON object: the log's entries about a person word for word, the way from each of
them to the root of the log's tree, and that root as the installation signed it. The stand-alone
program ``static/verify_receipt.py`` checks one with Python alone.

Work that is not committed has no place in the log yet: commit first, then make the receipt.
"""

import base64
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.errors import NotFound
from annotator.domain import audit, consent
from annotator.domain.ports import Vault
from annotator.models import AuditEntry, Subject
from annotator.vault.merkle import Source

FORMAT = 1
SIGNED = b"annotator-receipt/1\n"  # before what is signed; no checkpoint begins so
CONSENT, ERASURE = "consent", "erasure"
# What a receipt tells of: what was agreed, and what became of it; not every picture.
TOLD = ("consent.", "subject.", "export.closed", "model.marked")


@dataclass(frozen=True, slots=True)
class OpenedSalt:
    """What must be taken out before a withdrawal to prove the erasure after it.

    It goes into the person's own receipt and nowhere else.
    """

    salt: bytes


def make_receipt(session: Session, *, vault: Vault, subject: Subject) -> dict[str, Any]:
    """The receipt of a person who has not withdrawn everything.

    Args:
        session: a transaction that may write: when the log has grown, a checkpoint is signed.
        vault: opens the person's salt and signs.
        subject: whose receipt.

    Raises:
        NotFound: the log tells nothing about them (they withdrew, or nothing happened yet).
    """
    salt = audit.open_salt(session, vault=vault, subject=subject)
    if salt is None:
        raise NotFound(_unproven(subject))
    receipt = _write(session, vault, kind=CONSENT, salt=salt)
    receipt["record"] = consent.describe_record(session, vault=vault, subject=subject)
    return _sign(vault, receipt)


def open_salt(session: Session, *, vault: Vault, subject: Subject) -> OpenedSalt:
    """Takes a person's salt out before they withdraw; afterwards nobody can.

    Raises:
        NotFound: the log tells nothing about them.
    """
    salt = audit.open_salt(session, vault=vault, subject=subject)
    if salt is None:
        raise NotFound(_unproven(subject))
    return OpenedSalt(salt)


def _unproven(subject: Subject) -> str:
    if subject.withdrawn_at is not None:
        return (
            "This person withdrew everything, so nothing can be proven about them any more; "
            "their receipt of the erasure was made then, and only then."
        )
    return "There is nothing in the log that could be proven about this person."


def make_erasure_receipt(session: Session, *, vault: Vault, opened: OpenedSalt) -> dict[str, Any]:
    """The receipt of an erasure, to be made after its transaction was committed.

    It tells of the renewal of the keys, too, once that is done; until then ``renewal`` is null.

    Args:
        session: a transaction that may write.
        vault: signs.
        opened: from ``open_salt``, before the withdrawal.

    Raises:
        NotFound: the log tells of no erasure.
    """
    receipt = _write(session, vault, kind=ERASURE, salt=opened.salt)
    erased = [item for item in receipt["entries"] if item["entry"]["action"] == "subject.erased"]
    if not erased:
        raise NotFound("The log does not tell that this person was erased.")
    index = erased[-1]["entry"]["index"]
    renewed = session.scalars(
        select(AuditEntry)
        .where(AuditEntry.action == "keys.renewed", AuditEntry.position > index)
        .order_by(AuditEntry.position)
        .limit(1)
    ).first()
    size = audit.read_note(receipt["checkpoint"]).size
    receipt["renewal"] = None if renewed is None else _prove(session, renewed, size)
    return _sign(vault, receipt)


def _write(session: Session, vault: Vault, *, kind: str, salt: bytes) -> dict[str, Any]:
    checkpoint = audit.sign_checkpoint(session, vault=vault)
    source = audit.source_of(session)
    told = [
        (number, entry)
        for number, entry in audit.find_about(session, salt=salt)
        if entry.action.startswith(TOLD)
    ]
    return {
        "format": FORMAT,
        "kind": kind,
        "log": {
            "origin": audit.origin_of(vault),
            "public_key": _text(vault.public_key("log")),
        },
        "checkpoint": checkpoint.note,
        "salt": salt.hex(),
        "entries": [
            {"number": number, **_prove(session, entry, checkpoint.size, source)}
            for number, entry in told
        ],
    }


def _sign(vault: Vault, receipt: dict[str, Any]) -> dict[str, Any]:
    """The receipt as a whole, signed: also what the log does not tell cannot be changed in it."""
    message = SIGNED + audit.canonical(receipt)
    return receipt | {"signature": _text(vault.sign("log", message))}


def _prove(
    session: Session, entry: AuditEntry, size: int, source: Source | None = None
) -> dict[str, Any]:
    assert entry.position is not None
    proof = audit.prove_inclusion(session, index=entry.position, size=size, source=source)
    return {"entry": audit.describe(entry), "proof": [_text(item) for item in proof]}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
