"""What people are told. A notice is immutable; a change is a new version."""

import hashlib
from collections.abc import Collection

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.core.errors import Conflict, InvalidInput
from annotator.domain import audit
from annotator.domain.consent.gate import check_purposes
from annotator.models import PURPOSES, Dataset, Notice

NOTICE = """\
{organisation} keeps pictures of you to teach computers what facial expressions look like.

You choose each use on its own, and you may change your mind at any time, without giving a reason: \
your pictures are encrypted with a key of your own, and when you withdraw, that key is destroyed.

- keep: we keep your pictures, encrypted.
- show: trained people see the part of a picture that shows your face, and say what it expresses.
- let a model guess: an emotion model runs on your pictures and suggests a label.
- train: your pictures help to train a model here.
- share pseudonymised: your face, without your name, goes to named recipients.
- share averaged: your face goes out only averaged with at least four other people's.
- publish the model: a model that your pictures helped to train may be published.

Your consent ends on its own after {years} years. Ask {contact} about anything, for a copy of what \
we hold, to correct it or to withdraw; you may also complain to a data protection authority.
"""


def create_notice(
    session: Session,
    *,
    dataset: Dataset,
    text: str,
    purposes: Collection[str] = PURPOSES,
    locale: str = "en",
    by: int | None = None,
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
        session,
        action="notice.created",
        actor=audit.actor_of(by),
        notice=notice.id,
        digest=notice.digest,
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


def list_notices(session: Session, *, dataset: Dataset) -> list[Notice]:
    """Every version, newest first."""
    return list(
        session.scalars(
            select(Notice).where(Notice.dataset_id == dataset.id).order_by(Notice.id.desc())
        )
    )


def fill_notice(*, organisation: str, contact: str, years: int) -> str:
    """The standard text with an organisation's own words in it, ready to be edited."""
    return NOTICE.format(organisation=organisation, contact=contact, years=years)
