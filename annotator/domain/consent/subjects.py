"""The people in the pictures, each with a key of their own."""

import secrets

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.errors import Conflict, KeyDestroyed, NotFound
from annotator.domain import audit
from annotator.domain.ports import SubjectKey, Vault
from annotator.models import Dataset, Installation, Subject


def create_subject(
    session: Session,
    *,
    vault: Vault,
    dataset: Dataset,
    code: str = "",
    name: str = "",
    contact: str = "",
    group: str | None = None,
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
    )
    for column, text in (("sealed_name", name.strip()), ("sealed_contact", contact.strip())):
        if text:
            sealed = vault.seal_field(
                subject=uid, key=key, table="subjects", column=column, row=uid, text=text
            )
            setattr(subject, column, sealed)
    session.add(subject)
    session.flush()
    actor = audit.actor_of(by)
    audit.append(session, action="subject.created", actor=actor, subject=subject.id)
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
    key = key_of(vault, subject)

    def read(column: str, sealed: bytes | None) -> str:
        if sealed is None:
            return ""
        return vault.open_field(
            subject=subject.uid,
            key=key,
            table="subjects",
            column=column,
            row=subject.uid,
            sealed=sealed,
        )

    found = (
        read("sealed_name", subject.sealed_name),
        read("sealed_contact", subject.sealed_contact),
    )
    actor = audit.actor_of(by)
    audit.append(session, action="subject.contact_opened", actor=actor, subject=subject.id)
    return found


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
