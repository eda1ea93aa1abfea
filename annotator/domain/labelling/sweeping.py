"""Sweep pages: faces of one cluster, or of one suggested label, nearest to the centre first.

Blind faces never come to a page, because the page itself is a suggestion.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, delete, select, update
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import InvalidInput
from annotator.domain import consent
from annotator.domain.labelling.lending import (
    Leased,
    check_member,
    check_request,
    give_back,
    give_back_expired,
    lend,
    lendable,
    list_held,
    lock_place,
    renew,
)
from annotator.domain.labelling.voting import take_back
from annotator.models import (
    Annotation,
    ClusterMember,
    ClusterRun,
    Dataset,
    Lease,
    Prediction,
    Task,
    User,
)

LATEST = dt.timedelta(days=1)  # a page older than this is not taken back as a whole


@dataclass(frozen=True, slots=True)
class Theme:
    """What a page is about: a cluster of the newest run, or a label that its model suggests."""

    cluster: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        """Refuses both and neither."""
        if (self.cluster is None) == (self.label is None):
            raise InvalidInput("A sweep is about a cluster or about a label, one of the two.")


def sweep_page(
    session: Session,
    *,
    dataset: Dataset,
    user: User,
    theme: Theme,
    n: int = 60,
    at: dt.datetime | None = None,
    seconds: int = 900,
) -> list[Leased]:
    """Lends a page of faces to a person, nearest to the centre of their cluster first.

    What they hold of another page is given back first: it was left unfinished.

    Args:
        session: the open transaction; it writes.
        dataset: where from.
        user: who labels.
        theme: what the page is about.
        n: how many faces, 1 to ``MAX_LEASES``.
        at: the moment; now when omitted.
        seconds: how long the leases last.

    Raises:
        InvalidInput: ``n`` out of bounds.
        NotFound: not a member of the dataset.
        Conflict: inference is forbidden here, and a page is what a model says.
    """
    consent.require_inference(session)
    at = at or now()
    check_request(n=n, mode="sweep")
    check_member(session, user=user, dataset=dataset)
    ends = at + dt.timedelta(seconds=seconds)
    lock_place(session, dataset=dataset, user=user)
    held = list_held(session, dataset=dataset, user=user, mode="sweep", at=at)
    same = list_page(session, dataset=dataset, user=user, theme=theme, at=at)[:n]
    kept = {item.task.id for item in same}
    _give_up(session, user, [item.task.id for item in held if item.task.id not in kept])
    renew(session, user=user, leased=same, mode="sweep", at=at, ends=ends)
    give_back_expired(session, at=at)
    found: list[Task] = []
    if len(same) < n:
        query = _in_order(lendable(dataset=dataset, user=user, at=at), dataset, theme)
        found = list(session.scalars(query.where(~Task.blind).limit(n - len(same))))
    lend(session, dataset=dataset, user=user, tasks=found, mode="sweep", at=at, ends=ends)
    return list_page(session, dataset=dataset, user=user, theme=theme, at=at)[:n]


def list_page(
    session: Session,
    *,
    dataset: Dataset,
    user: User,
    theme: Theme,
    at: dt.datetime | None = None,
) -> list[Leased]:
    """The page that a person holds, in its order; reads only.

    Raises:
        Conflict: inference is forbidden here.
    """
    consent.require_inference(session)
    held = list_held(session, dataset=dataset, user=user, mode="sweep", at=at)
    ids = [item.task.id for item in held]
    order = list(
        session.scalars(_in_order(select(Task.id).where(Task.id.in_(ids)), dataset, theme))
    )
    by_id = {item.task.id: item for item in held}
    return [by_id[task_id] for task_id in order]


def _in_order(query: Select, dataset: Dataset, theme: Theme) -> Select:  # type: ignore[type-arg]
    newest = (
        select(ClusterRun.id)
        .where(ClusterRun.dataset_id == dataset.id)
        .order_by(ClusterRun.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    query = query.join(ClusterMember, ClusterMember.face_id == Task.face_id).where(
        ClusterMember.run_id == newest
    )
    if theme.cluster is not None:
        query = query.where(ClusterMember.cluster == theme.cluster)
    else:
        model = select(ClusterRun.model_id).where(ClusterRun.id == newest).scalar_subquery()
        suggested = select(Prediction.id).where(
            Prediction.face_id == Task.face_id,
            Prediction.model_id == model,
            Prediction.label == theme.label,
        )
        query = query.where(suggested.exists())
    return query.order_by(ClusterMember.cluster, ClusterMember.distance, Task.id)


def _give_up(session: Session, user: User, task_ids: Sequence[int]) -> None:
    if task_ids:
        session.execute(delete(Lease).where(Lease.user_id == user.id, Lease.task_id.in_(task_ids)))
        give_back(session, task_ids=task_ids)


def lend_to_focus(session: Session, *, user: User, task_ids: Sequence[int]) -> None:
    """Moves faces of a sweep page to the person's focus queue, where they come first."""
    session.execute(
        update(Lease)
        .where(Lease.user_id == user.id, Lease.task_id.in_(task_ids), Lease.held)
        .values(mode="focus")
    )


def take_back_page(
    session: Session,
    *,
    user: User,
    page: str,
    at: dt.datetime | None = None,
    seconds: int = 900,
) -> int:
    """Takes every vote back that a person gave on one page; the faces are lent to them again.

    The page that they hold since is given back, so that they see what they saw.

    Returns:
        How many.
    """
    at = at or now()
    since = select(Lease.task_id).where(Lease.user_id == user.id, Lease.held, Lease.mode == "sweep")
    _give_up(session, user, session.scalars(since).all())
    votes = session.scalars(
        select(Annotation)
        .where(
            Annotation.user_id == user.id,
            Annotation.created_at >= at - LATEST,
            Annotation.page == page,
            Annotation.taken_back_at.is_(None),
        )
        .order_by(Annotation.task_id)
    ).all()
    for vote in votes:
        take_back(session, user=user, client_id=vote.client_id, at=at, seconds=seconds)
    return len(votes)
