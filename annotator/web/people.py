"""The people who work here: who they are, what they may see. For admins."""

import secrets

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from wtforms import RadioField, SelectChoice, StringField
from wtforms.validators import InputRequired, Length

from annotator.core.errors import Conflict, InvalidInput
from annotator.domain import accounts, datasets
from annotator.models import ROLES, User
from annotator.web.forms import Form, name_field, strip
from annotator.web.identity import change_password, hash_new
from annotator.web.rendering import page
from annotator.web.security import requires, signed_in
from annotator.web.sessions import end_sessions
from annotator.web.transaction import db

blueprint = Blueprint("people", __name__, url_prefix="/people")

ROLE_WORDS = {
    "annotator": "Annotator: labels faces of their datasets.",
    "reviewer": "Reviewer: also decides where votes disagree.",
    "curator": "Curator: also uploads, exports and trains.",
    "admin": "Admin: also manages people and sees every dataset.",
}


class NewPerson(Form):
    """Somebody to let in."""

    name = name_field()
    email = StringField(
        "E-mail",
        filters=[strip],
        validators=[InputRequired("Please give an e-mail address."), Length(max=254)],
        render_kw={"type": "email", "autocomplete": "off"},
    )
    role = RadioField(
        "Role", choices=[SelectChoice(role, ROLE_WORDS[role]) for role in ROLES], default=ROLES[0]
    )


@blueprint.get("")
@requires("admin")
def index() -> ResponseReturnValue:
    """Everybody."""
    return page("people/index.html", people=accounts.list_users(db()))


@blueprint.get("/new")
@requires("admin")
def new() -> ResponseReturnValue:
    """Asks who is to be let in."""
    return page("people/new.html", form=NewPerson())


@blueprint.post("")
@requires("admin")
def create() -> ResponseReturnValue:
    """Lets somebody in, with a password that is shown this one time."""
    form = NewPerson()
    if not form.validate():
        return page("people/new.html", form=form), 422
    password = secrets.token_urlsafe(12)
    try:
        person = accounts.create_user(
            db(),
            email=form.email.data,
            name=form.name.data,
            role=form.role.data,
            password_hash=hash_new(password),
            created_by=signed_in().id,
        )
    except (InvalidInput, Conflict) as error:
        form.refuse(error, "email")
        return page("people/new.html", form=form), error.status
    return page("people/password.html", person=person, password=password), 201


@blueprint.get("/<int:user_id>")
@requires("admin")
def show(user_id: int) -> ResponseReturnValue:
    """One person and the datasets they see."""
    person = accounts.get_user(db(), user_id=user_id)
    everything = datasets.list_datasets(db(), user=signed_in(), limit=1000)
    member_of = {membership.dataset_id for membership in person.memberships}
    return page("people/show.html", person=person, datasets=everything, member_of=member_of)


@blueprint.post("/<int:user_id>/memberships")
@requires("admin")
def memberships(user_id: int) -> ResponseReturnValue:
    """Sets the datasets that a person sees."""
    person = accounts.get_user(db(), user_id=user_id)
    chosen = set(request.form.getlist("dataset", type=int))
    for dataset in datasets.list_datasets(db(), user=signed_in(), limit=1000):
        change = accounts.add_member if dataset.id in chosen else accounts.remove_member
        change(db(), user=person, dataset=dataset, by=signed_in().id)
    flash(f"{person.name} now sees {_count(len(chosen))}.", "success")
    return _back(person)


@blueprint.get("/<int:user_id>/disable")
@requires("admin")
def ask_disable(user_id: int) -> ResponseReturnValue:
    """Asks before somebody is locked out."""
    return page("people/disable.html", person=accounts.get_user(db(), user_id=user_id))


@blueprint.post("/<int:user_id>/disable")
@requires("admin")
def disable(user_id: int) -> ResponseReturnValue:
    """Locks somebody out at once, everywhere."""
    person = accounts.get_user(db(), user_id=user_id)
    accounts.set_active(db(), user=person, active=False, by=signed_in().id)
    end_sessions(db(), user_id=person.id)
    flash(f"{person.name} can no longer sign in. Their votes stay.", "success")
    return _back(person)


@blueprint.post("/<int:user_id>/enable")
@requires("admin")
def enable(user_id: int) -> ResponseReturnValue:
    """Lets somebody in again."""
    person = accounts.get_user(db(), user_id=user_id)
    accounts.set_active(db(), user=person, active=True, by=signed_in().id)
    flash(f"{person.name} can sign in again.", "success")
    return _back(person)


@blueprint.post("/<int:user_id>/password")
@requires("admin")
def reset_password(user_id: int) -> ResponseReturnValue:
    """Gives somebody who forgot theirs a new password, shown this one time."""
    person = accounts.get_user(db(), user_id=user_id)
    password = secrets.token_urlsafe(12)
    change_password(db(), user=person, password=password, by=signed_in().id)
    return page("people/password.html", person=person, password=password)


def _back(person: User) -> ResponseReturnValue:
    return redirect(url_for("people.show", user_id=person.id), 303)


def _count(datasets_seen: int) -> str:
    return "1 dataset" if datasets_seen == 1 else f"{datasets_seen} datasets"
