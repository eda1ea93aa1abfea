"""The people in the pictures: who they are by code, what they agreed to, what is held of them."""

import base64
import binascii
import datetime as dt
import json
from typing import Any

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput, NotFound
from annotator.domain import consent, retention
from annotator.models import Dataset, Notice, Subject
from annotator.web.rendering import may_open, page
from annotator.web.security import current_dataset, requires, signed_in
from annotator.web.statements import (
    ASSENT_WORDS,
    EXPRESSION_WORDS,
    PARTY_WORDS,
    PURPOSE_WORDS,
    Consent,
    Guardian,
    NewSubject,
    day_to_moment,
    read_statement,
)
from annotator.web.transaction import db, toolbox

blueprint = Blueprint("subjects", __name__)
PAGE = 50
SUGGESTED = 20
MOST_CARRIED = 300_000  # bytes of a table that its page may carry from trying to recording
YEARS = 3  # a consent's default length
WITHDRAWAL = "withdrawal.confirm"


@blueprint.get("/datasets/<int:dataset_id>/people")
@requires("curator")
def index(dataset_id: int) -> ResponseReturnValue:
    """Everybody, with their state at a glance."""
    dataset = current_dataset(dataset_id)
    text = request.args.get("text", "").strip()
    state = request.args.get("state", "")
    after = request.args.get("after", 0, type=int)
    found = consent.list_standings(
        db(), dataset=dataset, text=text, state=state, after=after, limit=PAGE + 1
    )
    rows, more = found[:PAGE], None
    if len(found) > PAGE:
        more = url_for(
            ".index",
            dataset_id=dataset.id,
            text=text or None,
            state=state or None,
            after=rows[-1].subject.id,
        )
    return _page(
        "index",
        dataset,
        rows=rows,
        text=text,
        state=state,
        states=consent.count_states(db(), dataset=dataset),
        first=not after,
        next=more,
    )


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
    form.expires.data, form.said_on.data = _default_end(), now().date()
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
            majority_at=day_to_moment(form.majority.data),
            guardian_name=form.guardian_name.data,
            guardian_contact=form.guardian_contact.data,
            by=signed_in().id,
        )
    except Conflict as error:
        form.refuse(error, "code")
        return _page("new", dataset, form=form, told=notice), error.status
    try:
        _record(subject, form, notice)
    except InvalidInput as error:
        form.refuse(error, _field_of(error))
        return _page("new", dataset, form=form, told=notice), error.status
    flash(f"{subject.code} is recorded, with a key of their own.", "success")
    return redirect(url_for(".show", subject_id=subject.id), 303)


@blueprint.get("/subjects/<int:subject_id>")
@requires("curator")
def show(subject_id: int) -> ResponseReturnValue:
    """What is held of a person and what they agreed to."""
    return _subject_page(_subject(subject_id), _fresh())


@blueprint.post("/subjects/<int:subject_id>/contact")
@requires("curator")
def contact(subject_id: int) -> ResponseReturnValue:
    """Opens name and contact; the log says who looked."""
    subject = _subject(subject_id)
    opened: tuple[str, ...] = consent.open_contact(
        db(), vault=toolbox().vault, subject=subject, by=signed_in().id
    )
    if subject.sealed_guardian_name or subject.sealed_guardian_contact:
        opened += consent.open_guardian(
            db(), vault=toolbox().vault, subject=subject, by=signed_in().id
        )
    return _subject_page(subject, _fresh(), opened=opened)


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
        form.refuse(error, _field_of(error))
        return _subject_page(subject, form), error.status
    flash("Recorded. It counts from now on.", "success")
    return redirect(url_for(".show", subject_id=subject.id), 303)


@blueprint.post("/subjects/<int:subject_id>/guardian")
@requires("curator")
def guardian(subject_id: int) -> ResponseReturnValue:
    """Writes down who speaks for a minor, and until when."""
    subject = _subject(subject_id)
    form = Guardian()
    if not form.validate():
        return _subject_page(subject, _fresh(), guardian=form), 422
    consent.set_guardian(
        db(),
        vault=toolbox().vault,
        subject=subject,
        majority_at=day_to_moment(form.majority.data),
        name=form.guardian_name.data,
        contact=form.guardian_contact.data,
        by=signed_in().id,
    )
    flash("Written down. It counts from now on.", "success")
    return redirect(url_for(".show", subject_id=subject.id), 303)


@blueprint.post("/subjects/<int:subject_id>/statements/<int:statement_id>")
@requires("admin")
def evidence(subject_id: int, statement_id: int) -> ResponseReturnValue:
    """Opens the signed paper of a consent; the log says who looked."""
    subject = _subject(subject_id)
    statement = consent.get_statement(db(), statement_id=statement_id)
    if statement.subject_id != subject.id:
        raise NotFound("There is no such statement.")
    opened = consent.open_evidence(
        db(), vault=toolbox().vault, statement=statement, by=signed_in().id
    )
    if "scan" not in request.form or not opened.scan:
        return _page("evidence", _dataset(subject), subject=subject, opened=opened)
    # As a download, so that no browser runs what a file may hold.
    suffix = str(opened.media_type).rpartition("/")[2]
    return Response(
        opened.scan,
        mimetype=opened.media_type,
        headers={"Content-Disposition": f'attachment; filename="consent-{statement.id}.{suffix}"'},
    )


@blueprint.post("/subjects/<int:subject_id>/record")
@requires("curator")
def record_of(subject_id: int) -> ResponseReturnValue:
    """The consent record as JSON-LD, with the names in it; the log says who took it."""
    subject = _subject(subject_id)
    document = consent.take_record(db(), vault=toolbox().vault, subject=subject, by=signed_in().id)
    return Response(
        json.dumps(document, ensure_ascii=False, indent=1),
        mimetype="application/ld+json",
        headers={"Content-Disposition": f'attachment; filename="consent-{subject.id}.jsonld"'},
    )


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
    words = {
        "purpose_words": PURPOSE_WORDS,
        "expression_words": EXPRESSION_WORDS,
        "party_words": PARTY_WORDS,
        "assent_words": ASSENT_WORDS,
    }
    return page(f"subjects/{template}.html", dataset=dataset, **words, **values)


def _fresh() -> Consent:
    form = Consent()
    form.expires.data, form.said_on.data = _default_end(), now().date()
    return form


def _subject_page(
    subject: Subject,
    form: Consent,
    *,
    opened: tuple[str, ...] | None = None,
    guardian: Guardian | None = None,
) -> str:
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
        endings=retention.list_endings_of(db(), subject=subject),
        history=list(reversed(subject.events)),
        grown=subject.majority_at is not None and subject.majority_at <= now(),
        guardian=guardian or _guardian_form(subject),
    )


def _record(subject: Subject, form: Consent, notice: Notice) -> None:
    expires_at = day_to_moment(form.expires.data)
    assert expires_at is not None
    consent.record_consent(
        db(),
        subject=subject,
        purposes=form.purposes.data,
        notice=notice,
        expression=form.expression.data,
        expires_at=expires_at,
        at=day_to_moment(form.said_on.data) if form.said_on.data != now().date() else None,
        by=signed_in().id,
        statement=read_statement(form),
        vault=toolbox().vault,
    )


def _field_of(error: InvalidInput) -> str:
    """Beside which field a refusal is shown."""
    for words, field in (
        ("scan", "scan"),
        ("guardian", "party"),
        ("of age", "party"),
        ("minor", "assent"),
        ("future", "said_on"),
    ):
        if words in error.message:
            return field
    return "expires"


def _guardian_form(subject: Subject) -> Guardian:
    form = Guardian(formdata=None)
    form.majority.data = subject.majority_at.date() if subject.majority_at else None
    return form


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
