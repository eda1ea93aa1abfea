"""Forms: WTForms with CSRF, and the pieces that several pages share."""

from typing import Any

from flask_wtf import FlaskForm
from wtforms import Field, StringField
from wtforms.validators import InputRequired, Length

from annotator.core.errors import AnnotatorError


class Form(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """Base of every form; the guard has checked its CSRF token already."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]  # likewise
        """The guard in ``security.py`` checks every request once."""

        csrf = False

    def refuse(self, error: AnnotatorError, field: str) -> None:
        """Shows a refusal from the domain beside the field that caused it."""
        self[field].errors = [*self[field].errors, error.message]


def strip(value: str | None) -> str:
    """A filter for text fields: without the spaces around."""
    return (value or "").strip()


def name_field(label: str = "Name", *, longest: int = 120, **options: Any) -> Field:
    """A short text that must be given."""
    return StringField(
        label,
        filters=[strip],
        validators=[InputRequired("Please fill this in."), Length(max=longest)],
        **options,
    )
