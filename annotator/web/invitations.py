"""Links for people in pictures: made, shown once with their QR code, printed, ended."""

from urllib.parse import urlsplit

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from wtforms import IntegerField, SelectChoice, SelectField, StringField
from wtforms.validators import InputRequired, Length, NumberRange

from annotator.core.errors import Conflict, NotFound
from annotator.domain import consent, invitations
from annotator.models import Dataset, Subject
from annotator.web.forms import Form, strip
from annotator.web.languages import SOURCE, catalogues, name_of, speaking
from annotator.web.links import outside
from annotator.web.own import draw_code
from annotator.web.rendering import page
from annotator.web.security import current_dataset, requires, signed_in
from annotator.web.transaction import db, toolbox

blueprint = Blueprint("invitations", __name__)
HERE = frozenset({"localhost", "127.0.0.1", "::1"})
PAGES = {"consent": "joining.ask", "own": "own.show"}


class NewLink(Form):
    """How long a question waits, and in which language it asks."""

    days = IntegerField(
        "Days until it ends",
        default=invitations.DAYS,
        validators=[
            InputRequired("Please give a number of days."),
            NumberRange(1, invitations.MOST_DAYS, "A link waits 1 to 90 days for an answer."),
        ],
    )
    language = SelectField("Language", default=SOURCE)

    def __init__(self) -> None:
        super().__init__()
        self.language.choices = [SelectChoice(code, name_of(code)) for code in catalogues()]


class NewPerson(NewLink):
    """Somebody who is not recorded yet; everything else they say themselves."""

    code = StringField("Code", filters=[strip], validators=[Length(max=80)])


@blueprint.get("/datasets/<int:dataset_id>/people/invite")
@requires("curator")
def new(dataset_id: int) -> ResponseReturnValue:
    """Asks how to call somebody who is to be invited."""
    return _new_page(current_dataset(dataset_id), NewPerson())


@blueprint.post("/datasets/<int:dataset_id>/people/invite")
@requires("curator")
def create(dataset_id: int) -> ResponseReturnValue:
    """Records a person without any consent, and makes the link that asks for it."""
    dataset, form = current_dataset(dataset_id), NewPerson()
    if not form.validate():
        return _new_page(dataset, form), 422
    if not consent.current_notices(db(), dataset=dataset):
        return _new_page(dataset, form), Conflict.status
    try:
        subject = consent.create_subject(
            db(), vault=toolbox().vault, dataset=dataset, code=form.code.data, by=signed_in().id
        )
    except Conflict as error:
        form.refuse(error, "code")
        return _new_page(dataset, form), error.status
    return _make(subject, dataset, "consent", form)


@blueprint.get("/subjects/<int:subject_id>/links")
@requires("curator")
def index(subject_id: int) -> ResponseReturnValue:
    """The links of a person, without their secrets."""
    return _index_page(*_visible(subject_id), NewLink())


@blueprint.post("/subjects/<int:subject_id>/links")
@requires("curator")
def make(subject_id: int) -> ResponseReturnValue:
    """Makes a link and shows it, this one time."""
    subject, dataset = _visible(subject_id)
    form = NewLink()
    kind = "own" if request.form.get("kind") == "own" else "consent"
    if not form.validate():
        return _index_page(subject, dataset, form), 422
    if kind == "consent":
        consent.current_notice(db(), dataset=dataset)
    return _make(subject, dataset, kind, form)


@blueprint.post("/links/<int:link_id>/revoke")
@requires("curator")
def revoke(link_id: int) -> ResponseReturnValue:
    """Ends a link at once."""
    invitation = invitations.get_invitation(db(), invitation_id=link_id)
    _visible(invitation.subject_id)
    invitations.revoke_invitation(db(), invitation=invitation, by=signed_in().id)
    flash("The link is ended; it opens nothing any more.", "success")
    return redirect(url_for(".index", subject_id=invitation.subject_id), 303)


def _make(subject: Subject, dataset: Dataset, kind: str, form: NewLink) -> ResponseReturnValue:
    invitation, secret = invitations.create_invitation(
        db(),
        vault=toolbox().vault,
        subject=subject,
        kind=kind,
        days=form.days.data,
        by=signed_in().id,
    )
    chosen = form.language.data
    address = outside(PAGES[kind], secret=secret, lang=None if chosen == SOURCE else chosen)
    with speaking(chosen):
        letter = render_template(
            "invitations/_letter.html",
            dataset=dataset,
            invitation=invitation,
            address=address,
            code=draw_code(address),
        )
    body = page(
        "invitations/made.html",
        dataset=dataset,
        subject=subject,
        letter=Markup(letter),  # noqa: S704 - a template of ours, escaped already
        here_only=urlsplit(address).hostname in HERE,
    )
    return body, 201, {"Referrer-Policy": "no-referrer"}


def _visible(subject_id: int) -> tuple[Subject, Dataset]:
    """A person and their dataset, if the one who asks may see them.

    Raises:
        NotFound: there is none, or not for this colleague; the two look the same.
    """
    subject = consent.get_subject(db(), subject_id=subject_id)
    try:
        return subject, current_dataset(subject.dataset_id)
    except NotFound as error:
        raise NotFound("There is no such person.") from error


def _new_page(dataset: Dataset, form: NewPerson) -> str:
    told = bool(consent.current_notices(db(), dataset=dataset))
    return page("invitations/new.html", dataset=dataset, form=form, told=told)


def _index_page(subject: Subject, dataset: Dataset, form: NewLink) -> str:
    rows = invitations.list_invitations(db(), subject=subject)
    return page(
        "invitations/index.html",
        dataset=dataset,
        subject=subject,
        form=form,
        rows=[(row, invitations.is_open(row)) for row in rows],
    )
