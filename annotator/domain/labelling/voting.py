"""Votes: giving one, taking it back, passing over a face.

Each function refuses before it writes, so a refused vote leaves its neighbours in the same
transaction untouched.
"""

import datetime as dt
import uuid
from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.emotions import LABEL_NAMES
from annotator.core.errors import Conflict, InvalidInput, NotFound
from annotator.domain import consent
from annotator.domain.labelling.lending import give_back, lend_back, rater_of
from annotator.domain.labelling.tasks import get_task
from annotator.models import FLAGS, MODES, Annotation, Lease, Skip, Task, User

MAX_INTENSITY = 5
MAX_DURATION_MS = 86_400_000  # a day; a longer look is a sleeping computer
MAX_PAGE = 36


def annotate(
    session: Session,
    *,
    user: User,
    client_id: str,
    task_id: int,
    label: str,
    second_label: str | None = None,
    intensity: int | None = None,
    valence: float | None = None,
    arousal: float | None = None,
    flags: Sequence[str] = (),
    mode: str = "focus",
    prelabel_shown: bool = True,
    duration_ms: int | None = None,
    page: str | None = None,
    at: dt.datetime | None = None,
) -> Annotation:
    """Gives a person's vote on a face that is lent to them.

    Args:
        session: the open transaction; it writes.
        user: whose vote it is.
        client_id: a UUID of the sender's choice; the same one again is the same vote.
        task_id: the task.
        label: one of ``LABEL_NAMES``.
        second_label: another one that the face shows as well.
        intensity: 1 to 5.
        valence: -1 (unpleasant) to 1 (pleasant).
        arousal: -1 (calm) to 1 (excited).
        flags: some of ``FLAGS``.
        mode: one of ``MODES`` but ``import``.
        prelabel_shown: false when the sender hid the suggestion; whether there was one at all,
            and which, is what the lease says and not what the sender says.
        duration_ms: milliseconds from the paint of the face to the vote.
        page: the sweep page that the vote was given on.
        at: the moment; now when omitted.

    Returns:
        The vote; for a repeated ``client_id`` the one that stands there, perhaps taken back since.

    Raises:
        InvalidInput: a value out of bounds.
        NotFound: no such task, or not for this person.
        Conflict: the id belongs to another vote, the face was not lent to the person, they have
            voted on it, or their time ran out and somebody else has the place.
        ConsentMissing: the person in the picture may no longer be shown.
    """
    at = at or now()
    vote = Annotation(
        client_id=_uuid(client_id),
        task_id=task_id,
        user_id=user.id,
        rater=rater_of(user),
        label=_label(label),
        second_label=None if second_label is None else _label(second_label),
        intensity=_whole("Intensity", intensity, 1, MAX_INTENSITY),
        valence=_between("Valence", valence),
        arousal=_between("Arousal", arousal),
        flags=_flags(flags),
        mode=_mode(mode),
        duration_ms=_whole("The duration", duration_ms, 0, MAX_DURATION_MS),
        page=_page(page),
        created_at=at,
    )
    if vote.second_label == vote.label:
        raise InvalidInput("The second emotion must differ from the first.")
    task = get_task(session, user=user, task_id=task_id, lock=True)
    known = session.scalar(select(Annotation).where(Annotation.client_id == vote.client_id))
    if known is not None:
        return _same(known, user, task)
    consent.require(session, subject=task.face.subject, purpose="label", at=at)
    lease = _take_lease(session, user, task)
    vote.prelabel, vote.model_id = lease.prelabel, lease.model_id
    vote.prelabel_probability = lease.prelabel_probability
    vote.prelabel_shown = lease.prelabel is not None and prelabel_shown
    if not lease.held:
        task.free -= 1
        session.execute(delete(Skip).where(Skip.task_id == task.id, Skip.user_id == user.id))
    task.given += 1
    if task.given >= task.wanted:
        task.state = "done"
    session.delete(lease)
    session.add(vote)
    session.flush()
    return vote


def _same(known: Annotation, user: User, task: Task) -> Annotation:
    if known.user_id != user.id or known.task_id != task.id:
        raise Conflict("This id belongs to another vote already; give each vote its own.")
    return known


def _take_lease(session: Session, user: User, task: Task) -> Lease:
    if _standing(session, user, task.id) is not None:
        raise Conflict("You have labelled this face already.")
    lease = session.scalar(
        select(Lease)
        .where(Lease.task_id == task.id, Lease.user_id == user.id)
        .execution_options(populate_existing=True)
    )
    if lease is None:
        raise Conflict("This face was not lent to you; ask for faces first.")
    if not lease.held and task.free <= 0:
        raise Conflict("Your time with this face ran out and others have labelled it since.")
    return lease


def _standing(session: Session, user: User, task_id: int) -> Annotation | None:
    return session.scalar(
        select(Annotation).where(
            Annotation.task_id == task_id,
            Annotation.rater == rater_of(user),
            Annotation.taken_back_at.is_(None),
        )
    )


def take_back(
    session: Session,
    *,
    user: User,
    client_id: str,
    at: dt.datetime | None = None,
    seconds: int = 900,
) -> Annotation:
    """Undoes a vote of one's own: the row stays, marked; the face is lent to the person again.

    Args:
        session: the open transaction; it writes.
        user: whose vote it is.
        client_id: the vote's id as its sender chose it; twice is once.
        at: the moment; now when omitted.
        seconds: how long the new lease lasts.

    Raises:
        NotFound: no such vote of this person.
    """
    at = at or now()
    wanted = _uuid(client_id)
    vote = session.scalar(select(Annotation).where(Annotation.client_id == wanted))
    if vote is None or vote.user_id != user.id:
        raise NotFound("There is no such vote of yours.")
    task = get_task(session, user=user, task_id=vote.task_id, lock=True)
    session.refresh(vote)
    if vote.taken_back_at is None:
        vote.taken_back_at = at
        task.given -= 1
        task.state = "done" if task.given >= task.wanted else "open"
        lend_back(session, annotation=vote, user=user, ends=at + dt.timedelta(seconds=seconds))
    return vote


def skip(session: Session, *, user: User, task_id: int) -> None:
    """Passes over a face: no vote, not shown to this person again; twice is once.

    Raises:
        NotFound: no such task, or not for this person.
        Conflict: it was not lent to them, or they have voted on it.
    """
    task = get_task(session, user=user, task_id=task_id, lock=True)
    if _skipped(session, user, task_id) is not None:
        return
    lease = _take_lease(session, user, task)
    session.add(Skip(task_id=task_id, user_id=user.id))
    if lease.held:
        lease.held = False  # the row stays: it knows what was suggested, should they come back
        session.flush()
        give_back(session, task_ids=[task_id])


def unskip(
    session: Session,
    *,
    user: User,
    task_id: int,
    at: dt.datetime | None = None,
    seconds: int = 900,
) -> None:
    """Undoes a skip: the face is lent to the person again. Without a skip nothing happens.

    Raises:
        NotFound: no such task, or not for this person.
        Conflict: others have taken its last vote since.
    """
    at = at or now()
    task = get_task(session, user=user, task_id=task_id, lock=True)
    skipped = _skipped(session, user, task_id)
    if skipped is None:
        return
    lease = _take_lease(session, user, task)
    lease.held, lease.expires_at = True, at + dt.timedelta(seconds=seconds)
    task.free -= 1
    session.delete(skipped)
    session.flush()


def _skipped(session: Session, user: User, task_id: int) -> Skip | None:
    return session.scalar(select(Skip).where(Skip.task_id == task_id, Skip.user_id == user.id))


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except (ValueError, AttributeError, TypeError) as error:
        raise InvalidInput("The id of a vote must be a UUID.") from error


def _label(label: str) -> str:
    if label not in LABEL_NAMES:
        raise InvalidInput(f"There is no label '{label}'; there are {', '.join(LABEL_NAMES)}.")
    return label


def _whole(what: str, value: int | None, low: int, high: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidInput(f"{what} must be a whole number from {low} to {high}.")
    return value


def _between(what: str, value: float | None) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1 <= value <= 1:
        raise InvalidInput(f"{what} must be a number from -1 to 1.")
    return float(value)


def _flags(flags: Sequence[str]) -> list[str]:
    if isinstance(flags, str) or not set(flags) <= set(FLAGS):
        raise InvalidInput(f"Flags are a list of some of {', '.join(FLAGS)}.")
    return [flag for flag in FLAGS if flag in flags]


def _mode(mode: str) -> str:
    if mode not in MODES or mode == "import":
        raise InvalidInput("The mode is one of focus, sweep, map and review.")
    return mode


def _page(page: str | None) -> str | None:
    if page is not None and (not isinstance(page, str) or not 0 < len(page) <= MAX_PAGE):
        raise InvalidInput(f"The page is a text of at most {MAX_PAGE} characters.")
    return page
