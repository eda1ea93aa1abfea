"""Pages: one call that gives every template its frame, and the few filters they share."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from flask import Flask, current_app, render_template, request, url_for

from annotator.core.db import now
from annotator.core.emotions import LABELS, Emotion
from annotator.domain import accounts, jobs
from annotator.models import Dataset, User
from annotator.web.appearance import theme
from annotator.web.security import access_of, known_user
from annotator.web.transaction import reading

# What the top bar offers to those who may open it, as far as it exists.
NAVIGATION = (
    ("Datasets", "datasets.index"),
    ("Models", "models.index"),
    ("Colleagues", "people.index"),
    ("Records", "accountability.index"),
    ("Audit", "audit.index"),
)
_LABELS = {label.name: label for label in LABELS}
NOTHING = "\N{EN DASH}"  # what a figure that does not exist looks like
_MINUTE, _HOUR, _DAY = 60, 3600, 86400  # seconds


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the top bar."""

    label: str
    url: str
    current: bool


@dataclass(frozen=True, slots=True)
class Running:
    """What the top bar says about work in the background."""

    text: str
    url: str | None


def page(template: str, /, **values: Any) -> str:
    """Renders a page.

    Args:
        template: its path below ``templates``.
        values: what it shows; ``me``, ``navigation``, ``running_jobs`` and ``theme`` are added.
    """
    me = known_user()
    frame = {
        "me": me,
        "theme": theme(),
        "navigation": _navigation(me) if me else [],
        "running_jobs": _running_jobs(me) if me else None,
    }
    return render_template(template, **frame, **values)


def may_open(user: User, endpoint: str) -> bool:
    """Whether an endpoint exists and its declared role is within this person's."""
    if endpoint not in current_app.view_functions:
        return False
    access = access_of(current_app, endpoint)
    return access is not None and (access.role is None or accounts.has_role(user, access.role))


def page_of(endpoint: str, dataset: Dataset | None = None) -> str | None:
    """The address of a page if it exists and is open to the person who asks, else ``None``."""
    user = known_user()
    if user is None or not may_open(user, endpoint):
        return None
    return url_for(endpoint, dataset_id=dataset.id) if dataset else url_for(endpoint)


def _navigation(user: User) -> list[Item]:
    here = request.blueprint
    return [
        Item(label, url_for(endpoint), here == endpoint.partition(".")[0])
        for label, endpoint in NAVIGATION
        if may_open(user, endpoint)
    ]


def _running_jobs(user: User) -> Running | None:
    if not accounts.has_role(user, "curator"):
        return None
    own = None if user.role == "admin" else [member.dataset_id for member in user.memberships]
    active = [
        job
        for job in jobs.list_jobs(reading(), dataset_ids=own, limit=20)
        if job.state in {"queued", "running"}
    ]
    if not active:
        return None
    text = f"{len(active)} job{'s' if len(active) > 1 else ''} running"
    return Running(text, url_for("jobs.index") if may_open(user, "jobs.index") else None)


def label_named(name: str) -> Emotion:
    """The label with this name; an unknown one (a schema of later) is shown as a ring."""
    return _LABELS.get(name) or Emotion(name, "", "", "ring")


def number(value: float | None) -> str:
    """1234 as 1,234; nothing as a dash."""
    return NOTHING if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def percent(value: float | None) -> str:
    """0.874 as 87 %; nothing as a dash."""
    return NOTHING if value is None else f"{100 * value:.0f} %"


def when(moment: dt.datetime | None) -> str:
    """A moment as 23 November 2026, 14:05 UTC."""
    return NOTHING if moment is None else f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def ago(moment: dt.datetime | None) -> str:
    """A moment as a distance from now: 5 min ago."""
    if moment is None:
        return "never"
    seconds = (now() - moment).total_seconds()
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def init_rendering(app: Flask) -> None:
    """Gives the templates their filters and names."""
    app.jinja_env.globals.update(label_named=label_named, page_of=page_of, LABELS=LABELS)
    app.jinja_env.filters.update(number=number, percent=percent, when=when, ago=ago)
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
