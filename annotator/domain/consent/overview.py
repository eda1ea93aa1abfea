"""Where people stand, many at once. Asks the gate as a condition, so the two cannot differ."""

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import ColumnElement, bindparam, case, func, select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import InvalidInput
from annotator.domain.consent.gate import allowing
from annotator.models import (
    PURPOSES,
    Annotation,
    Dataset,
    ExportItem,
    Face,
    Image,
    Prediction,
    Subject,
    Task,
)

SOON = dt.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Standing:
    """One person at a glance.

    Attributes:
        subject: the person.
        purposes: what is allowed now.
        ends_soon: whether ``store`` is allowed now and will have ended in 30 days.
        images: pictures held, those that failed or were rejected included.
    """

    subject: Subject
    purposes: tuple[str, ...]
    ends_soon: bool
    images: int

    @property
    def state(self) -> str:
        """One word: ``withdrawn``, ``no consent``, ``ends soon`` or ``consents``."""
        if self.subject.withdrawn_at is not None:
            return "withdrawn"
        if not self.purposes:
            return "no consent"
        return "ends soon" if self.ends_soon else "consents"


STATES = ("consents", "ends soon", "no consent", "withdrawn")
MONTHS = 12


def list_standings(
    session: Session,
    *,
    dataset: Dataset,
    text: str = "",
    state: str = "",
    after: int = 0,
    limit: int = 50,
) -> list[Standing]:
    """People whose code holds ``text`` and who are in a state, oldest first, behind a cursor."""
    query = select(Subject.id).where(Subject.dataset_id == dataset.id, Subject.id > after)
    if state:
        query = query.where(_is_in(state))
    if text:
        query = query.where(Subject.code.icontains(text, autoescape=True))
    return _stand(session, list(session.scalars(query.order_by(Subject.id).limit(limit))))


def count_states(session: Session, *, dataset: Dataset) -> dict[str, int]:
    """How many people are in each state."""
    found = {}
    for state in STATES:
        query = select(func.count(Subject.id)).where(Subject.dataset_id == dataset.id)
        found[state] = session.scalar(query.where(_is_in(state))) or 0
    return found


def count_over_time(
    session: Session, *, dataset: Dataset, at: dt.datetime | None = None, months: int = MONTHS
) -> list[tuple[dt.datetime, dict[str, int]]]:
    """How many people allowed each purpose, now and at the first of the months before.

    People who were erased since are in no figure, also not in those of before: what the gate says
    of them is no, at any moment.

    Returns:
        The moments, oldest first, with a count for every purpose.
    """
    moment = at or now()
    days = [moment]
    first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for _ in range(months):
        days.append(first)
        first = (first - dt.timedelta(days=1)).replace(day=1)
    # Writing the gate down as SQL takes longer than asking it; so once, for every moment.
    when = bindparam("moment", type_=Subject.created_at.type)
    query = select(*(func.count(case((allowing(purpose, when), 1))) for purpose in PURPOSES)).where(
        Subject.dataset_id == dataset.id
    )
    return [
        (day, dict(zip(PURPOSES, session.execute(query, {"moment": day}).one(), strict=True)))
        for day in reversed(days)
    ]


def _is_in(state: str) -> ColumnElement[bool]:
    """A state as a condition on ``Subject``; must say the same as ``Standing.state``.

    Raises:
        InvalidInput: there is no such state.
    """
    moment = now()
    stands, lasts = allowing("store", moment), allowing("store", moment + SOON)
    conditions = {
        "withdrawn": Subject.withdrawn_at.is_not(None),
        "no consent": Subject.withdrawn_at.is_(None) & ~stands,
        "ends soon": stands & ~lasts,
        "consents": stands & lasts,
    }
    if state not in conditions:
        raise InvalidInput(f"A person's state is one of {', '.join(STATES)}.")
    return conditions[state]


def standing_of(session: Session, *, subject: Subject) -> Standing:
    """One person at a glance."""
    return _stand(session, [subject.id])[0]


def count_holdings(session: Session, *, subject: Subject) -> dict[str, int]:
    """What is held of a person: pictures, faces, votes, guesses, exports they are in."""
    faces = select(Face.id).where(Face.subject_id == subject.id)
    queries = {
        "faces": select(func.count()).select_from(Face).where(Face.subject_id == subject.id),
        "votes": select(func.count())
        .select_from(Annotation)
        .join(Task, Task.id == Annotation.task_id)
        .where(Task.face_id.in_(faces), Annotation.taken_back_at.is_(None)),
        "guesses": select(func.count())
        .select_from(Prediction)
        .where(Prediction.face_id.in_(faces)),
        "exports": select(func.count(ExportItem.export_id.distinct())).where(
            ExportItem.subject_id == subject.id
        ),
    }
    held = {name: session.scalar(query) or 0 for name, query in queries.items()}
    return {"pictures": _count_images(session, [subject.id]).get(subject.id, 0), **held}


def _stand(session: Session, ids: list[int]) -> list[Standing]:
    moment = now()
    answers = [allowing(name, moment) for name in PURPOSES]
    rows = session.execute(
        select(Subject, allowing("store", moment + SOON), *answers)
        .where(Subject.id.in_(ids))
        .order_by(Subject.id)
    ).all()
    held = _count_images(session, ids)
    standings = []
    for subject, lasts, *found in rows:
        purposes = tuple(name for name, yes in zip(PURPOSES, found, strict=True) if yes)
        ends_soon = bool(purposes) and not lasts
        standings.append(Standing(subject, purposes, ends_soon, held.get(subject.id, 0)))
    return standings


def _count_images(session: Session, ids: list[int]) -> dict[int, int]:
    rows = session.execute(
        select(Image.subject_id, func.count())
        .where(Image.subject_id.in_(ids))
        .group_by(Image.subject_id)
    )
    return dict(rows.all())
