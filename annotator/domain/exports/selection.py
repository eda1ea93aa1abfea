"""Which faces may be in an export, under which label, and why the others are out."""

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.core.emotions import EMOTION_NAMES, LABEL_NAMES
from annotator.domain import consent
from annotator.domain.exports.splits import SPLITS, balance_items, split_people
from annotator.models import Annotation, ConsentEvent, Dataset, Face, Review, Subject, Task

# Asked of every person for every tier; the last one is kept with the face as what allowed it.
PURPOSES_OF = {
    "T1": ("train", "export_pseudonymised"),
    "T2": ("train", "export_anonymised"),
    "T3": ("train", "export_anonymised"),
}
REASONS = {
    "no_consent": "the person has not consented to training and to this kind of export",
    "few_votes": "not enough votes yet",
    "tie": "the votes are tied and no reviewer has decided",
    "unknown": "the votes say unknown",
    "not_a_face": "the votes say not a face",
    "undersampled": "left out so that the classes are even",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One face that may go out.

    Attributes:
        face_id: its number here; never written into an export.
        subject_id: whose it is.
        subject_uid: likewise; never written into an export.
        blob: its crop.
        label: the emotion that it counts as.
        votes: one number per label, in the order of ``LABEL_NAMES``.
        decided_by: ``votes`` or ``review``.
        consent_event_id: the consent that allows it.
        split: train, valid or test.
        copies: how often it is written; 0 when balancing leaves it out.
        weight: for training.
    """

    face_id: int
    subject_id: int
    subject_uid: str
    blob: str
    label: str
    votes: tuple[int, ...]
    decided_by: str
    consent_event_id: int
    split: str
    copies: int
    weight: float

    @property
    def agreement(self) -> float:
        """Share of the votes that chose the label, 0 to 1."""
        total = sum(self.votes)
        return self.votes[LABEL_NAMES.index(self.label)] / total if total else 0.0


@dataclass(frozen=True, slots=True)
class Selection:
    """What an export would hold.

    Attributes:
        candidates: every face that may be in it, also those that balancing leaves out.
        left_out: number of faces per reason; see ``REASONS``.
    """

    candidates: tuple[Candidate, ...]
    left_out: dict[str, int]

    @property
    def written(self) -> list[Candidate]:
        """The faces that are written at least once."""
        return [candidate for candidate in self.candidates if candidate.copies]

    @property
    def files(self) -> int:
        """Number of pictures, repeats included."""
        return sum(candidate.copies for candidate in self.candidates)

    @property
    def subjects(self) -> int:
        """Number of people."""
        return len({candidate.subject_id for candidate in self.written})

    def count(self, *, balanced: bool) -> dict[str, dict[str, int]]:
        """Pictures per split and class, before or after balancing."""
        counts = {split: dict.fromkeys(EMOTION_NAMES, 0) for split in SPLITS}
        for candidate in self.candidates:
            counts[candidate.split][candidate.label] += candidate.copies if balanced else 1
        return counts


def select_faces(
    session: Session,
    *,
    dataset: Dataset,
    tier: str,
    balance: str,
    seed: int,
    min_votes: int | None,
    at: dt.datetime,
) -> Selection:
    """Chooses, labels, splits and balances; asks the gate for every person.

    Args:
        session: the open transaction.
        dataset: where the faces are.
        tier: decides which consents are needed.
        balance: see ``balance_items``; the training split alone.
        seed: repeats splits and balance.
        min_votes: a face with so many votes may go; ``None`` waits until its task is done.
        at: the moment for which the gate is asked.
    """
    events = _consents(session, dataset, tier, at)
    votes, reviews = _votes(session, dataset), _reviews(session, dataset)
    out: Counter[str] = Counter()
    chosen: list[tuple[Face, str, tuple[int, ...], str]] = []
    for face, task in session.execute(
        select(Face, Task)
        .outerjoin(Task, Task.face_id == Face.id)
        .where(Face.dataset_id == dataset.id)
        .order_by(Face.id)
    ):
        given = votes.get(task.id, Counter()) if task else Counter()
        review = reviews.get(task.id) if task else None
        if face.subject_id not in events:
            out["no_consent"] += 1
        elif review is None and not _enough(task, given, min_votes):
            out["few_votes"] += 1
        else:
            label = review or decide(given)
            if label in EMOTION_NAMES:
                counts = tuple(given[name] for name in LABEL_NAMES)
                chosen.append((face, label, counts, "review" if review else "votes"))
            else:
                out[label] += 1
    return _arrange(session, chosen, events, out, balance=balance, seed=seed)


def decide(votes: Mapping[str, int]) -> str:
    """The label with the most votes, or ``tie``."""
    most = max(votes.values())
    winners = [label for label, count in votes.items() if count == most]
    return winners[0] if len(winners) == 1 else "tie"


def _enough(task: Task | None, given: Counter[str], min_votes: int | None) -> bool:
    if task is None or not given.total():
        return False
    return task.state == "done" if min_votes is None else given.total() >= min_votes


def _consents(
    session: Session, dataset: Dataset, tier: str, at: dt.datetime
) -> dict[int, ConsentEvent]:
    """Per person who may be in it, the event that says so."""
    purposes = PURPOSES_OF[tier]
    query = select(Subject.id).where(Subject.dataset_id == dataset.id)
    for purpose in purposes:
        query = query.where(consent.allowing(purpose, at))
    may = set(session.scalars(query))
    # The gate has decided; of those it let through, the newest event is the one that allows.
    events = session.scalars(
        select(ConsentEvent)
        .join(Subject, Subject.id == ConsentEvent.subject_id)
        .where(
            Subject.dataset_id == dataset.id,
            ConsentEvent.purpose == purposes[-1],
            ConsentEvent.at <= at,
        )
        .order_by(ConsentEvent.at, ConsentEvent.id)
    )
    return {event.subject_id: event for event in events if event.subject_id in may}


def _votes(session: Session, dataset: Dataset) -> dict[int, Counter[str]]:
    votes: dict[int, Counter[str]] = {}
    for task_id, label, count in session.execute(
        select(Annotation.task_id, Annotation.label, func.count())
        .join(Task, Task.id == Annotation.task_id)
        .where(Task.dataset_id == dataset.id, Annotation.taken_back_at.is_(None))
        .group_by(Annotation.task_id, Annotation.label)
    ):
        votes.setdefault(task_id, Counter())[label] = count
    return votes


def _reviews(session: Session, dataset: Dataset) -> dict[int, str]:
    rows = session.execute(
        select(Review.task_id, Review.label)
        .join(Task, Task.id == Review.task_id)
        .where(Task.dataset_id == dataset.id)
        .order_by(Review.id)
    )
    return dict(rows.all())  # the newest decision stands


def _arrange(
    session: Session,
    chosen: Sequence[tuple[Face, str, tuple[int, ...], str]],
    events: Mapping[int, ConsentEvent],
    out: Counter[str],
    *,
    balance: str,
    seed: int,
) -> Selection:
    """Gives every chosen face its split, copies and weight."""
    ids = {face.subject_id for face, *_ in chosen}
    rows = session.execute(select(Subject.id, Subject.uid))
    uids = {number: uid for number, uid in rows if number in ids}
    people: dict[str, Counter[str]] = {}
    for face, label, *_ in chosen:
        people.setdefault(uids[face.subject_id], Counter())[label] += 1
    splits = split_people(people, seed=seed)
    train = {
        face.id: label for face, label, *_ in chosen if splits[uids[face.subject_id]] == "train"
    }
    balanced = balance_items(train, how=balance, seed=seed)
    candidates = []
    for face, label, votes, decided_by in chosen:
        copies, weight = balanced.get(face.id, (1, 1.0))
        uid = uids[face.subject_id]
        candidates.append(
            Candidate(
                face_id=face.id,
                subject_id=face.subject_id,
                subject_uid=uid,
                blob=face.crop_blob,
                label=label,
                votes=votes,
                decided_by=decided_by,
                consent_event_id=events[face.subject_id].id,
                split=splits[uid],
                copies=copies,
                weight=weight,
            )
        )
    left = sum(1 for candidate in candidates if not candidate.copies)
    out.update({"undersampled": left} if left else {})
    return Selection(tuple(candidates), {reason: out[reason] for reason in REASONS if out[reason]})
