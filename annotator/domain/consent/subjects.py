"""The people in the pictures, each with a key of their own."""

import datetime as dt
import secrets

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.errors import Conflict, KeyDestroyed, NotFound
from annotator.domain import audit
from annotator.domain.ports import SubjectKey, Vault
from annotator.models import ConsentStatement, Dataset, Installation, Subject


def create_subject(
    session: Session,
    *,
    vault: Vault,
    dataset: Dataset,
    code: str = "",
    name: str = "",
    contact: str = "",
    group: str | None = None,
    majority_at: dt.datetime | None = None,
    guardian_name: str = "",
    guardian_contact: str = "",
    by: int | None = None,
) -> Subject:
    """Adds a person who may come to be in pictures, with a key of their own. No consent yet.

    Args:
        session: the open transaction.
        vault: makes the key and seals name and contact under it.
        dataset: where the pictures go.
        code: how staff call them; made up when empty.
        name: sealed; may be empty.
        contact: sealed; may be empty.
        group: a group that the person named themselves, for fairness figures.
        majority_at: for a minor, the day from which they speak for themselves.
        guardian_name: of whoever speaks for them; sealed; may be empty.
        guardian_contact: likewise.
        by: who recorded it.

    Raises:
        Conflict: the code is taken.
    """
    code = code.strip() or f"P-{secrets.token_hex(4)}"
    if find_subject(session, dataset=dataset, code=code) is not None:
        raise Conflict(f"There is a person '{code}' in this dataset already.")
    # Keys are not renewed while one is being made: see ``erasure.renew_epoch``.
    session.execute(select(Installation.id).with_for_update(read=True))
    uid = secrets.token_hex(16)
    key = vault.create_key(uid)
    subject = Subject(
        uid=uid,
        dataset_id=dataset.id,
        code=code,
        group=group or None,
        wrapped_key=key.wrapped,
        key_epoch=key.epoch,
        key_version=key.version,
        majority_at=majority_at,
    )
    seal_words(
        subject,
        vault=vault,
        subject=subject,
        key=key,
        sealed_name=name,
        sealed_contact=contact,
        sealed_guardian_name=guardian_name,
        sealed_guardian_contact=guardian_contact,
    )
    session.add(subject)
    session.flush()
    audit.entrust(session, vault=vault)
    actor = audit.actor_of(by)
    audit.append(session, action="subject.created", actor=actor, subject=subject)
    return subject


def find_subject(session: Session, *, dataset: Dataset, code: str) -> Subject | None:
    """The person with this code, if there is one."""
    return session.scalar(
        select(Subject).where(Subject.dataset_id == dataset.id, Subject.code == code)
    )


def get_subject(session: Session, *, subject_id: int) -> Subject:
    """Finds a person.

    Raises:
        NotFound: there is none with this number.
    """
    subject = session.get(Subject, subject_id)
    if subject is None:
        raise NotFound("There is no such person.")
    return subject


def key_of(vault: Vault, subject: Subject) -> SubjectKey:
    """The subject's wrapped key, ready for the vault; with the one before while both are in use.

    Raises:
        KeyDestroyed: they withdrew.
    """
    key = present_key_of(vault, subject)
    return next_key_of(vault, subject, previous=key) or key


def present_key_of(vault: Vault, subject: Subject) -> SubjectKey:
    """The key in force alone, although another one may be replacing it.

    Raises:
        KeyDestroyed: they withdrew.
    """
    if subject.wrapped_key is None or subject.key_epoch is None or subject.key_version is None:
        raise KeyDestroyed("This person withdrew; their key no longer exists.")
    return vault.restore_key(subject.wrapped_key, subject.key_epoch, subject.key_version)


def next_key_of(
    vault: Vault, subject: Subject, *, previous: SubjectKey | None = None
) -> SubjectKey | None:
    """The key that is replacing the subject's; ``None`` when none is."""
    wrapped, epoch = subject.next_wrapped_key, subject.next_key_epoch
    version = subject.next_key_version
    if wrapped is None or epoch is None or version is None:
        return None
    return vault.restore_key(wrapped, epoch, version, previous)


def hold_key(session: Session, *, vault: Vault, subject: Subject) -> SubjectKey:
    """The key to seal with, as it is now; nobody replaces or destroys it before this commits.

    Raises:
        KeyDestroyed: they withdrew.
    """
    # In this order everywhere: see ``create_subject``.
    session.execute(select(Installation.id).with_for_update(read=True))
    session.refresh(subject, with_for_update={"read": True})
    return key_of(vault, subject)


def hold_if_sealing(session: Session, *, subject: Subject, key: SubjectKey) -> bool:
    """Tells whether what was sealed with a key a moment ago can be written down.

    If so, that stays so until this commits. If not, the person has another key or none by now, and
    what was sealed opens for nobody: it has to be made again.
    """
    session.execute(select(Installation.id).with_for_update(read=True))
    session.refresh(subject, with_for_update={"read": True})
    return key.version in {subject.key_version, subject.next_key_version}


def open_contact(session: Session, *, vault: Vault, subject: Subject, by: int) -> tuple[str, str]:
    """Name and contact of a person, in the clear; the log says who looked.

    Raises:
        KeyDestroyed: they withdrew.
    """
    key_of(vault, subject)
    found = (
        open_column(vault, subject, "sealed_name"),
        open_column(vault, subject, "sealed_contact"),
    )
    actor = audit.actor_of(by)
    audit.append(session, action="subject.contact_opened", actor=actor, subject=subject)
    return found


def open_guardian(session: Session, *, vault: Vault, subject: Subject, by: int) -> tuple[str, str]:
    """Name and contact of who speaks for a person, in the clear; the log says who looked.

    Raises:
        KeyDestroyed: they withdrew.
    """
    key_of(vault, subject)
    found = (
        open_column(vault, subject, "sealed_guardian_name"),
        open_column(vault, subject, "sealed_guardian_contact"),
    )
    actor = audit.actor_of(by)
    audit.append(session, action="subject.guardian_opened", actor=actor, subject=subject)
    return found


def set_guardian(
    session: Session,
    *,
    vault: Vault,
    subject: Subject,
    majority_at: dt.datetime | None,
    name: str = "",
    contact: str = "",
    by: int | None = None,
    actor: str | None = None,
) -> None:
    """Writes down that somebody speaks for a person, and until when; ``None``: not because of age.

    Consents that a minor gave alone count no more from now on, see ``gate``; an empty name or
    contact leaves the one that is there.

    Raises:
        KeyDestroyed: they withdrew.
    """
    key = hold_key(session, vault=vault, subject=subject)
    subject.majority_at = majority_at
    seal_words(
        subject,
        vault=vault,
        subject=subject,
        key=key,
        sealed_guardian_name=name,
        sealed_guardian_contact=contact,
    )
    session.flush()
    actor = actor or audit.actor_of(by)
    audit.append(session, action="subject.guardian_set", actor=actor, subject=subject)


def open_column(vault: Vault, subject: Subject, column: str) -> str:
    """One sealed column of a person in the clear; empty when there is none."""
    sealed: bytes | None = getattr(subject, column)
    if sealed is None:
        return ""
    return vault.open_field(
        subject=subject.uid,
        key=key_of(vault, subject),
        table="subjects",
        column=column,
        row=subject.uid,
        sealed=sealed,
    )


def seal_words(
    row: Subject | ConsentStatement,
    *,
    vault: Vault,
    subject: Subject,
    key: SubjectKey,
    **columns: str,
) -> None:
    """Seals texts into columns of a row of a person; an empty text leaves what is there."""
    for column, text in columns.items():
        if text.strip():
            sealed = vault.seal_field(
                subject=subject.uid,
                key=key,
                table=row.__tablename__,
                column=column,
                row=row.uid,
                text=text.strip(),
            )
            setattr(row, column, sealed)


def suggest_codes(session: Session, *, dataset: Dataset, text: str, limit: int = 20) -> list[str]:
    """Codes that hold a text, of people who have not withdrawn; for a search field."""
    return list(
        session.scalars(
            select(Subject.code)
            .where(
                Subject.dataset_id == dataset.id,
                Subject.withdrawn_at.is_(None),
                Subject.code.icontains(text, autoescape=True),
            )
            .order_by(Subject.code)
            .limit(limit)
        )
    )
