"""Links by which a person in the pictures reaches their own pages, without an account."""

import datetime as dt

from sqlalchemy import ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from annotator.core.db import Base, Created, Key
from annotator.models.consent import Subject

INVITATION_KINDS = ("consent", "own")


class Invitation(Base):
    """One link of one person. The secret in it is kept nowhere.

    Kinds: ``consent`` (asks once, ends by itself) and ``own`` (the person's own page, lasts until
    it is replaced). ``digest`` is a blind index of the secret: a copy of the table opens nothing,
    and cannot be tried against guesses without the installation's key.
    """

    __tablename__ = "invitations"

    id: Mapped[Key]
    subject_id: Mapped[int] = mapped_column(ForeignKey("subjects.id"), index=True)
    kind: Mapped[str] = mapped_column(String(8))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    created_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))  # NULL: themselves
    created_at: Mapped[Created]
    expires_at: Mapped[dt.datetime | None]
    answered_at: Mapped[dt.datetime | None]
    revoked_at: Mapped[dt.datetime | None]

    subject: Mapped[Subject] = relationship()
