"""Consents of a dataset over time: how many, what ends soon, who is asked anew, who withdraws."""

import datetime as dt
from dataclasses import dataclass

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from annotator.core.db import now
from annotator.core.errors import InvalidInput
from annotator.domain import consent, datasets, erasure, retention
from annotator.models import PURPOSES, Dataset
from annotator.web.rendering import page
from annotator.web.security import current_dataset, requires, signed_in
from annotator.web.statements import PURPOSE_WORDS
from annotator.web.transaction import db

blueprint = Blueprint("consents", __name__, url_prefix="/datasets/<int:dataset_id>/consents")
# What is done next, in words for people who do not know how the program works.
STEPS = {
    "note": "write the erasure down outside the backups",
    "blobs": "delete the sealed files",
    "journal": "empty the database's journal",
    "epoch": "renew everybody else's keys, so that no old copy opens",
    "close": "empty the journal once more and finish",
}
WIDTH, HEIGHT = 240, 60  # of one chart, in its own units
SOON, LATER = 30, 90  # days


@dataclass(frozen=True, slots=True)
class Chart:
    """One purpose over time: the corners of a line in steps, and its figures."""

    name: str
    points: str
    last: int
    most: int


@blueprint.get("")
@requires("curator")
def index(dataset_id: int) -> ResponseReturnValue:
    """The overview."""
    dataset = current_dataset(dataset_id)
    counts = consent.count_over_time(db(), dataset=dataset)
    endings = retention.list_endings(db(), dataset=dataset, days=LATER)
    return page(
        "consents/index.html",
        dataset=dataset,
        counts=counts,
        charts=[_chart(purpose, counts) for purpose in PURPOSES],
        endings=endings,
        soon=now() + dt.timedelta(days=SOON),
        due=consent.list_due(db(), dataset=dataset),
        withdrawals=_withdrawals(dataset),
        step_words=STEPS,
        states=consent.count_states(db(), dataset=dataset),
        purpose_words=PURPOSE_WORDS,
        purposes=PURPOSES,
        limits=(datasets.MOST_DAYS, datasets.MOST_GRACE),
        width=WIDTH,
        height=HEIGHT,
    )


@blueprint.post("/retention")
@requires("admin")
def keep(dataset_id: int) -> ResponseReturnValue:
    """Changes how long pictures are kept."""
    dataset = current_dataset(dataset_id)
    days, grace = request.form.get("retention_days", "").strip(), request.form.get("grace_days", "")
    if not (days.isdecimal() or not days) or not grace.strip().isdecimal():
        raise InvalidInput("Please give whole numbers of days.")
    datasets.set_retention(
        db(),
        dataset=dataset,
        retention_days=int(days) if days else None,
        grace_days=int(grace),
        by=signed_in().id,
    )
    flash("Written down. The next daily sweep goes by it.", "success")
    return redirect(url_for(".index", dataset_id=dataset.id), 303)


def _chart(purpose: str, counts: list[tuple[dt.datetime, dict[str, int]]]) -> Chart:
    values = [row[purpose] for _, row in counts]
    most = max(1, *(count for _, row in counts for count in row.values()))  # one scale for all
    step = WIDTH / max(1, len(values) - 1)
    corners: list[str] = []
    for index, value in enumerate(values):
        height = HEIGHT - HEIGHT * value / most
        if index:
            before = HEIGHT - HEIGHT * values[index - 1] / most
            corners.append(f"{index * step:.1f},{before:.1f}")
        corners.append(f"{index * step:.1f},{height:.1f}")
    return Chart(purpose, " ".join(corners), values[-1], max(values))


def _withdrawals(dataset: Dataset) -> list[erasure.Pending]:
    """Withdrawals whose remains are still being destroyed."""
    return [row for row in erasure.list_withdrawals(db()) if row.dataset_id == dataset.id]
