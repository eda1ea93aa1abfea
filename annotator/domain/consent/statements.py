"""How a consent was expressed: who spoke, and the evidence, sealed under the person's key."""

import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from annotator.core.errors import InvalidInput, NotFound
from annotator.domain import audit
from annotator.domain.consent.subjects import hold_key, key_of, seal_words
from annotator.domain.ports import Vault
from annotator.models import ASSENTS, PARTIES, ConsentStatement, Notice, Subject

KIND = "evidence"  # of the sealed blob
MOST_BYTES = 20_000_000
LONGEST_NAME, LONGEST_NOTE = 200, 2000
# What a scan may be, by its first bytes; it is stored as it came and never decoded here.
MAGIC = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
)


@dataclass(frozen=True, slots=True)
class Statement:
    """How somebody expressed a consent.

    Attributes:
        party: who spoke: ``subject``, or ``guardian`` for them.
        assent: what a minor said themselves when a guardian spoke; see ``ASSENTS``.
        name: as it was typed or signed; sealed.
        note: what was said, when and before whom, for a verbal consent; sealed.
        scan: the signed paper, a PDF, PNG or JPEG; sealed.
        locale: of the notice that was shown; the notice's own when empty.
    """

    party: str = "subject"
    assent: str | None = None
    name: str = ""
    note: str = ""
    scan: bytes = b""
    locale: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was opened of a statement.

    Attributes:
        name: as it was typed or signed.
        note: what was said.
        scan: the signed paper; empty when there is none.
        media_type: of the scan.
    """

    name: str
    note: str
    scan: bytes
    media_type: str | None


def check_speaker(*, subject: Subject, statement: Statement, at: datetime) -> None:
    """Refuses the word of somebody who may not speak for this person.

    Raises:
        InvalidInput: with what to do instead.
    """
    if statement.party not in PARTIES:
        raise InvalidInput(f"Consent is given by one of {', '.join(PARTIES)}.")
    if statement.assent is not None and statement.assent not in ASSENTS:
        raise InvalidInput(f"A minor's own word is one of {', '.join(ASSENTS)}.")
    if subject.majority_at is None:
        return
    if at >= subject.majority_at:
        if statement.party == "guardian":
            raise InvalidInput("This person is of age by now; ask themselves.")
        return
    if statement.party != "guardian":
        raise InvalidInput("This person is a minor: their guardian consents for them.")
    if statement.assent is None:
        raise InvalidInput("Say what the minor said themselves; without their yes, leave it.")


def read_type(scan: bytes) -> str:
    """The media type of a scan, by its first bytes.

    Raises:
        InvalidInput: too large, or no PDF, PNG or JPEG.
    """
    if len(scan) > MOST_BYTES:
        raise InvalidInput(f"The scan is larger than {MOST_BYTES // 10**6} MB; scan it coarser.")
    for magic, media_type in MAGIC:
        if scan.startswith(magic):
            return media_type
    raise InvalidInput("The scan is no PDF, PNG or JPEG; scan it again as one of these.")


def write_statement(
    session: Session,
    *,
    vault: Vault | None,
    subject: Subject,
    statement: Statement,
    notice: Notice,
) -> ConsentStatement:
    """Seals a statement and writes its row.

    Raises:
        InvalidInput: a name or note that is too long, or a scan that is none.
        ValueError: there is something to seal and no vault.
    """
    if len(statement.name) > LONGEST_NAME or len(statement.note) > LONGEST_NOTE:
        raise InvalidInput(
            f"A name has at most {LONGEST_NAME} characters, a note at most {LONGEST_NOTE:,}."
        )
    row = ConsentStatement(
        uid=secrets.token_hex(16),
        subject_id=subject.id,
        party=statement.party,
        assent=statement.assent,
        locale=statement.locale or notice.locale,
    )
    if statement.name.strip() or statement.note.strip() or statement.scan:
        if vault is None:
            raise ValueError("a vault is needed to seal what was said")
        key = hold_key(session, vault=vault, subject=subject)
        seal_words(
            row,
            vault=vault,
            subject=subject,
            key=key,
            sealed_name=statement.name,
            sealed_note=statement.note,
        )
        if statement.scan:
            row.evidence_type = read_type(statement.scan)
            row.evidence_blob = vault.seal_blob(
                subject=subject.uid, key=key, kind=KIND, data=statement.scan
            )
    session.add(row)
    session.flush()
    return row


def get_statement(session: Session, *, statement_id: int) -> ConsentStatement:
    """Finds a statement.

    Raises:
        NotFound: there is none with this number.
    """
    row = session.get(ConsentStatement, statement_id)
    if row is None:
        raise NotFound("There is no such statement.")
    return row


def open_evidence(
    session: Session, *, vault: Vault, statement: ConsentStatement, by: int
) -> Evidence:
    """Opens what was sealed of a statement; the log says who looked.

    The paper proves a consent, so it may be opened as long as there is a key, also after the
    consent ended: it is no picture for any purpose, and only its door lets few people near.

    Raises:
        KeyDestroyed: the person withdrew, and the evidence went with them.
    """
    subject = session.get_one(Subject, statement.subject_id)
    key = key_of(vault, subject)
    scan = b""
    if statement.evidence_blob is not None:
        scan = vault.open_blob(
            subject=subject.uid, key=key, blob=statement.evidence_blob, kind=KIND
        )
    audit.append(
        session,
        action="evidence.opened",
        actor=audit.actor_of(by),
        subject=subject,
    )
    return Evidence(
        name=open_words(vault, subject, statement, "sealed_name"),
        note=open_words(vault, subject, statement, "sealed_note"),
        scan=scan,
        media_type=statement.evidence_type,
    )


def open_words(vault: Vault, subject: Subject, statement: ConsentStatement, column: str) -> str:
    """One sealed column of a statement in the clear; empty when there is none."""
    sealed: bytes | None = getattr(statement, column)
    if sealed is None:
        return ""
    return vault.open_field(
        subject=subject.uid,
        key=key_of(vault, subject),
        table="statements",
        column=column,
        row=statement.uid,
        sealed=sealed,
    )


def forget_statements(session: Session, *, subject: Subject) -> None:
    """Empties what is sealed of a person's statements; their blobs have to go, too."""
    session.execute(
        update(ConsentStatement)
        .where(ConsentStatement.subject_id == subject.id)
        .values(sealed_name=None, sealed_note=None, evidence_blob=None, evidence_type=None)
    )
