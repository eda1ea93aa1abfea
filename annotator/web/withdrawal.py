"""Withdrawal of a person: says exactly what will happen, asks for the password, does it."""

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from annotator.core.errors import Conflict, NotFound
from annotator.domain import consent, erasure
from annotator.models import PURPOSES, Subject
from annotator.web.rendering import page
from annotator.web.security import current_dataset, limited, requires
from annotator.web.security import signed_in as me
from annotator.web.statements import PURPOSE_WORDS
from annotator.web.stepup import STEP_UP_LIMIT, StepUp
from annotator.web.transaction import db

blueprint = Blueprint("withdrawal", __name__)
EVERYTHING = "all"


@blueprint.get("/subjects/<int:subject_id>/withdrawal")
@requires("curator")
def confirm(subject_id: int) -> ResponseReturnValue:
    """What withdrawing would do; everything, or one purpose (``?purpose=train``)."""
    subject = visible_subject(subject_id)
    if subject.withdrawn_at is not None:
        return redirect(url_for(".done", subject_id=subject.id))
    return _confirm_page(subject, StepUp(), request.args.get("purpose", EVERYTHING))


@blueprint.post("/subjects/<int:subject_id>/withdrawal")
@requires("curator")
@limited(STEP_UP_LIMIT)
def withdraw(subject_id: int) -> ResponseReturnValue:
    """Withdraws, after the password."""
    subject = visible_subject(subject_id)
    purpose = request.form.get("purpose", EVERYTHING)
    form = StepUp()
    chosen = purposes_of(purpose)
    if subject.withdrawn_at is None and not form.confirmed():
        return _confirm_page(subject, form, purpose), 422
    result = erasure.withdraw_purposes(db(), subject=subject, purposes=chosen, by=me())
    if result.consequences.everything:
        flash(
            f"The key of {subject.code} is destroyed. Nobody can open the pictures again.",
            "success",
        )
    else:
        word = f"\u2018{PURPOSE_WORDS[purpose][0].lower()}\u2019"
        flash(f"{word} is withdrawn for {subject.code}, with effect from now.", "success")
    return redirect(url_for(".done", subject_id=subject.id, purpose=purpose), 303)


@blueprint.get("/subjects/<int:subject_id>/withdrawal/done")
@requires("curator")
def done(subject_id: int) -> ResponseReturnValue:
    """What was done, and what is left to do: recipients to tell, models to replace."""
    subject = visible_subject(subject_id)
    purpose = request.args.get("purpose", EVERYTHING)
    chosen = purposes_of(purpose)
    if set(chosen) & set(consent.given_purposes(db(), subject=subject)):
        raise Conflict("This consent was not withdrawn.")
    return page(
        "withdrawal/done.html",
        subject=subject,
        dataset=current_dataset(subject.dataset_id),
        purpose=purpose,
        purpose_words=PURPOSE_WORDS,
        consequences=erasure.foresee(db(), subject=subject, purposes=chosen),
    )


def purposes_of(purpose: str) -> tuple[str, ...]:
    """The purposes that a word stands for.

    Raises:
        InvalidInput: there is no such purpose.
    """
    if purpose == EVERYTHING:
        return PURPOSES
    consent.check_purposes([purpose])
    return (purpose,)


def visible_subject(subject_id: int) -> Subject:
    """A person, if the one who asks may see their dataset.

    Raises:
        NotFound: there is none, or not for this colleague; the two look the same.
    """
    subject = consent.get_subject(db(), subject_id=subject_id)
    try:
        current_dataset(subject.dataset_id)
    except NotFound as error:
        raise NotFound("There is no such person.") from error
    return subject


def _confirm_page(subject: Subject, form: StepUp, purpose: str) -> str:
    return page(
        "withdrawal/confirm.html",
        subject=subject,
        dataset=current_dataset(subject.dataset_id),
        form=form,
        purpose=purpose,
        purpose_words=PURPOSE_WORDS,
        consequences=erasure.foresee(db(), subject=subject, purposes=purposes_of(purpose)),
    )
