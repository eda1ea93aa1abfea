"""Links instead of accounts: how a person in the pictures is asked, and reaches their own page.

Whoever has a link's secret is the person, as far as anybody can tell, so a secret has 256 bits, is
shown once, and leaves only a blind index behind. Why there is no password beside it: ADR 13.
"""

import base64
import datetime as dt
import secrets

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput, NotFound
from annotator.domain import audit
from annotator.domain.ports import Vault
from annotator.models import INVITATION_KINDS, Invitation, Subject

SECRET_BYTES = 32
DAYS = 14  # how long a question waits for its answer, unless somebody says otherwise
MOST_DAYS = 90
SUBJECT = "subject"  # who acts, as the log names them
_SEARCHED = "invitation"  # purposes of blind indexes
_DERIVED = "own-page"


def create_invitation(
    session: Session,
    *,
    vault: Vault,
    subject: Subject,
    kind: str = "consent",
    days: int = DAYS,
    by: int | None = None,
) -> tuple[Invitation, str]:
    """Makes a link for a person; those of the same kind made before end.

    Args:
        session: the open transaction.
        vault: computes the blind index.
        subject: whose link it is.
        kind: ``consent`` asks them once, ``own`` is their own page and lasts.
        days: after how many days a question ends by itself.
        by: who made it; themselves when omitted.

    Returns:
        The row, and the secret for the address; it cannot be shown again.

    Raises:
        InvalidInput: no such kind, or a number of days out of bounds.
        Conflict: they withdrew everything, so there is nothing to ask.
    """
    if kind not in INVITATION_KINDS:
        raise InvalidInput(f"A link is one of {', '.join(INVITATION_KINDS)}.")
    if not 1 <= days <= MOST_DAYS:
        raise InvalidInput(f"A link waits 1 to {MOST_DAYS} days for an answer.")
    if kind == "consent" and subject.withdrawn_at is not None:
        raise Conflict("This person withdrew everything and was erased; add them anew.")
    secret = secrets.token_urlsafe(SECRET_BYTES)
    return _write(session, vault, subject, kind, secret, days=days, by=by), secret


def open_invitation(session: Session, *, vault: Vault, secret: str, kind: str) -> Invitation:
    """Finds the link that a secret belongs to.

    A secret that never was, one that ended and one of the other kind are told apart by nobody:
    each costs one blind index and one look into an index, and each is answered alike.

    Raises:
        NotFound: the link does not work, or no longer.
    """
    digest = vault.blind_index(_SEARCHED, secret)
    found = session.scalar(select(Invitation).where(Invitation.digest == digest))
    if found is None or found.kind != kind or not is_open(found):
        raise NotFound("This link does not work, or no longer.")
    return found


def is_open(invitation: Invitation) -> bool:
    """Whether a link works now. A question ends when it is answered, or its person is erased."""
    if invitation.revoked_at is not None or invitation.answered_at is not None:
        return False
    if invitation.kind == "consent" and invitation.subject.withdrawn_at is not None:
        return False
    return invitation.expires_at is None or invitation.expires_at > now()


def answer_invitation(session: Session, *, vault: Vault, invitation: Invitation, own: str) -> None:
    """Ends a question that was answered, and opens the person's own page.

    Args:
        session: the open transaction.
        vault: computes the blind index.
        invitation: the question.
        own: the secret of the page, from ``derive_secret``.
    """
    invitation.answered_at = now()
    _write(session, vault, invitation.subject, "own", own)


def derive_secret(*, vault: Vault, secret: str, nonce: str) -> str:
    """The secret of the own page that a form will open.

    The page that asks carries a random nonce. When the answer to a form was lost on its way, the
    same form sent again leads to the same page, although nobody has kept its secret; and the
    question's link alone, found later by somebody else, leads nowhere.
    """
    code = vault.blind_index(_DERIVED, f"{secret} {nonce}")
    return base64.urlsafe_b64encode(code).rstrip(b"=").decode()


def renew_own(session: Session, *, vault: Vault, invitation: Invitation) -> str:
    """Replaces the link to one's own page, by whoever has it; answers the new secret."""
    _, secret = create_invitation(session, vault=vault, subject=invitation.subject, kind="own")
    return secret


def revoke_invitation(session: Session, *, invitation: Invitation, by: int | None) -> None:
    """Ends a link; one that ended before stays as it was."""
    if invitation.revoked_at is not None:
        return
    invitation.revoked_at = now()
    session.flush()
    audit.append(
        session,
        action="invitation.revoked",
        actor=actor_of(by),
        subject=invitation.subject,
    )


def list_invitations(session: Session, *, subject: Subject) -> list[Invitation]:
    """All links that a person ever had, newest first."""
    query = select(Invitation).where(Invitation.subject_id == subject.id)
    return list(session.scalars(query.order_by(Invitation.id.desc())))


def get_invitation(session: Session, *, invitation_id: int) -> Invitation:
    """Finds a link by number.

    Raises:
        NotFound: there is none.
    """
    found = session.get(Invitation, invitation_id)
    if found is None:
        raise NotFound("There is no such link.")
    return found


def actor_of(by: int | None) -> str:
    """How the log names whoever acts: a colleague by number, else the person themselves."""
    return SUBJECT if by is None else audit.actor_of(by)


def _write(
    session: Session,
    vault: Vault,
    subject: Subject,
    kind: str,
    secret: str,
    *,
    days: int = DAYS,
    by: int | None = None,
) -> Invitation:
    for old in list_invitations(session, subject=subject):
        if old.kind == kind and is_open(old):
            revoke_invitation(session, invitation=old, by=by)
    moment = now()
    invitation = Invitation(
        subject_id=subject.id,
        kind=kind,
        digest=vault.blind_index(_SEARCHED, secret),
        created_by=by,
        created_at=moment,
        expires_at=moment + dt.timedelta(days=days) if kind == "consent" else None,
    )
    invitation.subject = subject
    session.add(invitation)
    session.flush()
    audit.append(
        session,
        action="invitation.created",
        actor=actor_of(by),
        subject=subject,
        kind=kind,
    )
    return invitation
