"""The home page: what this person should do next, by role.

Each card is one function that looks and one partial in ``templates/home`` that tells. A function
gives ``None`` when there is nothing to say.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from annotator.domain import (
    accounts,
    agreement,
    consent,
    curation,
    datasets,
    jobs,
    labelling,
    training,
)
from annotator.models import Dataset, Job, User
from annotator.web.rendering import page
from annotator.web.security import requires, signed_in
from annotator.web.transaction import db

blueprint = Blueprint("home", __name__)
SHOWN = 6  # datasets on the home page; the rest are one click away


@dataclass(frozen=True, slots=True)
class Card:
    """One thing on the page: the partial and what it shows."""

    partial: str
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One dataset and how far it is."""

    dataset: Dataset
    progress: datasets.Progress
    images: dict[str, int]


@blueprint.get("/")
@requires("annotator")
def index() -> ResponseReturnValue:
    """What to do next."""
    user = signed_in()
    cards = [look(db(), user) for role, look in CARDS if accounts.has_role(user, role)]
    return page("home/index.html", cards=[card for card in cards if card is not None])


def work(session: Session, user: User) -> Card | None:
    """Faces that want this person's vote, and how it goes."""
    rows = [row for row in _rows(session, user) if row.progress.open]
    own = labelling.count_own(session, user=user, dataset=rows[0].dataset) if rows else None
    return Card("home/_work.html", {"rows": rows, "own": own})


def disagreements(session: Session, user: User) -> Card | None:
    """Faces on which votes differ and nobody has decided."""
    found = [
        (dataset, agreement.list_disagreements(session, dataset=dataset))
        for dataset in datasets.list_datasets(session, user=user, limit=SHOWN)
    ]
    waiting = [(dataset, len(faces)) for dataset, faces in found if faces]
    return Card("home/_disagreements.html", {"waiting": waiting}) if waiting else None


def decisions(session: Session, user: User) -> Card | None:
    """What waits for somebody: redactions and, for curators, failed jobs and models to replace."""
    rows = _rows(session, user)
    waiting = [row for row in rows if row.images.get("review")]
    failed = _failed(session, user, rows)
    curates = accounts.has_role(user, "curator")
    tainted = training.list_tainted(session) if curates else []
    if not waiting and not failed and not tainted:
        return None
    values = {"waiting": waiting, "failed": failed, "tainted": tainted}
    return Card("home/_decisions.html", values)


def progress(session: Session, user: User) -> Card | None:
    """How far each dataset is."""
    return Card("home/_progress.html", {"rows": _rows(session, user)[:SHOWN]})


def balance(session: Session, user: User) -> Card | None:
    """The classes of the dataset that is worked on, and how far people agree."""
    rows = [row for row in _rows(session, user) if row.progress.done]
    if not rows:
        return None
    dataset = rows[-1].dataset
    counts = curation.count_labels(session, dataset=dataset)
    figures = agreement.measure(session, dataset=dataset)
    values = {"dataset": dataset, "counts": counts, "figures": figures}
    return Card("home/_balance.html", values)


def models(session: Session, user: User) -> Card | None:
    """The model in use beside the last candidate."""
    del user
    known = training.list_models(session)
    current = next((model for model in known if model.state == "current"), None)
    candidate = next((model for model in known if model.state == "candidate"), None)
    if current is None and candidate is None:
        return None
    verdict = training.judge(session, model=candidate) if candidate else None
    values = {
        "current": current,
        "candidate": candidate,
        "verdict": verdict,
        "forbidden": consent.inference_forbidden(session),
    }
    return Card("home/_models.html", values)


Look = Callable[[Session, User], Card | None]
CARDS: tuple[tuple[str, Look], ...] = (
    ("reviewer", decisions),
    ("annotator", work),
    ("reviewer", disagreements),
    ("curator", progress),
    ("curator", balance),
    ("curator", models),
)


def _failed(session: Session, user: User, rows: list[Row]) -> list[Job]:
    if not accounts.has_role(user, "curator"):
        return []
    seen = None if user.role == "admin" else [row.dataset.id for row in rows]
    recent = jobs.list_jobs(session, dataset_ids=seen, limit=20)
    return [job for job in recent if job.state == "failed"][:3]


def _rows(session: Session, user: User) -> list[Row]:
    return [
        Row(
            dataset,
            datasets.count_progress(session, dataset_id=dataset.id),
            datasets.count_images(session, dataset_id=dataset.id),
        )
        for dataset in datasets.list_datasets(session, user=user)
    ]
