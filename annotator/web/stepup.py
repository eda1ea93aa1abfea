"""Asking for the password again before something that cannot be taken back."""

from wtforms import PasswordField
from wtforms.validators import InputRequired, Length

from annotator.web.forms import Form
from annotator.web.identity import LONGEST_PASSWORD, check_password
from annotator.web.security import signed_in

STEP_UP_LIMIT = "10 per minute"  # guesses of one person's password, by whoever sits at their desk


class StepUp(Form):
    """A form that needs the password of the person signed in."""

    password = PasswordField(
        "Your password",
        validators=[InputRequired("Please give your password."), Length(max=LONGEST_PASSWORD)],
        render_kw={"autocomplete": "current-password"},
    )

    def confirmed(self) -> bool:
        """Whether all fields are right and the password is theirs."""
        valid = bool(self.validate())
        if not self.password.errors and not check_password(signed_in(), self.password.data):
            self.password.errors = ["This is not your password."]
        return valid and not self.password.errors
