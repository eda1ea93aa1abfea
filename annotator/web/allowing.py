"""Allowing a use from one's own page: as easy as taking it back, and as clear as the first yes."""

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput
from annotator.domain import consent, datasets, invitations
from annotator.models import Notice, Subject
from annotator.web.joining import LONGEST_NAME, end_of_consent
from annotator.web.languages import gettext, language
from annotator.web.links import by_link, keep_private, open_link
from annotator.web.rendering import page
from annotator.web.transaction import db, toolbox

blueprint = Blueprint("allowing", __name__)
keep_private(blueprint)


@blueprint.get("/me/<secret>/allow")
@by_link()
def ask(secret: str) -> ResponseReturnValue:
    """The notice in force, one box to tick (``?purpose=train``), and a name to type."""
    subject = open_link(secret, "own").subject
    purpose = request.args.get("purpose", "")
    if subject.withdrawn_at is not None or purpose in consent.given_purposes(db(), subject=subject):
        return redirect(url_for("own.show", secret=secret))
    return _ask(secret, subject, purpose, {})


@blueprint.post("/me/<secret>/allow")
@by_link()
def answer(secret: str) -> ResponseReturnValue:
    """Records the yes; the receipt holds it from then on. The same form twice is one yes."""
    subject = open_link(secret, "own").subject
    purpose = request.form.get("purpose", "")
    if purpose in consent.given_purposes(db(), subject=subject):
        return redirect(url_for("own.show", secret=secret), 303)
    notice = _notice(subject, purpose)
    name = request.form.get("name", "").strip()[:LONGEST_NAME]
    wrong = _look(notice, name)
    if wrong:
        return _ask(secret, subject, purpose, wrong, name=name), 422
    consent.record_consent(
        db(),
        vault=toolbox().vault,
        subject=subject,
        purposes=[purpose],
        notice=notice,
        expression="ticked",
        expires_at=end_of_consent(),
        statement=consent.Statement(name=name, locale=notice.locale),
        actor=invitations.SUBJECT,
    )
    flash(gettext("Thank you. It counts from this moment, and your receipt says so."), "success")
    return redirect(url_for("own.show", secret=secret), 303)


def offered(subject: Subject) -> tuple[str, ...]:
    """What a person may add by themselves now: in the notice in force, and not given.

    Nothing else can be given without ``store``, so then it is offered alone. A minor may add
    nothing alone; see ``needs_guardian``.
    """
    if subject.withdrawn_at is not None or needs_guardian(subject):
        return ()
    dataset = datasets.get_dataset(db(), dataset_id=subject.dataset_id)
    if not consent.list_locales(db(), dataset=dataset):
        return ()
    given = consent.given_purposes(db(), subject=subject)
    told = consent.current_notice(db(), dataset=dataset, locale=language()).purposes
    missing = tuple(purpose for purpose in told if purpose not in given)
    return ("store",) if "store" in missing else missing


def needs_guardian(subject: Subject) -> bool:
    """Whether somebody else speaks for this person for now."""
    return subject.majority_at is not None and subject.majority_at > now()


def _look(notice: Notice, name: str) -> dict[str, str]:
    """What is wrong with what was sent, by field, in the reader's language."""
    wrong = {}
    if request.form.get("notice") != str(notice.id):
        wrong["notice"] = gettext("The text has changed meanwhile. Please read it again.")
    if "agreed" not in request.form:
        wrong["agreed"] = gettext("Please tick the box, or go back if you do not want it.")
    if not name:
        wrong["name"] = gettext("Please type your name.")
    return wrong


def _notice(subject: Subject, purpose: str) -> Notice:
    """What is read before the yes, in their language if there is a text in it.

    Raises:
        InvalidInput: there is no such use.
        Conflict: this person may not add it, or not alone.
    """
    consent.check_purposes([purpose])
    if needs_guardian(subject):
        raise Conflict(
            gettext("A parent or guardian decides with you. Please ask those who invited you.")
        )
    if purpose not in offered(subject):
        raise InvalidInput(gettext("This cannot be allowed here. Please go back to your page."))
    dataset = datasets.get_dataset(db(), dataset_id=subject.dataset_id)
    return consent.current_notice(db(), dataset=dataset, locale=language())


def _ask(
    secret: str, subject: Subject, purpose: str, wrong: dict[str, str], *, name: str = ""
) -> str:
    told = _notice(subject, purpose)
    return page(
        "allowing/ask.html",
        secret=secret,
        purpose=purpose,
        told=told,
        wrong=wrong,
        name=name,
        ends=end_of_consent(),
    )
