"""How many keys there are, of which age, and what is still under way."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.models import RetiredBlob, Subject


@dataclass(frozen=True, slots=True)
class KeyCount:
    """People whose key is wrapped under one epoch and of one version."""

    epoch: int
    version: int
    keys: int


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Keys that are being replaced.

    Attributes:
        people: who have two keys at the moment.
        blobs: sealed again, but the old ones are still there.
    """

    people: int
    blobs: int


def count_keys(session: Session) -> list[KeyCount]:
    """People's keys by epoch and version, oldest first; people who withdrew have none."""
    rows = session.execute(
        select(Subject.key_epoch, Subject.key_version, func.count())
        .where(Subject.wrapped_key.is_not(None))
        .group_by(Subject.key_epoch, Subject.key_version)
        .order_by(Subject.key_epoch, Subject.key_version)
    )
    return [KeyCount(epoch or 0, version or 0, count) for epoch, version, count in rows]


def count_unfinished(session: Session) -> Unfinished:
    """What ``rekey_subject`` has not brought to its end."""
    people = select(func.count()).where(Subject.next_wrapped_key.is_not(None))
    return Unfinished(
        people=session.scalar(people) or 0,
        blobs=session.scalar(select(func.count()).select_from(RetiredBlob)) or 0,
    )
