"""The forms in which a colleague writes down what a person said, and how they said it."""

import datetime as dt

from flask import request
from wtforms import (
    DateField,
    FileField,
    RadioField,
    SelectChoice,
    SelectMultipleField,
    StringField,
    TextAreaField,
)
from wtforms.validators import InputRequired, Length, Optional

from annotator.domain import consent
from annotator.models import PURPOSES
from annotator.web.forms import Form, strip

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


PARTY_WORDS = {"subject": "The person themselves", "guardian": "Their guardian, for them"}
ASSENT_WORDS = {
    "": "Of age, or not a question here",
    "given": "The minor said yes too",
    "not_able": "The minor is too young to be asked",
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
    said_on = DateField("Said on", validators=[Optional()])
    expires = DateField(
        "Ends on",
        validators=[InputRequired("Please give a date, such as 2029-11-23.")],
    )
    party = RadioField(
        "Who said it?",
        choices=[SelectChoice(name, words) for name, words in PARTY_WORDS.items()],
        default="subject",
    )
    assent = RadioField(
        "What did the minor say?",
        choices=[SelectChoice(name, words) for name, words in ASSENT_WORDS.items()],
        default="",
    )
    signed_name = StringField(
        "Name under the consent",
        filters=[strip],
        validators=[Length(max=consent.LONGEST_NAME)],
    )
    note = TextAreaField(
        "Note",
        filters=[strip],
        validators=[Length(max=consent.LONGEST_NOTE)],
        render_kw={"rows": 2},
    )
    scan = FileField("Scan of the paper")


class Guardian(Form):
    """Who speaks for a person, and until when."""

    majority = DateField("Speaks for themselves from", validators=[Optional()])
    guardian_name = StringField("Guardian's name", filters=[strip], validators=[Length(max=200)])
    guardian_contact = StringField(
        "Guardian's contact", filters=[strip], validators=[Length(max=300)]
    )


class NewSubject(Consent, Guardian):
    """A person and their first consent."""

    code = StringField("Code", filters=[strip], validators=[Length(max=80)])
    name = StringField("Name", filters=[strip], validators=[Length(max=200)])
    contact = StringField("Contact", filters=[strip], validators=[Length(max=300)])
    group = StringField("Group", filters=[strip], validators=[Length(max=80)])


def read_statement(form: Consent) -> consent.Statement:
    """How it was expressed, with the scan that was sent."""
    sent = request.files.get("scan")
    return consent.Statement(
        party=form.party.data or "subject",
        assent=form.assent.data or None,
        name=form.signed_name.data,
        note=form.note.data,
        scan=sent.read() if sent is not None and sent.filename else b"",
    )


def day_to_moment(day: dt.date | None) -> dt.datetime | None:
    """The first moment of a day, in UTC."""
    return None if day is None else dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
