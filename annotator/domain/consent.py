"""Subjects, notices, consent events, and the one gate: ``allowed``.

The gate denies by default. Views, jobs, exporter and trainer all ask it, and nobody reads a pixel
past it.
"""

import datetime as dt
import hashlib
import secrets
from collections.abc import Collection, Iterable

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, aliased

from annotator.core.db import now
from annotator.core.errors import Conflict, ConsentMissing, InvalidInput, KeyDestroyed, NotFound
from annotator.domain import audit
from annotator.domain.ports import SubjectKey, Vault
from annotator.models import (
    EXPRESSIONS,
    PURPOSES,
    ConsentEvent,
    Dataset,
    Notice,
    Subject,
)

GRANTING = ("given", "renewed")
MAX_YEARS = 10

NOTICE = """\
{organisation} keeps pictures of you to teach computers what facial expressions look like.

You choose each use on its own, and you may change your mind at any time, without giving a reason:
your pictures are encrypted with a key of your own, and when you withdraw, that key is destroyed.

- keep: we keep your pictures, encrypted.
- show: trained people see the part of a picture that shows your face, and say what it expresses.
- let a model guess: an emotion model runs on your pictures and suggests a label.
- train: your pictures help to train a model here.
- share pseudonymised: your face, without your name, goes to named recipients.
- share averaged: your face goes out only averaged with at least four other people's.
- publish the model: a model that your pictures helped to train may be published.

Your consent ends on its own after {years} years. Ask {contact} about anything, for a copy of what
we hold, to correct it or to withdraw; you may also complain to a data protection authority.
"""


def create_notice(
    session: Session,
    *,
    dataset: Dataset,
    text: str,
    purposes: Collection[str] = PURPOSES,
    locale: str = "en",
) -> Notice:
    """Writes down what people are told from now on; earlier versions stay as they were.

    Raises:
        InvalidInput: an empty text or an unknown purpose.
    """
    if not text.strip():
        raise InvalidInput("A notice needs a text.")
    check_purposes(purposes)
    newest = session.scalar(
        select(func.max(Notice.version)).where(
            Notice.dataset_id == dataset.id, Notice.locale == locale
        )
    )
    notice = Notice(
        dataset_id=dataset.id,
        version=(newest or 0) + 1,
        locale=locale,
        text=text,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        purposes=[purpose for purpose in PURPOSES if purpose in purposes],
    )
    session.add(notice)
    session.flush()
    audit.append(
        session, action="notice.created", actor="cli", notice=notice.id, digest=notice.digest
    )
    return notice


def current_notice(session: Session, *, dataset: Dataset, locale: str = "en") -> Notice:
    """The notice in force.

    Raises:
        Conflict: there is none yet, so nobody can consent.
    """
    notice = session.scalar(
        select(Notice)
        .where(Notice.dataset_id == dataset.id, Notice.locale == locale)
        .order_by(Notice.version.desc())
        .limit(1)
    )
    if notice is None:
        raise Conflict("This dataset has no notice yet; write what people are told first.")
    return notice


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
    """The subject's wrapped key, ready for the vault.

    Raises:
        KeyDestroyed: they withdrew.
    """
    if subject.wrapped_key is None or subject.key_epoch is None or subject.key_version is None:
        raise KeyDestroyed("This person withdrew; their key no longer exists.")
    return vault.restore_key(subject.wrapped_key, subject.key_epoch, subject.key_version)


def record_consent(
    session: Session,
    *,
    subject: Subject,
    purposes: Iterable[str],
    notice: Notice,
    expression: str,
    expires_at: dt.datetime,
    at: dt.datetime | None = None,
    by: int | None = None,
) -> list[ConsentEvent]:
    """Writes down that a person agreed to some purposes.

    Args:
        session: the open transaction.
        subject: who agreed.
        purposes: each on its own; see ``PURPOSES``.
        notice: what they were told.
        expression: how they said it; see ``EXPRESSIONS``.
        expires_at: when it ends on its own; at most ten years ahead.
        at: when they said it; now when omitted.
        by: who recorded it.

    Raises:
        InvalidInput: an unknown purpose or expression, one that the notice does not tell of, or
            an end that is past or too far.
        Conflict: they withdrew everything; that is final.
    """
    at = at or now()
    chosen = list(dict.fromkeys(purposes))
    check_purposes(chosen)
    if subject.withdrawn_at is not None:
        raise Conflict("This person withdrew everything and was erased; add them anew.")
    if expression not in EXPRESSIONS:
        raise InvalidInput(f"Consent is expressed as one of {', '.join(EXPRESSIONS)}.")
    if not set(chosen) <= set(notice.purposes):
        raise InvalidInput("The notice does not tell of all these purposes.")
    if not at < expires_at <= at + dt.timedelta(days=366 * MAX_YEARS):
        raise InvalidInput(f"Consent must end after it begins and within {MAX_YEARS} years.")
    before = given_purposes(session, subject=subject, at=at)
    events = [
        ConsentEvent(
            subject_id=subject.id,
            purpose=purpose,
            kind="renewed" if purpose in before else "given",
            notice_id=notice.id,
            expression=expression,
            at=at,
            expires_at=expires_at,
            recorded_by=by,
        )
        for purpose in chosen
    ]
    session.add_all(events)
    session.flush()
    audit.append(
        session,
        action="consent.given",
        actor=audit.actor_of(by),
        subject=subject.id,
        purposes=chosen,
        notice=notice.id,
    )
    return events


def withdraw_purposes(
    session: Session, *, subject: Subject, purposes: Iterable[str], by: int | None = None
) -> None:
    """Writes down that a person takes back some purposes; takes effect with the commit.

    Withdrawing ``store`` is more than this: see ``annotator.domain.erasure``.
    """
    chosen = list(dict.fromkeys(purposes))
    check_purposes(chosen)
    moment = now()
    session.add_all(
        ConsentEvent(
            subject_id=subject.id, purpose=purpose, kind="withdrawn", at=moment, recorded_by=by
        )
        for purpose in chosen
    )
    session.flush()
    audit.append(
        session,
        action="consent.withdrawn",
        actor=audit.actor_of(by),
        subject=subject.id,
        purposes=chosen,
    )


def allowed(
    session: Session, *, subject: Subject, purpose: str, at: dt.datetime | None = None
) -> ConsentEvent | None:
    """The one gate. Asks whether a purpose is allowed for a person at a moment.

    Args:
        session: the open transaction.
        subject: whose pixels are wanted.
        purpose: what for; an unknown one is never allowed.
        at: the moment; now when omitted.

    Returns:
        The consent event that allows it, or ``None``. The newest event on the purpose decides;
        nothing is allowed without ``store``, nor after an erasure.
    """
    at = at or now()
    if subject.withdrawn_at is not None or purpose not in PURPOSES:
        return None
    if purpose != "store" and _granting(session, subject, "store", at) is None:
        return None
    return _granting(session, subject, purpose, at)


def require(
    session: Session, *, subject: Subject, purpose: str, at: dt.datetime | None = None
) -> ConsentEvent:
    """Like ``allowed``, but refuses.

    Raises:
        ConsentMissing: with a sentence that says whose consent to what is missing.
    """
    event = allowed(session, subject=subject, purpose=purpose, at=at)
    if event is None:
        raise ConsentMissing(
            f"{subject.code} has not consented to '{purpose}' (or it has ended): "
            "record their consent on their page first."
        )
    return event


def given_purposes(
    session: Session, *, subject: Subject, at: dt.datetime | None = None
) -> dict[str, ConsentEvent]:
    """Every purpose that is allowed at a moment, with the event that allows it."""
    found = ((p, allowed(session, subject=subject, purpose=p, at=at)) for p in PURPOSES)
    return {purpose: event for purpose, event in found if event is not None}


def allowing(purpose: str, at: dt.datetime) -> ColumnElement[bool]:
    """The gate as a condition on ``Subject`` for queries over many people.

    Must say the same as ``allowed``; a property test compares the two.
    """
    if purpose not in PURPOSES:
        return Subject.id.is_(None)
    needed = {purpose, "store"}
    condition: ColumnElement[bool] = Subject.withdrawn_at.is_(None)
    for name in sorted(needed):
        condition = condition & _standing(name, at)
    return condition


def check_purposes(purposes: Iterable[str]) -> None:
    """Refuses a purpose that we do not know.

    Raises:
        InvalidInput: with the names that we do know.
    """
    unknown = sorted(set(purposes) - set(PURPOSES))
    if unknown:
        raise InvalidInput(f"There is no purpose '{unknown[0]}'; there are {', '.join(PURPOSES)}.")


def _granting(
    session: Session, subject: Subject, purpose: str, at: dt.datetime
) -> ConsentEvent | None:
    newest = session.scalar(
        select(ConsentEvent)
        .where(
            ConsentEvent.subject_id == subject.id,
            ConsentEvent.purpose == purpose,
            ConsentEvent.at <= at,
        )
        .order_by(ConsentEvent.at.desc(), ConsentEvent.id.desc())
        .limit(1)
    )
    if newest is None or newest.kind not in GRANTING:
        return None
    if newest.expires_at is None or newest.expires_at <= at:
        return None
    return newest


def _standing(purpose: str, at: dt.datetime) -> ColumnElement[bool]:
    event, later = aliased(ConsentEvent), aliased(ConsentEvent)
    newer = select(later.id).where(
        later.subject_id == event.subject_id,
        later.purpose == purpose,
        later.at <= at,
        (later.at > event.at) | ((later.at == event.at) & (later.id > event.id)),
    )
    return (
        select(event.id)
        .where(
            event.subject_id == Subject.id,
            event.purpose == purpose,
            event.at <= at,
            event.kind.in_(GRANTING),
            event.expires_at > at,
            ~newer.exists(),
        )
        .exists()
    )
