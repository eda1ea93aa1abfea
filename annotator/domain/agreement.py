"""How far people agree: distributions of votes, consensus, and figures over many faces.

A unit is one face's votes as counts per label. Figures are computed on votes that no suggestion
could have pulled: those on blind faces, and imported ones.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.emotions import LABEL_NAMES
from annotator.domain import consent
from annotator.models import Annotation, Dataset, Face, Review, Subject, Task

Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Figures:
    """Agreement over the faces with at least two votes; ``None`` where it is not defined.

    Attributes:
        faces: how many there are.
        votes: votes on them.
        percent: share (0 to 1) of pairs of votes on a face that agree, averaged over faces.
        alpha: Krippendorff's alpha, nominal; 1 is full agreement, 0 chance.
        classes: alpha of each label against all others, for the labels that were used.
        unaided: whether only votes count that no suggestion could have pulled.
    """

    faces: int
    votes: int
    percent: float | None
    alpha: float | None
    classes: dict[str, float | None]
    unaided: bool


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A face on which votes differ, and the newest decision on it."""

    task: Task
    votes: dict[str, int]
    decision: Review | None

    @property
    def share(self) -> float:
        """The share of votes that the most frequent label has, 0 to 1."""
        return max(self.votes.values()) / sum(self.votes.values())


def distribution(votes: Iterable[str]) -> dict[str, int]:
    """Counts votes per label, in the order of ``LABEL_NAMES``."""
    counts = Counter(votes)
    return {label: counts[label] for label in LABEL_NAMES if counts[label]}


def majority(votes: Counts) -> str | None:
    """The label with the most votes; ``None`` without votes and on a tie."""
    ranked = Counter(votes).most_common(2)
    if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]


def soften(votes: Counts) -> dict[str, float]:
    """The soft label: each label's share of the votes; the shares sum to 1."""
    total = sum(votes.values())
    return {label: count / total for label, count in votes.items()} if total else {}


def percent_agreement(units: Iterable[Counts]) -> float | None:
    """The share of agreeing pairs of votes on a face, averaged over faces with two votes or more.

    Returns:
        0 to 1, or ``None`` when no face has two votes.
    """
    shares = []
    for unit in units:
        votes = sum(unit.values())
        if votes > 1:
            agreeing = sum(count * (count - 1) for count in unit.values())
            shares.append(agreeing / (votes * (votes - 1)))
    return sum(shares) / len(shares) if shares else None


def alpha_nominal(units: Iterable[Counts]) -> float | None:
    """Krippendorff's alpha for nominal data, any number of votes a face, missing ones allowed.

    Source: K. Krippendorff, Computing Krippendorff's Alpha-Reliability, University of Pennsylvania,
    2011, section D.

    Returns:
        At most 1; 0 is what chance gives. ``None`` when no face has two votes, or when every vote
        is the same label, so that chance is not defined.
    """
    totals: Counter[str] = Counter()
    disagreeing = 0.0
    for unit in units:
        votes = sum(unit.values())
        if votes > 1:
            totals.update(unit)
            same = sum(count * count for count in unit.values())
            disagreeing += (votes * votes - same) / (votes - 1)
    pairable = totals.total()
    expected = pairable * pairable - sum(count * count for count in totals.values())
    return 1 - (pairable - 1) * disagreeing / expected if expected else None


def alpha_of(label: str, units: Iterable[Counts]) -> float | None:
    """Krippendorff's alpha of one label against all others."""
    return alpha_nominal(
        {"yes": unit.get(label, 0), "no": sum(unit.values()) - unit.get(label, 0)} for unit in units
    )


def measure(session: Session, *, dataset: Dataset) -> Figures:
    """Agreement on a dataset, on votes without a suggestion wherever suggestions were shown."""
    helped = session.scalar(
        select(Annotation.id)
        .join(Task, Task.id == Annotation.task_id)
        .where(Task.dataset_id == dataset.id, Annotation.prelabel_shown)
        .limit(1)
    )
    unaided = helped is not None
    units = [
        unit
        for unit in count_votes(session, dataset=dataset, unaided=unaided).values()
        if sum(unit.values()) > 1
    ]
    used = [label for label in LABEL_NAMES if any(label in unit for unit in units)]
    return Figures(
        faces=len(units),
        votes=sum(sum(unit.values()) for unit in units),
        percent=percent_agreement(units),
        alpha=alpha_nominal(units),
        classes={label: alpha_of(label, units) for label in used},
        unaided=unaided,
    )


def count_votes(
    session: Session,
    *,
    dataset: Dataset,
    unaided: bool = False,
    task_ids: Iterable[int] | None = None,
) -> dict[int, dict[str, int]]:
    """Standing votes of a dataset, counted: for each task with votes, label to count.

    Args:
        session: the open transaction.
        dataset: whose.
        unaided: only votes on blind faces, and imported ones.
        task_ids: only these tasks.
    """
    query = (
        select(Annotation.task_id, Annotation.label, func.count())
        .join(Task, Task.id == Annotation.task_id)
        .where(Task.dataset_id == dataset.id, Annotation.taken_back_at.is_(None))
        .group_by(Annotation.task_id, Annotation.label)
    )
    if unaided:
        query = query.where(Task.blind | (Annotation.mode == "import"))
    if task_ids is not None:
        query = query.where(Annotation.task_id.in_(list(task_ids)))
    found: dict[int, dict[str, int]] = {}
    for task_id, label, count in session.execute(query):
        found.setdefault(task_id, {})[label] = count
    return found


def list_disagreements(
    session: Session,
    *,
    dataset: Dataset,
    label: str | None = None,
    undecided: bool = True,
    limit: int = 24,
) -> list[Disagreement]:
    """Faces whose votes differ, those that differ most first.

    Args:
        session: the open transaction.
        dataset: whose.
        label: only faces on which somebody voted for this label.
        undecided: only faces without a decision.
        limit: how many.
    """
    counts = {
        task_id: unit
        for task_id, unit in count_votes(session, dataset=dataset).items()
        if len(unit) > 1 and (label is None or label in unit)
    }
    decisions = _decisions(session, dataset)
    waiting = [task_id for task_id in counts if not (undecided and task_id in decisions)]
    waiting.sort(key=lambda task_id: (_top_share(counts[task_id]), task_id))
    allowed = (
        select(Task)
        .join(Task.face)
        .join(Subject, Subject.id == Face.subject_id)
        .where(Task.id.in_(waiting[: 2 * limit]), consent.allowing("label", now()))
    )
    tasks = {task.id: task for task in session.scalars(allowed)}
    shown = [task_id for task_id in waiting if task_id in tasks][:limit]
    return [
        Disagreement(tasks[task_id], _ordered(counts[task_id]), decisions.get(task_id))
        for task_id in shown
    ]


def _top_share(unit: Counts) -> float:
    return max(unit.values()) / sum(unit.values())


def _ordered(unit: Counts) -> dict[str, int]:
    return dict(sorted(unit.items(), key=lambda item: (-item[1], LABEL_NAMES.index(item[0]))))


def _decisions(session: Session, dataset: Dataset) -> dict[int, Review]:
    newest = (
        select(func.max(Review.id))
        .join(Task, Task.id == Review.task_id)
        .where(Task.dataset_id == dataset.id)
        .group_by(Review.task_id)
    )
    found = session.scalars(select(Review).where(Review.id.in_(newest)))
    return {review.task_id: review for review in found}
