"""Lending faces to people: leases.

A task's ``free`` counts the votes that are neither given nor lent. Taking a lease takes one, under
the database's write lock (SQLite) or the task's row lock (PostgreSQL), so two people never hold
the same last vote. The index ``ix_tasks_free`` holds only tasks with something free, in order, and
each person's ``Place`` says where to go on in it: what a lease costs does not grow with the set.
"""

import contextlib
import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, case, delete, literal_column, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, contains_eager

from annotator.core.db import now
from annotator.core.errors import InvalidInput, NotFound
from annotator.domain import accounts, audit, consent
from annotator.models import (
    MODES,
    Annotation,
    Dataset,
    Face,
    Lease,
    ModelVersion,
    Place,
    Prediction,
    Skip,
    Subject,
    Task,
    User,
)

MAX_LEASES = 200  # held at once by one person in one dataset
LAPSE_BATCH = 200  # expired leases given back per call, so that no call pays for all
_NONE: ColumnElement[int] = literal_column(
    "0"
)  # a bound parameter would keep SQLite from the partial index


@dataclass(frozen=True, slots=True)
class Prelabel:
    """A model's suggestion; ``probability`` lies between 0 and 1."""

    label: str
    probability: float
    model: str
    model_id: int


@dataclass(frozen=True, slots=True)
class Leased:
    """A task lent to a person, its face, and the suggestion that they may see."""

    task: Task
    face: Face
    mode: str
    prelabel: Prelabel | None


def lease_tasks(
    session: Session,
    *,
    dataset: Dataset,
    user: User,
    n: int,
    mode: str = "focus",
    at: dt.datetime | None = None,
    seconds: int = 900,
) -> list[Leased]:
    """Lends up to ``n`` faces to a person.

    First come those that they hold already in this mode (asking again renews them), then new ones
    in the dataset's order, then those that they hold from another mode.

    Args:
        session: the open transaction; it writes.
        dataset: where from.
        user: who labels.
        n: how many they should hold, 1 to ``MAX_LEASES``.
        mode: one of ``MODES`` but ``import``.
        at: the moment; now when omitted.
        seconds: how long a lease lasts.

    Raises:
        InvalidInput: ``n`` or ``mode`` out of bounds.
        NotFound: not a member of the dataset.
    """
    at = at or now()
    check_request(n=n, mode=mode)
    check_member(session, user=user, dataset=dataset)
    ends = at + dt.timedelta(seconds=seconds)
    place = lock_place(session, dataset=dataset, user=user)
    held = list_held(session, dataset=dataset, user=user, at=at)
    same = [leased for leased in held if leased.mode == mode][:n]
    renew(session, user=user, leased=same, mode=mode, at=at, ends=ends)
    give_back_expired(session, at=at)
    missing = n - len(same)
    tasks = _next_tasks(session, place, dataset=dataset, user=user, n=missing, at=at)
    new = lend(session, dataset=dataset, user=user, tasks=tasks, mode=mode, at=at, ends=ends)
    missing -= len(new)
    other = [leased for leased in held if leased.mode != mode][:missing]
    renew(session, user=user, leased=other, mode=mode, at=at, ends=ends)
    return [*same, *new, *other]


def check_request(*, n: int, mode: str) -> None:
    """Refuses a request for leases that is out of bounds.

    Raises:
        InvalidInput: with one sentence.
    """
    if not 1 <= n <= MAX_LEASES:
        raise InvalidInput(f"Ask for 1 to {MAX_LEASES} faces at once.")
    if mode not in MODES or mode == "import":
        raise InvalidInput("The mode is one of focus, sweep, map and review.")


def check_member(session: Session, *, user: User, dataset: Dataset) -> None:
    """Refuses a person who may not see a dataset.

    Raises:
        NotFound: as if there were none.
    """
    if not accounts.is_member(session, user=user, dataset_id=dataset.id):
        raise NotFound("There is no such dataset.")


def list_held(
    session: Session,
    *,
    dataset: Dataset,
    user: User,
    mode: str | None = None,
    at: dt.datetime | None = None,
) -> list[Leased]:
    """What a person holds, in the dataset's order; reads only.

    An expired lease that nobody asked back yet is held still. What the gate no longer allows is
    left out, a suggestion as much as a face; where no model may look at a face, every suggestion.
    """
    at = at or now()
    silent = consent.inference_forbidden(session) is not None
    suggesting = consent.allowing("prelabel", at)
    query = (
        select(Lease, Task, ModelVersion.name, suggesting)
        .join(Task, Task.id == Lease.task_id)
        .join(Task.face)
        .join(Subject, Subject.id == Face.subject_id)
        .outerjoin(ModelVersion, ModelVersion.id == Lease.model_id)
        .where(
            Lease.held,
            Lease.user_id == user.id,
            Task.dataset_id == dataset.id,
            consent.allowing("label", at),
        )
        .options(contains_eager(Task.face))
        .order_by(Task.rank, Task.id)
    )
    if mode is not None:
        query = query.where(Lease.mode == mode)
    return [
        Leased(task, task.face, lease.mode, _suggested(lease, name) if may and not silent else None)
        for lease, task, name, may in session.execute(query)
    ]


def _suggested(lease: Lease, name: str | None) -> Prelabel | None:
    if lease.prelabel is None or lease.model_id is None:
        return None
    return Prelabel(lease.prelabel, lease.prelabel_probability or 0.0, name or "", lease.model_id)


def renew(
    session: Session,
    *,
    user: User,
    leased: Sequence[Leased],
    mode: str,
    at: dt.datetime,
    ends: dt.datetime,
) -> None:
    """Prolongs what a person holds, once half of its time is over, and moves it to a mode."""
    mine = select(Lease.id).where(
        Lease.held,
        Lease.user_id == user.id,
        Lease.task_id.in_([item.task.id for item in leased]),
        (Lease.expires_at < at + (ends - at) / 2) | (Lease.mode != mode),
    )
    due = list(session.scalars(mine.with_for_update(skip_locked=True))) if leased else []
    if due:
        session.execute(update(Lease).where(Lease.id.in_(due)).values(expires_at=ends, mode=mode))


def give_back_expired(session: Session, *, at: dt.datetime) -> int:
    """Gives the votes of expired leases back to their tasks, oldest first, a batch at a time.

    Returns:
        How many were given back.
    """
    expired = session.execute(
        select(Lease.id, Task.id)
        .join(Task, Task.id == Lease.task_id)
        .where(Lease.held, Lease.expires_at <= at)
        .order_by(Lease.expires_at)
        .limit(LAPSE_BATCH)
        .with_for_update(skip_locked=True)
    ).all()
    if expired:
        ids = [lease_id for lease_id, _ in expired]
        session.execute(update(Lease).where(Lease.id.in_(ids)).values(held=False))
        give_back(session, task_ids=[task_id for _, task_id in expired])
    return len(expired)


def give_back(session: Session, *, task_ids: Iterable[int]) -> None:
    """Frees one vote of each task named, as often as it is named, never above what is wanted."""
    by_count: dict[int, list[int]] = {}
    for task_id, count in Counter(task_ids).items():
        by_count.setdefault(count, []).append(task_id)
    for count, ids in by_count.items():
        room = Task.wanted - Task.given
        more = case((Task.free + count < room, Task.free + count), (room > 0, room), else_=0)
        session.execute(update(Task).where(Task.id.in_(ids)).values(free=more))


def lend(
    session: Session,
    *,
    dataset: Dataset,
    user: User,
    tasks: Sequence[Task],
    mode: str,
    at: dt.datetime,
    ends: dt.datetime,
) -> list[Leased]:
    """Writes leases for tasks that have a vote free, with what will be suggested."""
    if not tasks:
        return []
    ids = [task.id for task in tasks]
    suggestions = _prelabels(session, dataset=dataset, tasks=tasks, at=at)
    # A lease of the same person that lapsed, or was never used, makes room for the new one.
    session.execute(delete(Lease).where(Lease.task_id.in_(ids), Lease.user_id == user.id))
    session.execute(update(Task).where(Task.id.in_(ids)).values(free=Task.free - 1))
    lent = []
    for task in tasks:
        prelabel = suggestions.get(task.face_id)
        session.add(_lease(task, user, mode, ends, prelabel))
        lent.append(Leased(task, task.face, mode, prelabel))
    session.flush()
    audit.append(
        session,
        action="faces.lent",
        actor=audit.actor_of(user.id),
        dataset=dataset.id,
        mode=mode,
        faces=len(lent),
    )
    return lent


def _lease(
    task: Task, user: User, mode: str, ends: dt.datetime, prelabel: Prelabel | None
) -> Lease:
    return Lease(
        task_id=task.id,
        user_id=user.id,
        mode=mode,
        expires_at=ends,
        prelabel=prelabel.label if prelabel else None,
        prelabel_probability=prelabel.probability if prelabel else None,
        model_id=prelabel.model_id if prelabel else None,
    )


def _prelabels(
    session: Session, *, dataset: Dataset, tasks: Sequence[Task], at: dt.datetime
) -> dict[int, Prelabel]:
    seeing = [task.face_id for task in tasks if not task.blind]
    if not seeing or consent.inference_forbidden(session) is not None:
        return {}
    rows = session.execute(
        select(
            Prediction.face_id,
            Prediction.label,
            Prediction.probability,
            ModelVersion.name,
            ModelVersion.id,
        )
        .join(ModelVersion, ModelVersion.id == Prediction.model_id)
        .join(Face, Face.id == Prediction.face_id)
        .join(Subject, Subject.id == Face.subject_id)
        .where(
            Prediction.face_id.in_(seeing),
            ModelVersion.state == "current",
            Prediction.probability >= dataset.prelabel_threshold,
            consent.allowing("prelabel", at),
        )
    )
    return {
        face_id: Prelabel(label, probability, name, model_id)
        for face_id, label, probability, name, model_id in rows
    }


def lendable(*, dataset: Dataset, user: User, at: dt.datetime) -> Select[Task]:
    """Tasks with a vote free that a person has not seen and that the gate allows."""
    return (
        select(Task)
        .join(Task.face)
        .join(Subject, Subject.id == Face.subject_id)
        .where(
            Task.dataset_id == dataset.id,
            Task.free > _NONE,
            ~_seen(user),
            consent.allowing("label", at),
        )
        .options(contains_eager(Task.face))
        .with_for_update(skip_locked=True, of=Task)
        .execution_options(populate_existing=True)
    )


def _seen(user: User) -> ColumnElement[bool]:
    voted = select(Annotation.id).where(
        Annotation.task_id == Task.id,
        Annotation.rater == rater_of(user),
        Annotation.taken_back_at.is_(None),
    )
    skipped = select(Skip.id).where(Skip.task_id == Task.id, Skip.user_id == user.id)
    held = select(Lease.id).where(Lease.task_id == Task.id, Lease.user_id == user.id, Lease.held)
    return voted.exists() | skipped.exists() | held.exists()


def rater_of(user: User) -> str:
    """How figures and exports name a person."""
    return str(user.id)


def lock_place(session: Session, *, dataset: Dataset, user: User) -> Place:
    """A person's place, locked: two requests of one person must not lend the same face."""
    query = (
        select(Place)
        .where(Place.user_id == user.id, Place.dataset_id == dataset.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    place = session.scalar(query)
    if place is None:
        with contextlib.suppress(IntegrityError), session.begin_nested():
            session.add(Place(user_id=user.id, dataset_id=dataset.id, rank=-1.0, task_id=0))
        place = session.scalars(query).one()
    return place


def _next_tasks(
    session: Session, place: Place, *, dataset: Dataset, user: User, n: int, at: dt.datetime
) -> list[Task]:
    if n <= 0:
        return []
    query = lendable(dataset=dataset, user=user, at=at).order_by(Task.rank, Task.id)
    here, there = tuple_(Task.rank, Task.id), tuple_(place.rank, place.task_id)
    found = list(session.scalars(query.where(here > there).limit(n)))
    if len(found) < n:  # from the top: what others skipped, or let lapse, since
        found += session.scalars(query.where(here <= there).limit(n - len(found)))
    if found:
        place.rank, place.task_id = found[-1].rank, found[-1].id
    return found


def lend_back(session: Session, *, annotation: Annotation, user: User, ends: dt.datetime) -> None:
    """Lends the face of a vote that was taken back to its person; the vote's place is theirs."""
    session.execute(
        delete(Lease).where(Lease.task_id == annotation.task_id, Lease.user_id == user.id)
    )
    session.add(
        Lease(
            task_id=annotation.task_id,
            user_id=user.id,
            mode=annotation.mode,
            expires_at=ends,
            prelabel=annotation.prelabel,
            prelabel_probability=annotation.prelabel_probability,
            model_id=annotation.model_id,
        )
    )
    session.flush()
