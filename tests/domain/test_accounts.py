import datetime as dt

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput, NotFound, NotSignedIn
from annotator.domain import accounts
from annotator.models import ROLES, ApiToken, AuditEntry, User
from tests.factories import make_dataset, make_user


def create(session: Session, **fields: str) -> User:
    fields = {"email": "Ann@Clinic.Example", "name": " Ann ", "role": "annotator", **fields}
    return accounts.create_user(session, password_hash="hash", **fields)


def test_an_address_is_kept_in_lower_case_and_a_name_trimmed(session: Session) -> None:
    user = create(session)
    assert (user.email, user.name, user.active) == ("ann@clinic.example", "Ann", True)
    with pytest.raises(Conflict):
        create(session, email="ANN@clinic.example")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"email": "ann"}, "'ann' is not an e-mail address"),
        ({"email": "ann@"}, "not an e-mail address"),
        ({"email": "a b@clinic.example"}, "not an e-mail address"),
        ({"email": ""}, "not an e-mail address"),
        ({"name": "  "}, "name is needed"),
        ({"role": "owner"}, "no role 'owner'"),
    ],
)
def test_a_person_needs_address_name_and_role(
    session: Session, fields: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        create(session, **fields)
    assert accounts.list_users(session) == []


@pytest.mark.parametrize("role", ROLES)
def test_every_role_includes_those_before_it(session: Session, role: str) -> None:
    user = make_user(session, role)
    assert [accounts.has_role(user, other) for other in ROLES] == [
        ROLES.index(other) <= ROLES.index(role) for other in ROLES
    ]


def test_people_are_found(session: Session) -> None:
    bob, ann = create(session, name="Bob"), create(session, email="a@b.example", name="Ann")
    assert accounts.list_users(session) == [ann, bob]
    assert accounts.get_user(session, user_id=bob.id) is bob
    with pytest.raises(NotFound):
        accounts.get_user(session, user_id=4711)


def test_the_last_admin_stays(session: Session) -> None:
    ada, bea = make_user(session, "admin"), make_user(session, "admin")
    accounts.set_active(session, user=ada, active=False, by=bea.id)
    with pytest.raises(Conflict, match="last admin"):
        accounts.set_active(session, user=bea, active=False, by=bea.id)
    assert bea.active
    accounts.set_active(session, user=ada, active=True, by=bea.id)
    accounts.set_active(session, user=bea, active=False, by=ada.id)
    assert (ada.active, bea.active) == (True, False)


def test_letting_somebody_out_ends_their_sessions(session: Session) -> None:
    user = make_user(session)
    before = user.fs_uniquifier
    accounts.set_active(session, user=user, active=False, by=None)
    assert user.fs_uniquifier != before


def test_a_member_sees_the_dataset_until_they_are_removed(session: Session) -> None:
    dataset, user, admin = make_dataset(session), make_user(session), make_user(session, "admin")
    assert not accounts.is_member(session, user=user, dataset_id=dataset.id)
    assert accounts.is_member(session, user=admin, dataset_id=dataset.id)
    for _ in range(2):
        accounts.add_member(session, user=user, dataset=dataset, by=admin.id)
    assert accounts.is_member(session, user=user, dataset_id=dataset.id)
    for _ in range(2):
        accounts.remove_member(session, user=user, dataset=dataset, by=admin.id)
    assert not accounts.is_member(session, user=user, dataset_id=dataset.id)
    told = session.scalars(select(AuditEntry.action).where(AuditEntry.action.like("member.%")))
    assert list(told) == ["member.added", "member.removed"]


def test_a_token_opens_and_is_not_kept(session: Session) -> None:
    user = make_user(session)
    token, secret = accounts.create_token(session, user=user, name=" laptop ")
    assert accounts.check_token(session, secret=secret) is user
    assert token.name == "laptop"
    assert secret.startswith(accounts.TOKEN_PREFIX)
    assert secret.encode() not in token.digest
    for wrong in ("", secret[:-1], secret + "x", token.digest.hex()):
        with pytest.raises(NotSignedIn, match="not valid"):
            accounts.check_token(session, secret=wrong)


def test_a_token_needs_a_name(session: Session) -> None:
    with pytest.raises(InvalidInput):
        accounts.create_token(session, user=make_user(session), name=" ")
    assert session.scalar(select(func.count(ApiToken.id))) == 0


def test_an_expired_token_does_not_open(session: Session) -> None:
    user = make_user(session)
    ends = now() + dt.timedelta(hours=1)
    token, secret = accounts.create_token(session, user=user, name="t", expires_at=ends)
    assert accounts.check_token(session, secret=secret) is user
    token.expires_at = now()
    with pytest.raises(NotSignedIn, match="expired"):
        accounts.check_token(session, secret=secret)


def test_the_token_of_somebody_disabled_does_not_open(session: Session) -> None:
    user = make_user(session)
    _, secret = accounts.create_token(session, user=user, name="t")
    accounts.set_active(session, user=user, active=False, by=None)
    with pytest.raises(NotSignedIn):
        accounts.check_token(session, secret=secret)
    accounts.set_active(session, user=user, active=True, by=None)
    with pytest.raises(NotSignedIn):
        accounts.check_token(session, secret=secret)


@pytest.mark.parametrize(("role", "may"), [("curator", False), ("admin", True)])
def test_who_may_revoke_the_token_of_another(session: Session, role: str, *, may: bool) -> None:
    owner, other = make_user(session), make_user(session, role)
    token, secret = accounts.create_token(session, user=owner, name="t")
    if may:
        accounts.revoke_token(session, token_id=token.id, user=other)
        with pytest.raises(NotSignedIn):
            accounts.check_token(session, secret=secret)
    else:
        with pytest.raises(NotFound):
            accounts.revoke_token(session, token_id=token.id, user=other)
        assert accounts.check_token(session, secret=secret) is owner


def test_a_revoked_token_stays_revoked_since_then(session: Session) -> None:
    user = make_user(session)
    token, secret = accounts.create_token(session, user=user, name="t")
    accounts.revoke_token(session, token_id=token.id, user=user)
    first = token.revoked_at
    accounts.revoke_token(session, token_id=token.id, user=user)
    assert token.revoked_at == first
    with pytest.raises(NotSignedIn):
        accounts.check_token(session, secret=secret)
