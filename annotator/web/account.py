"""Signing in and out, one's own password, tokens and appearance."""

import datetime as dt
import logging
from urllib.parse import urlsplit

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from wtforms import IntegerField, PasswordField, StringField
from wtforms.validators import EqualTo, InputRequired, Length, NumberRange

from annotator.core.db import now
from annotator.domain import accounts
from annotator.models import ApiToken
from annotator.web.appearance import THEMES, remember_theme
from annotator.web.forms import Form, name_field
from annotator.web.identity import (
    LONGEST_PASSWORD,
    authenticate,
    begin_session,
    change_password,
    check_password,
    end_session,
)
from annotator.web.rendering import page
from annotator.web.security import (
    ADDRESS_LIMIT,
    SIGN_IN_LIMIT,
    address,
    known_user,
    limited,
    public,
    requires,
    signed_in,
)
from annotator.web.transaction import db, toolbox

blueprint = Blueprint("account", __name__)
log = logging.getLogger(__name__)

# The same words whether the address or the password was wrong, or the account disabled.
WRONG = "This e-mail address and password do not belong together."


class SignIn(Form):
    """Address and password."""

    email = StringField(
        "E-mail",
        validators=[InputRequired("Please give your e-mail address."), Length(max=254)],
        render_kw={"type": "email", "autocomplete": "username"},
    )
    password = PasswordField(
        "Password",
        validators=[InputRequired("Please give your password."), Length(max=LONGEST_PASSWORD)],
        render_kw={"autocomplete": "current-password"},
    )


class ChangePassword(Form):
    """The present password, and a new one twice."""

    current = PasswordField(
        "Present password",
        validators=[InputRequired("Please give your present password.")],
        render_kw={"autocomplete": "current-password"},
    )
    new = PasswordField(
        "New password",
        validators=[
            InputRequired("Please choose a new password."),
            Length(
                min=accounts.MIN_PASSWORD,
                max=LONGEST_PASSWORD,
                message=f"A password has {accounts.MIN_PASSWORD} to {LONGEST_PASSWORD} characters.",
            ),
        ],
        render_kw={"autocomplete": "new-password"},
    )
    again = PasswordField(
        "New password again",
        validators=[
            InputRequired("Please type the new password twice."),
            EqualTo("new", "The two new passwords differ."),
        ],
        render_kw={"autocomplete": "new-password"},
    )


class NewToken(Form):
    """What a token is for, and how long it lives."""

    name = name_field("What is it for?", longest=80)
    days = IntegerField(
        "Days until it ends",
        default=90,
        validators=[
            InputRequired("Please give a number of days."),
            NumberRange(1, 366, "A token lives 1 to 366 days."),
        ],
    )


def _account_of_attempt() -> str:
    return f"{address()} {request.form.get('email', '').strip().lower()[:254]}"


@blueprint.route("/sign-in", methods=["GET", "POST"])
@public
@limited(ADDRESS_LIMIT, key=address)
@limited(SIGN_IN_LIMIT, key=_account_of_attempt)
def sign_in() -> ResponseReturnValue:
    """Asks who it is."""
    form = SignIn()
    wanted = _own_path(request.values.get("next"))
    if known_user() is not None:
        return redirect(wanted)
    if not form.validate_on_submit():
        return page("account/sign_in.html", form=form, wanted=wanted), 422 if form.errors else 200
    user = authenticate(form.email.data, form.password.data)
    if user is None:
        log.warning("a sign-in was refused")
        return page("account/sign_in.html", form=form, wanted=wanted, wrong=WRONG), 422
    begin_session(user)
    return redirect(wanted, 303)


@blueprint.post("/sign-out")
@requires("annotator")
def sign_out() -> ResponseReturnValue:
    """Ends this browser's session."""
    end_session()
    flash("You are signed out.", "success")
    return redirect(url_for("account.sign_in"), 303)


@blueprint.get("/account")
@requires("annotator")
def index() -> ResponseReturnValue:
    """One's own account."""
    return _account(ChangePassword(), NewToken())


@blueprint.post("/account/password")
@requires("annotator")
@limited(SIGN_IN_LIMIT)
def password() -> ResponseReturnValue:
    """Changes one's own password; every other session ends."""
    form = ChangePassword()
    if form.validate() and not check_password(signed_in(), form.current.data):
        form.current.errors = ["This is not your present password."]
    if form.errors:
        return _account(form, NewToken()), 422
    user = signed_in()
    change_password(db(), user=user, password=form.new.data, by=user.id)
    begin_session(user)
    flash("Your password is changed. Everywhere else you are signed out.", "success")
    return redirect(url_for("account.index"), 303)


@blueprint.post("/account/tokens")
@requires("annotator")
def create_token() -> ResponseReturnValue:
    """Makes an API token and shows it this one time."""
    form = NewToken()
    if not form.validate():
        return _account(ChangePassword(), form), 422
    expires = now() + dt.timedelta(days=form.days.data)
    token, secret = accounts.create_token(
        db(), user=signed_in(), name=form.name.data, expires_at=expires
    )
    return page("account/token.html", token=token, secret=secret), 201


@blueprint.get("/account/tokens/<int:token_id>/revoke")
@requires("annotator")
def ask_revoke_token(token_id: int) -> ResponseReturnValue:
    """Asks before a token ends."""
    return page("account/revoke.html", token_id=token_id)


@blueprint.post("/account/tokens/<int:token_id>/revoke")
@requires("annotator")
def revoke_token(token_id: int) -> ResponseReturnValue:
    """Ends a token."""
    accounts.revoke_token(db(), token_id=token_id, user=signed_in())
    flash("The token is revoked.", "success")
    return redirect(url_for("account.index"), 303)


@blueprint.post("/appearance")
@public
def appearance() -> ResponseReturnValue:
    """Chooses light, dark, or what the system says."""
    response = redirect(_own_path(request.form.get("next")), 303)
    chosen = request.form.get("theme", "")
    if chosen in THEMES:
        remember_theme(response, chosen, secure=toolbox().settings.secure)
    return response


def _account(password_form: ChangePassword, token_form: NewToken) -> str:
    tokens = (
        db()
        .scalars(
            select(ApiToken)
            .where(ApiToken.user_id == signed_in().id, ApiToken.revoked_at.is_(None))
            .order_by(ApiToken.id.desc())
        )
        .all()
    )
    return page("account/index.html", password=password_form, token=token_form, tokens=tokens)


def _own_path(wanted: str | None) -> str:
    """Where to go next: a path of this site, never another site's address."""
    home = url_for("home.index")
    if not wanted or not wanted.startswith("/") or wanted.startswith(("//", "/\\")):
        return home
    parts = urlsplit(wanted)
    unsafe = parts.scheme or parts.netloc or any(ord(letter) < ord(" ") for letter in wanted)
    return home if unsafe else wanted
