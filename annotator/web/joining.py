"""Consent by the person themselves: they read, tick each use on its own, sign with their name."""

import datetime as dt
import secrets
from dataclasses import dataclass, field

from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError

from annotator.core.db import now
from annotator.core.errors import NotFound
from annotator.domain import consent, datasets, invitations
from annotator.models import PURPOSES, Invitation, Notice, Subject
from annotator.web.languages import gettext, language
from annotator.web.links import by_link, fail, keep_private, open_link
from annotator.web.rendering import page
from annotator.web.transaction import db, toolbox

blueprint = Blueprint("joining", __name__)
keep_private(blueprint)
YEARS = 3  # how long a consent lasts that a person gives here
LONGEST_NAME = 200
NONCE = 32  # letters


@dataclass(slots=True)
class Answer:
    """What a person filled in.

    Attributes:
        purposes: what they ticked.
        name: the name they typed.
        age: ``adult``, ``minor`` or nothing yet.
        majority: when a minor turns 18, as sent by the browser: ``2031-05-03``.
        guardian: the name of the parent or guardian of a minor.
        agreed: whether the guardian ticked that they agree.
        assent: whether the minor ticked that they want it, too.
        errors: what is wrong, by field, in the reader's language.
    """

    purposes: list[str] = field(default_factory=list)
    name: str = ""
    age: str = ""
    majority: str = ""
    guardian: str = ""
    agreed: bool = False
    assent: bool = False
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def sent(cls) -> "Answer":
        """What the request carries."""
        form = request.form
        return cls(
            purposes=[name for name in PURPOSES if name in form.getlist("purposes")],
            name=form.get("name", "").strip()[:LONGEST_NAME],
            age=form.get("age", ""),
            majority=form.get("majority", "").strip(),
            guardian=form.get("guardian", "").strip()[:LONGEST_NAME],
            agreed="agreed" in form,
            assent="assent" in form,
        )

    def is_whole(self, notice: Notice, subject: Subject) -> bool:
        """Looks at every field and says what is missing, in the order of the page."""
        if not self.purposes:
            self.errors["purposes"] = gettext(
                "You ticked nothing. If you do not want to agree to anything, just close this page."
            )
        elif "store" not in self.purposes:
            self.errors["purposes"] = gettext(
                "Without the first box we cannot keep a picture, so the others mean nothing. "
                "Please tick it too, or close this page."
            )
        elif not set(self.purposes) <= set(notice.purposes):
            self.errors["purposes"] = gettext("The text above has changed. Please look again.")
        if not self.name:
            self.errors["name"] = gettext("Please type your name.")
        if self.age not in {"adult", "minor"}:
            self.errors["age"] = gettext("Please choose one.")
        if self.age == "adult" and subject.majority_at and subject.majority_at > now():
            self.errors["age"] = gettext(
                "You are recorded as younger than 18. If that is wrong, please tell the people "
                "who invited you."
            )
        if self.age == "minor":
            self._look_at_guardian()
        return not self.errors

    @property
    def majority_at(self) -> dt.datetime | None:
        """The day from which a minor speaks for themselves; ``None`` when it is no date."""
        try:
            day = dt.date.fromisoformat(self.majority)
        except ValueError:
            return None
        return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)

    def _look_at_guardian(self) -> None:
        turns = self.majority_at
        if turns is None or not now() < turns <= now() + dt.timedelta(days=366 * 18):
            self.errors["majority"] = gettext("Please give the day on which you turn 18.")
        if not self.guardian:
            self.errors["guardian"] = gettext("A parent or guardian must type their name.")
        if not self.agreed:
            self.errors["agreed"] = gettext("A parent or guardian must tick this.")
        if not self.assent:
            self.errors["assent"] = gettext("You must want it too. If you do not, say no.")


@blueprint.get("/consent/<secret>")
@by_link()
def ask(secret: str) -> ResponseReturnValue:
    """Says what it is about, and asks."""
    return _ask(open_link(secret, "consent"), Answer())


@blueprint.post("/consent/<secret>")
@by_link()
def answer(secret: str) -> ResponseReturnValue:
    """Takes the answer, once; the same form sent again leads to the same page."""
    own = invitations.derive_secret(
        vault=toolbox().vault, secret=secret, nonce=request.form.get("nonce", "")[:NONCE]
    )
    try:
        invitation = open_link(secret, "consent")
    except NotFound:
        open_link(own, "own")
        return redirect(url_for("own.keep", secret=own), 303)
    notice, said = _notice(invitation), Answer.sent()
    if request.form.get("notice") != str(notice.id):
        said.errors["notice"] = gettext("The text has changed meanwhile. Please read it again.")
    if not said.is_whole(notice, invitation.subject):
        return _ask(invitation, said), 422
    _record(invitation, notice, said)
    invitations.answer_invitation(db(), vault=toolbox().vault, invitation=invitation, own=own)
    return redirect(url_for("own.keep", secret=own), 303)


@blueprint.errorhandler(CSRFError)
def stale(error: CSRFError) -> ResponseReturnValue:
    """A form that was open for too long comes back with everything that was filled in."""
    try:
        invitation = open_link(str((request.view_args or {}).get("secret")), "consent")
    except NotFound:
        return fail(error)
    said = Answer.sent()
    said.errors["notice"] = gettext(
        "This page was open for too long. Everything is still here: please send it once more."
    )
    return _ask(invitation, said), 400


def _ask(invitation: Invitation, said: Answer) -> str:
    dataset = datasets.get_dataset(db(), dataset_id=invitation.subject.dataset_id)
    return page(
        "joining/ask.html",
        dataset=dataset,
        told=_notice(invitation),
        said=said,
        ends=end_of_consent(),
        nonce=request.form.get("nonce", "")[:NONCE] or secrets.token_hex(NONCE // 2),
    )


def _notice(invitation: Invitation) -> Notice:
    """What this person is told: in their language if there is a notice in it.

    Raises:
        Conflict: there is none yet.
    """
    dataset = datasets.get_dataset(db(), dataset_id=invitation.subject.dataset_id)
    return consent.current_notice(db(), dataset=dataset, locale=language())


def _record(invitation: Invitation, notice: Notice, said: Answer) -> None:
    subject, vault = invitation.subject, toolbox().vault
    minor = said.age == "minor"
    if minor:
        consent.set_guardian(
            db(),
            vault=vault,
            subject=subject,
            majority_at=said.majority_at,
            name=said.guardian,
            actor=invitations.SUBJECT,
        )
    consent.record_consent(
        db(),
        vault=vault,
        subject=subject,
        purposes=said.purposes,
        notice=notice,
        expression="ticked",
        expires_at=end_of_consent(),
        statement=consent.Statement(
            party="guardian" if minor else "subject",
            assent="given" if minor else None,
            name=said.guardian if minor else said.name,
            note=f"Signed by the minor: {said.name}" if minor else "",
            locale=notice.locale,
        ),
        actor=invitations.SUBJECT,
    )


def end_of_consent() -> dt.datetime:
    """When a consent given today ends by itself: at the end of the same day in three years."""
    today = now().replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        return today.replace(year=today.year + YEARS)
    except ValueError:  # 29 February
        return today.replace(year=today.year + YEARS, day=28)
