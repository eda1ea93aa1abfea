"""People who work here: roles, memberships, API tokens."""

import datetime as dt
import hashlib
import secrets

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput, NotFound, NotSignedIn
from annotator.domain import audit
from annotator.models import ROLES, ApiToken, Dataset, Membership, User

MIN_PASSWORD = 12
MAX_NAME = 120
TOKEN_PREFIX = "ann_"  # noqa: S105 - a prefix that secret scanners can find, no secret


def has_role(user: User, role: str) -> bool:
    """Whether a person may do what ``role`` may; every role includes those before it."""
    return ROLES.index(user.role) >= ROLES.index(role)


def create_user(
    session: Session,
    *,
    email: str,
    name: str,
    role: str,
    password_hash: str,
    created_by: int | None = None,
) -> User:
    """Adds a person.

    Args:
        session: the open transaction.
        email: where they sign in; kept in lower case.
        name: what colleagues call them.
        role: one of ``ROLES``.
        password_hash: an Argon2id hash; the door hashes.
        created_by: the admin who did it.

    Raises:
        InvalidInput: no e-mail address, no name or no such role.
        Conflict: the address is taken.
    """
    try:
        address = validate_email(
            email, check_deliverability=False, test_environment=True
        ).normalized.lower()
    except EmailNotValidError as error:
        raise InvalidInput(f"'{email}' is not an e-mail address.") from error
    if not name.strip():
        raise InvalidInput("A name is needed.")
    if len(name.strip()) > MAX_NAME:
        raise InvalidInput(f"A name has at most {MAX_NAME} characters.")
    if role not in ROLES:
        raise InvalidInput(f"There is no role '{role}'; choose one of {', '.join(ROLES)}.")
    if session.scalar(select(User.id).where(User.email == address)) is not None:
        raise Conflict("There is somebody with this e-mail address already.")
    user = User(
        email=address,
        name=name.strip(),
        role=role,
        password=password_hash,
        fs_uniquifier=secrets.token_hex(32),
    )
    session.add(user)
    session.flush()
    audit.append(
        session, action="user.created", actor=audit.actor_of(created_by), user=user.id, role=role
    )
    return user


def get_user(session: Session, *, user_id: int) -> User:
    """Finds a person.

    Raises:
        NotFound: there is none with this number.
    """
    user = session.get(User, user_id)
    if user is None:
        raise NotFound("There is no such person.")
    return user


def list_users(session: Session) -> list[User]:
    """Everybody, by name."""
    return list(session.scalars(select(User).order_by(User.name, User.id)))


def set_active(session: Session, *, user: User, active: bool, by: int | None) -> None:
    """Lets a person in, or out; outside, every token and session of theirs ends for good.

    Raises:
        Conflict: the last active admin would be locked out.
    """
    if not active and user.role == "admin":
        others = session.scalar(
            select(User.id).where(User.role == "admin", User.active, User.id != user.id).limit(1)
        )
        if others is None:
            raise Conflict("This is the last admin; make another one first.")
    user.active = active
    user.fs_uniquifier = secrets.token_hex(32)
    if not active:
        session.execute(
            update(ApiToken)
            .where(ApiToken.user_id == user.id, ApiToken.revoked_at.is_(None))
            .values(revoked_at=now())
        )
    verb = "enabled" if active else "disabled"
    audit.append(session, action=f"user.{verb}", actor=audit.actor_of(by), user=user.id)


def add_member(session: Session, *, user: User, dataset: Dataset, by: int | None) -> None:
    """Lets a person see a dataset; twice is once."""
    if not is_member(session, user=user, dataset_id=dataset.id):
        session.add(Membership(user_id=user.id, dataset_id=dataset.id))
        session.flush()
        audit.append(
            session,
            action="member.added",
            actor=audit.actor_of(by),
            user=user.id,
            dataset=dataset.id,
        )


def remove_member(session: Session, *, user: User, dataset: Dataset, by: int | None) -> None:
    """Takes a dataset from a person's sight; their votes stay."""
    membership = session.scalar(
        select(Membership).where(Membership.user_id == user.id, Membership.dataset_id == dataset.id)
    )
    if membership is not None:
        session.delete(membership)
        audit.append(
            session,
            action="member.removed",
            actor=audit.actor_of(by),
            user=user.id,
            dataset=dataset.id,
        )


def is_member(session: Session, *, user: User, dataset_id: int) -> bool:
    """Whether a person may see a dataset; an admin always may."""
    if user.role == "admin":
        return True
    found = session.scalar(
        select(Membership.id).where(
            Membership.user_id == user.id, Membership.dataset_id == dataset_id
        )
    )
    return found is not None


def create_token(
    session: Session, *, user: User, name: str, expires_at: dt.datetime | None = None
) -> tuple[ApiToken, str]:
    """Makes an API token.

    Returns:
        The row, and the token itself, which is shown once and never kept.
    """
    if not name.strip():
        raise InvalidInput("A token needs a name, so that you know it when you revoke it.")
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    token = ApiToken(
        user_id=user.id, name=name.strip(), digest=_digest(secret), expires_at=expires_at
    )
    session.add(token)
    session.flush()
    audit.append(session, action="token.created", actor=audit.actor_of(user.id), token=token.id)
    return token, secret


def check_token(session: Session, *, secret: str) -> User:
    """Finds the person behind an API token.

    Raises:
        NotSignedIn: unknown, expired or revoked, or its owner is disabled.
    """
    token = session.scalar(select(ApiToken).where(ApiToken.digest == _digest(secret)))
    if token is None or token.revoked_at is not None or not token.user.active:
        raise NotSignedIn("This token is not valid.")
    if token.expires_at is not None and token.expires_at <= now():
        raise NotSignedIn("This token has expired.")
    return token.user


def revoke_token(session: Session, *, token_id: int, user: User) -> None:
    """Ends a token; one's own, or anybody's as an admin.

    Raises:
        NotFound: there is none with this number among those.
    """
    token = session.get(ApiToken, token_id)
    if token is None or (token.user_id != user.id and user.role != "admin"):
        raise NotFound("There is no such token.")
    token.revoked_at = token.revoked_at or now()
    audit.append(session, action="token.revoked", actor=audit.actor_of(user.id), token=token.id)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
