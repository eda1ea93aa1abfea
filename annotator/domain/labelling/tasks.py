"""Tasks: one for every face that is ready; imported votes and reviewers' decisions on them."""

import datetime as dt
import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from annotator.core.db import now
from annotator.core.emotions import LABEL_NAMES
from annotator.core.errors import Forbidden, InvalidInput, NotFound
from annotator.domain import accounts, audit, consent
from annotator.models import Annotation, Dataset, Face, Lease, Review, Task, User

MAX_COMMENT = 2000
_SPAN = 2.0**64  # a draw is 64 bits of a hash


@dataclass(frozen=True, slots=True)
class Own:
    """How many votes of one person stand: on the given day, and in the dataset since ever."""

    today: int
    total: int


def open_task(session: Session, *, face: Face, dataset: Dataset) -> Task:
    """Makes a face wait for votes; twice is once.

    Its place in the order and whether it is blind follow from the dataset's seed and the face's
    number alone, so the same import with the same seed gives the same order.
    """
    known = session.scalar(select(Task).where(Task.face_id == face.id))
    if known is not None:
        return known
    task = Task(
        dataset_id=dataset.id,
        face_id=face.id,
        wanted=dataset.votes_per_face,
        free=dataset.votes_per_face,
        rank=_draw(dataset.seed, "rank", face.id),
        blind=_draw(dataset.seed, "blind", face.id) < dataset.blind_share,
    )
    session.add(task)
    session.flush()
    return task


def _draw(seed: int, what: str, number: int) -> float:
    digest = hashlib.sha256(f"{seed}/{what}/{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / _SPAN


def get_task(session: Session, *, user: User, task_id: int, lock: bool = False) -> Task:
    """Finds a task of a dataset that the person may see, with its face and subject.

    Args:
        session: the open transaction.
        user: who asks.
        task_id: the task's number.
        lock: holds its row until the transaction ends, where the database has row locks.

    Raises:
        NotFound: there is none, or not for this person.
    """
    query = (
        select(Task)
        .where(Task.id == task_id)
        .options(joinedload(Task.face, innerjoin=True).joinedload(Face.subject, innerjoin=True))
    )
    if lock:
        query = query.with_for_update(of=Task).execution_options(populate_existing=True)
    task = session.scalar(query)
    if task is None or not accounts.is_member(session, user=user, dataset_id=task.dataset_id):
        raise NotFound("There is no such task.")
    return task


def import_votes(session: Session, *, task: Task, votes: Sequence[str]) -> int:
    """Adds the votes of an imported table; they count as votes of different people.

    Args:
        session: the open transaction.
        task: the face's task.
        votes: one label a column of the table; an empty one is a column without a vote. Column i
            becomes the rater ``import-i``, and the same column twice is one vote.

    Returns:
        How many were new.

    Raises:
        InvalidInput: a label that does not exist.
    """
    unknown = sorted({vote for vote in votes if vote} - set(LABEL_NAMES))
    if unknown:
        raise InvalidInput(f"There is no label '{unknown[0]}'; there are {', '.join(LABEL_NAMES)}.")
    known = set(
        session.scalars(
            select(Annotation.rater).where(
                Annotation.task_id == task.id, Annotation.mode == "import"
            )
        )
    )
    new = [
        Annotation(
            client_id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"task-{task.id}/import-{column}")),
            task_id=task.id,
            rater=f"import-{column}",
            label=vote,
            mode="import",
        )
        for column, vote in enumerate(votes)
        if vote and f"import-{column}" not in known
    ]
    if new:
        session.add_all(new)
        _count(session, task, len(new))
    return len(new)


def _count(session: Session, task: Task, votes: int) -> None:
    held = session.scalar(
        select(func.count()).select_from(Lease).where(Lease.task_id == task.id, Lease.held)
    )
    task.given += votes
    task.free = max(0, task.wanted - task.given - (held or 0))
    task.state = "done" if task.given >= task.wanted else "open"
    session.flush()


def review(session: Session, *, user: User, task_id: int, label: str, comment: str = "") -> Review:
    """Adds a reviewer's decision beside the votes; an earlier one stays.

    Raises:
        Forbidden: not a reviewer.
        InvalidInput: no such label, or a comment that is too long.
        ConsentMissing: the person may not be shown.
    """
    if not accounts.has_role(user, "reviewer"):
        raise Forbidden("Decisions are for reviewers.")
    if label not in LABEL_NAMES:
        raise InvalidInput(f"There is no label '{label}'; there are {', '.join(LABEL_NAMES)}.")
    comment = comment.strip()
    if len(comment) > MAX_COMMENT:
        raise InvalidInput(f"A comment has at most {MAX_COMMENT} characters.")
    task = get_task(session, user=user, task_id=task_id)
    consent.require(session, subject=task.face.subject, purpose="label")
    decision = Review(task_id=task.id, user_id=user.id, label=label, comment=comment)
    session.add(decision)
    session.flush()
    audit.append(
        session,
        action="review.added",
        actor=audit.actor_of(user.id),
        subject=task.face.subject,
        dataset=task.dataset_id,
        label=label,
    )
    return decision


def count_own(session: Session, *, user: User, dataset: Dataset, day: dt.date | None = None) -> Own:
    """Counts a person's standing votes in a dataset; a day begins at midnight UTC."""
    midnight = dt.datetime.combine(day or now().date(), dt.time(), tzinfo=dt.UTC)
    standing = (
        select(func.count())
        .select_from(Annotation)
        .join(Task, Task.id == Annotation.task_id)
        .where(
            Annotation.user_id == user.id,
            Annotation.taken_back_at.is_(None),
            Task.dataset_id == dataset.id,
        )
    )
    today = standing.where(Annotation.created_at >= midnight)
    return Own(today=session.scalar(today) or 0, total=session.scalar(standing) or 0)
