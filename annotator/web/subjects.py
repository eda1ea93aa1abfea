"""The people in the pictures: who they are by code, what they agreed to, what is held of them."""

import base64
import binascii
import datetime as dt
from typing import Any

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from wtforms import DateField, RadioField, SelectChoice, SelectMultipleField, StringField
from wtforms.validators import InputRequired, Length

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput
from annotator.domain import consent
from annotator.models import PURPOSES, Dataset, Notice, Subject
from annotator.web.forms import Form, strip
from annotator.web.rendering import may_open, page
from annotator.web.security import current_dataset, requires, signed_in
from annotator.web.transaction import db, toolbox

blueprint = Blueprint("subjects", __name__)
PAGE = 50
SUGGESTED = 20
MOST_CARRIED = 300_000  # bytes of a table that its page may carry from trying to recording
YEARS = 3  # a consent's default length
WITHDRAWAL = "withdrawal.confirm"

# Each purpose as the person hears it: a short name and one plain sentence.
PURPOSE_WORDS: dict[str, tuple[str, str]] = {
    "store": ("Keep", "The pictures may be kept, encrypted. Without this, nothing below counts."),
    "label": ("Show", "Trained people may see the face and say what it expresses."),
    "prelabel": ("Let a model guess", "An emotion model may run on the pictures."),
    "train": ("Train", "The pictures may help to train a model here."),
    "export_pseudonymised": (
        "Share pseudonymised",
        "The face, without a name, may go to named recipients.",
    ),
    "export_anonymised": (
        "Share averaged",
        "The face may go out, averaged with at least four other people's.",
    ),
    "publish_weights": (
        "Publish the model",
        "A model that the pictures helped to train may be published.",
    ),
}
EXPRESSION_WORDS: dict[str, str] = {
    "ticked": "They ticked it themselves",
    "paper": "On signed paper",
    "verbal": "Said aloud and recorded",
    "imported": "Recorded in another system",
}


class Consent(Form):
    """Purposes, how they were agreed to, and until when."""

    purposes = SelectMultipleField(
        "They agree to",
        choices=[SelectChoice(name, PURPOSE_WORDS[name][0]) for name in PURPOSES],
    )
    expression = RadioField(
        "How did they say it?",
        choices=[SelectChoice(name, words) for name, words in EXPRESSION_WORDS.items()],
        validators=[InputRequired("Please say how the person expressed it.")],
    )
    expires = DateField(
        "Ends on",
        validators=[InputRequired("Please give a date, such as 2029-11-23.")],
    )


class NewSubject(Consent):
    """A person and their first consent."""

    code = StringField("Code", filters=[strip], validators=[Length(max=80)])
    name = StringField("Name", filters=[strip], validators=[Length(max=200)])
    contact = StringField("Contact", filters=[strip], validators=[Length(max=300)])
    group = StringField("Group", filters=[strip], validators=[Length(max=80)])


@blueprint.get("/datasets/<int:dataset_id>/people")
@requires("curator")
def index(dataset_id: int) -> ResponseReturnValue:
    """Everybody, with their state at a glance."""
    dataset = current_dataset(dataset_id)
    text = request.args.get("text", "").strip()
    after = request.args.get("after", 0, type=int)
    found = consent.list_standings(db(), dataset=dataset, text=text, after=after, limit=PAGE + 1)
    rows, more = found[:PAGE], None
    if len(found) > PAGE:
        more = url_for(
            ".index", dataset_id=dataset.id, text=text or None, after=rows[-1].subject.id
        )
    return _page("index", dataset, rows=rows, text=text, first=not after, next=more)


@blueprint.get("/datasets/<int:dataset_id>/people/codes")
@requires("curator")
def codes(dataset_id: int) -> ResponseReturnValue:
    """Codes that hold a text, for a search field."""
    dataset = current_dataset(dataset_id)
    text = request.args.get("text", "").strip()
    found = consent.suggest_codes(db(), dataset=dataset, text=text, limit=SUGGESTED)
    return {"codes": found}


@blueprint.get("/datasets/<int:dataset_id>/people/new")
@requires("curator")
def new(dataset_id: int) -> ResponseReturnValue:
    """Asks for a person and their consent."""
    dataset = current_dataset(dataset_id)
    form = NewSubject()
    form.expires.data = _default_end()
    form.code.data = request.args.get("code", "")
    return _page("new", dataset, form=form, told=_notice(dataset))


@blueprint.post("/datasets/<int:dataset_id>/people")
@requires("curator")
def create(dataset_id: int) -> ResponseReturnValue:
    """Records a person and what they agree to, or nothing."""
    dataset = current_dataset(dataset_id)
    form, notice = NewSubject(), consent.current_notice(db(), dataset=dataset)
    valid = form.validate() and _choose_something(form)
    if not valid:
        return _page("new", dataset, form=form, told=notice), 422
    try:
        subject = consent.create_subject(
            db(),
            vault=toolbox().vault,
            dataset=dataset,
            code=form.code.data,
            name=form.name.data,
            contact=form.contact.data,
            group=form.group.data,
            by=signed_in().id,
        )
    except Conflict as error:
        form.refuse(error, "code")
        return _page("new", dataset, form=form, told=notice), error.status
    try:
        _record(subject, form, notice)
    except InvalidInput as error:
        form.refuse(error, "expires")
        return _page("new", dataset, form=form, told=notice), error.status
    flash(f"{subject.code} is recorded, with a key of their own.", "success")
    return redirect(url_for(".show", subject_id=subject.id), 303)


@blueprint.get("/subjects/<int:subject_id>")
@requires("curator")
def show(subject_id: int) -> ResponseReturnValue:
    """What is held of a person and what they agreed to."""
    form = Consent()
    form.expires.data = _default_end()
    return _subject_page(_subject(subject_id), form)


@blueprint.post("/subjects/<int:subject_id>/contact")
@requires("curator")
def contact(subject_id: int) -> ResponseReturnValue:
    """Opens name and contact; the log says who looked."""
    subject = _subject(subject_id)
    form = Consent()
    form.expires.data = _default_end()
    opened = consent.open_contact(db(), vault=toolbox().vault, subject=subject, by=signed_in().id)
    return _subject_page(subject, form, opened=opened)


@blueprint.post("/subjects/<int:subject_id>/consents")
@requires("curator")
def record(subject_id: int) -> ResponseReturnValue:
    """Records that a person agrees to more, or again."""
    subject = _subject(subject_id)
    form = Consent()
    if not (form.validate() and _choose_something(form)):
        return _subject_page(subject, form), 422
    try:
        _record(subject, form, consent.current_notice(db(), dataset=_dataset(subject)))
    except InvalidInput as error:
        form.refuse(error, "expires")
        return _subject_page(subject, form), error.status
    flash("Recorded. It counts from now on.", "success")
    return redirect(url_for(".show", subject_id=subject.id), 303)


@blueprint.get("/datasets/<int:dataset_id>/people/import")
@requires("curator")
def import_table(dataset_id: int) -> ResponseReturnValue:
    """Asks for a table of people and consents."""
    dataset = current_dataset(dataset_id)
    return _page("import", dataset, told=_notice(dataset))


@blueprint.post("/datasets/<int:dataset_id>/people/import")
@requires("curator")
def read_table(dataset_id: int) -> ResponseReturnValue:
    """Tries a table, and records it when asked to."""
    dataset = current_dataset(dataset_id)
    notice = consent.current_notice(db(), dataset=dataset)
    try:
        data = _sent_table()
        rows, refused = consent.read_table(db(), dataset=dataset, notice=notice, data=data)
    except InvalidInput as error:
        return _page("import", dataset, told=notice, error=error.message), error.status
    values = {"told": notice, "rows": rows, "refused": refused}
    if "record" not in request.form:
        return _page("import", dataset, **values, again=_carry(data))
    if refused or not rows:
        why = "Nothing was recorded: some lines are refused. Mend the table and try again."
        return _page("import", dataset, **values, error=why), 422
    people = consent.record_rows(
        db(),
        vault=toolbox().vault,
        dataset=dataset,
        notice=notice,
        rows=rows,
        by=signed_in().id,
    )
    flash(f"{len(people):,} people are recorded, each with a key of their own.", "success")
    return redirect(url_for(".index", dataset_id=dataset.id), 303)


def _sent_table() -> bytes:
    sent = request.files.get("table")
    if sent is not None and sent.filename:
        data: bytes = sent.read()
        return data
    again = request.form.get("again")
    if not again:
        raise InvalidInput("Please choose a CSV file.")
    try:
        return base64.b64decode(again, validate=True)
    except binascii.Error as error:
        raise InvalidInput("Please choose the CSV file again.") from error


def _carry(data: bytes) -> str | None:
    """The table for the page to send again; a large one must be chosen again."""
    return base64.b64encode(data).decode() if len(data) <= MOST_CARRIED else None


def _page(template: str, dataset: Dataset, /, **values: Any) -> str:
    words = {"purpose_words": PURPOSE_WORDS, "expression_words": EXPRESSION_WORDS}
    return page(f"subjects/{template}.html", dataset=dataset, **words, **values)


def _subject_page(subject: Subject, form: Consent, opened: tuple[str, str] | None = None) -> str:
    dataset = _dataset(subject)
    erase = None
    if subject.withdrawn_at is None and may_open(signed_in(), WITHDRAWAL):
        erase = url_for(WITHDRAWAL, subject_id=subject.id)
    return _page(
        "show",
        dataset,
        subject=subject,
        standing=consent.standing_of(db(), subject=subject),
        given=consent.given_purposes(db(), subject=subject),
        holdings=consent.count_holdings(db(), subject=subject),
        form=form,
        told=_notice(dataset),
        opened=opened,
        erase=erase,
    )


def _record(subject: Subject, form: Consent, notice: Notice) -> None:
    end = form.expires.data
    consent.record_consent(
        db(),
        subject=subject,
        purposes=form.purposes.data,
        notice=notice,
        expression=form.expression.data,
        expires_at=dt.datetime(end.year, end.month, end.day, tzinfo=dt.UTC),
        by=signed_in().id,
    )


def _choose_something(form: Consent) -> bool:
    if form.purposes.data:
        return True
    form.purposes.errors = ["Tick at least one, exactly as the person said it."]
    return False


def _default_end() -> dt.date:
    today = now().date()
    try:
        return today.replace(year=today.year + YEARS)
    except ValueError:  # 29 February
        return today.replace(year=today.year + YEARS, day=28)


def _subject(subject_id: int) -> Subject:
    subject = consent.get_subject(db(), subject_id=subject_id)
    current_dataset(subject.dataset_id)
    return subject


def _dataset(subject: Subject) -> Dataset:
    return current_dataset(subject.dataset_id)


def _notice(dataset: Dataset) -> Notice | None:
    try:
        return consent.current_notice(db(), dataset=dataset)
    except Conflict:
        return None
