"""Datasets: making one, finding one, and how far it is."""

import secrets
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.core.errors import Conflict, InvalidInput, NotFound
from annotator.domain import audit
from annotator.models import Dataset, Image, Membership, Subject, Task, User

MAX_VOTES = 10
MAX_NAME = 120
MOST_DAYS = 3660  # that pictures are kept
MOST_GRACE = 365  # days


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the labelling of a dataset is, in faces."""

    faces: int
    open: int
    done: int


def create_dataset(
    session: Session,
    *,
    name: str,
    created_by: User | None,
    description: str = "",
    votes_per_face: int = 3,
    blind_share: float = 0.15,
    prelabel_threshold: float = 0.5,
    approve_alone: bool = True,
    retention_days: int | None = None,
    grace_days: int = 30,
    seed: int | None = None,
) -> Dataset:
    """Makes a dataset; its maker becomes a member.

    Raises:
        InvalidInput: a missing name or a number out of its range.
        Conflict: the name is taken.
    """
    name = name.strip()
    if not name:
        raise InvalidInput("A dataset needs a name.")
    if len(name) > MAX_NAME:
        raise InvalidInput(f"A dataset's name has at most {MAX_NAME} characters.")
    if not 1 <= votes_per_face <= MAX_VOTES:
        raise InvalidInput(f"Votes per face must be 1 to {MAX_VOTES}.")
    if not (0 <= blind_share <= 1 and 0 <= prelabel_threshold <= 1):
        raise InvalidInput("Shares and probabilities lie between 0 and 1.")
    _check_days(retention_days, grace_days)
    if session.scalar(select(Dataset.id).where(Dataset.name == name)) is not None:
        raise Conflict(f"There is a dataset '{name}' already.")
    dataset = Dataset(
        name=name,
        description=description.strip(),
        votes_per_face=votes_per_face,
        blind_share=blind_share,
        prelabel_threshold=prelabel_threshold,
        approve_alone=approve_alone,
        retention_days=retention_days,
        grace_days=grace_days,
        seed=secrets.randbelow(2**31) if seed is None else seed,
        created_by=created_by.id if created_by else None,
    )
    session.add(dataset)
    session.flush()
    if created_by is not None:
        session.add(Membership(user_id=created_by.id, dataset_id=dataset.id))
    actor = audit.actor_of(dataset.created_by)
    audit.append(session, action="dataset.created", actor=actor, dataset=dataset.id)
    return dataset


def set_retention(
    session: Session,
    *,
    dataset: Dataset,
    retention_days: int | None,
    grace_days: int,
    by: int | None = None,
) -> None:
    """Changes how long pictures are kept; takes effect with the next sweep.

    Raises:
        InvalidInput: a number out of its range.
    """
    _check_days(retention_days, grace_days)
    dataset.retention_days, dataset.grace_days = retention_days, grace_days
    audit.append(
        session,
        action="dataset.retention_set",
        actor=audit.actor_of(by),
        dataset=dataset.id,
        retention_days=retention_days,
        grace_days=grace_days,
    )


def _check_days(retention_days: int | None, grace_days: int) -> None:
    if retention_days is not None and not 1 <= retention_days <= MOST_DAYS:
        raise InvalidInput(f"Pictures are kept for 1 to {MOST_DAYS:,} days, or as long as consent.")
    if not 0 <= grace_days <= MOST_GRACE:
        raise InvalidInput(
            f"Between the end of a consent and the erasure lie 0 to {MOST_GRACE} days."
        )


def get_dataset(session: Session, *, dataset_id: int) -> Dataset:
    """Finds a dataset by number.

    Raises:
        NotFound: there is none.
    """
    dataset = session.get(Dataset, dataset_id)
    if dataset is None:
        raise NotFound("There is no such dataset.")
    return dataset


def find_dataset(session: Session, *, name: str) -> Dataset:
    """Finds a dataset by name or by number, as people type it.

    Raises:
        NotFound: there is none; the sentence names those that exist.
    """
    dataset = session.scalar(select(Dataset).where(Dataset.name == name))
    if dataset is None and name.isascii() and name.isdigit():
        dataset = session.get(Dataset, int(name))
    if dataset is None:
        names = list(session.scalars(select(Dataset.name).order_by(Dataset.name).limit(10)))
        known = f" There are: {', '.join(names)}." if names else " There are none yet."
        raise NotFound(f"There is no dataset '{name}'.{known}")
    return dataset


def list_datasets(
    session: Session, *, user: User, after: int = 0, limit: int = 50
) -> list[Dataset]:
    """The datasets that a person may see, oldest first, from behind a cursor."""
    query = select(Dataset).where(Dataset.id > after).order_by(Dataset.id).limit(limit)
    if user.role != "admin":
        query = query.join(Membership, Membership.dataset_id == Dataset.id).where(
            Membership.user_id == user.id
        )
    return list(session.scalars(query))


def count_progress(session: Session, *, dataset_id: int) -> Progress:
    """Counts faces that want votes and faces that have enough."""
    rows = session.execute(
        select(Task.state, func.count()).where(Task.dataset_id == dataset_id).group_by(Task.state)
    )
    counts = dict(rows.all())
    return Progress(
        faces=sum(counts.values()), open=counts.get("open", 0), done=counts.get("done", 0)
    )


def count_images(session: Session, *, dataset_id: int) -> dict[str, int]:
    """Pictures by state."""
    rows = session.execute(
        select(Image.state, func.count())
        .where(Image.dataset_id == dataset_id)
        .group_by(Image.state)
    )
    return dict(rows.all())


def count_subjects(session: Session, *, dataset_id: int) -> dict[str, int]:
    """People by state: ``present`` and ``withdrawn``."""
    withdrawn = Subject.withdrawn_at.is_not(None)
    rows = session.execute(
        select(withdrawn, func.count()).where(Subject.dataset_id == dataset_id).group_by(withdrawn)
    )
    counts = {bool(gone): count for gone, count in rows}
    return {"present": counts.get(False, 0), "withdrawn": counts.get(True, 0)}
