import datetime as dt

import pytest
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput, NotFound
from annotator.domain import audit, erasure, invitations
from annotator.models import Invitation, Subject
from tests.factories import make_dataset, make_subject
from tests.fakes import FakeVault


@pytest.fixture
def subject(session: Session, vault: FakeVault) -> Subject:
    return make_subject(session, vault, make_dataset(session), code="P-1")


def works(session: Session, vault: FakeVault, secret: str, kind: str = "consent") -> bool:
    try:
        invitations.open_invitation(session, vault=vault, secret=secret, kind=kind)
    except NotFound as error:
        return error.message != "This link does not work, or no longer."
    return True


def test_a_link_opens_by_its_secret_alone(
    session: Session, vault: FakeVault, subject: Subject
) -> None:
    row, secret = invitations.create_invitation(session, vault=vault, subject=subject)
    assert len(secret) >= 43  # 256 bits
    found = invitations.open_invitation(session, vault=vault, secret=secret, kind="consent")
    assert (found.id, found.subject.code) == (row.id, "P-1")
    assert secret.encode() not in row.digest
    for wrong in ("", "x", secret[:-1], secret + "A", secret.swapcase()):
        assert not works(session, vault, wrong)
    assert not works(session, vault, secret, "own")


def test_a_question_ends_by_itself_and_a_page_does_not(
    session: Session, vault: FakeVault, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, asked = invitations.create_invitation(session, vault=vault, subject=subject, days=3)
    _, own = invitations.create_invitation(session, vault=vault, subject=subject, kind="own")
    later = now() + dt.timedelta(days=2, hours=23)
    monkeypatch.setattr(invitations, "now", lambda: later)
    assert works(session, vault, asked)
    monkeypatch.setattr(invitations, "now", lambda: later + dt.timedelta(hours=2))
    assert not works(session, vault, asked)
    assert works(session, vault, own, "own")


def test_a_new_link_ends_the_old_one_of_its_kind(
    session: Session, vault: FakeVault, subject: Subject
) -> None:
    made = [
        invitations.create_invitation(session, vault=vault, subject=subject, kind=kind)[1]
        for kind in ("consent", "own", "consent", "own")
    ]
    kinds = ["consent", "own", "consent", "own"]
    answers = [works(session, vault, *pair) for pair in zip(made, kinds, strict=True)]
    assert answers == [False, False, True, True]


def test_a_revoked_link_is_as_good_as_none(
    session: Session, vault: FakeVault, subject: Subject
) -> None:
    row, secret = invitations.create_invitation(session, vault=vault, subject=subject, kind="own")
    invitations.revoke_invitation(session, invitation=row, by=None)
    first = row.revoked_at
    invitations.revoke_invitation(session, invitation=row, by=None)
    assert not works(session, vault, secret, "own")
    assert row.revoked_at == first


def test_an_answer_ends_the_question_and_opens_the_page_once(
    session: Session, vault: FakeVault, subject: Subject
) -> None:
    row, secret = invitations.create_invitation(session, vault=vault, subject=subject)
    own = invitations.derive_secret(vault=vault, secret=secret, nonce="n")
    assert own == invitations.derive_secret(vault=vault, secret=secret, nonce="n")
    others = {invitations.derive_secret(vault=vault, secret=secret, nonce=text) for text in "abc"}
    assert own not in others
    assert len(own) == 43
    assert not works(session, vault, own, "own")
    invitations.answer_invitation(session, vault=vault, invitation=row, own=own)
    assert not works(session, vault, secret)
    assert works(session, vault, own, "own")
    assert not works(session, vault, own)


def test_whoever_has_the_page_may_change_its_lock(
    session: Session, vault: FakeVault, subject: Subject
) -> None:
    row, old = invitations.create_invitation(session, vault=vault, subject=subject, kind="own")
    new = invitations.renew_own(session, vault=vault, invitation=row)
    assert not works(session, vault, old, "own")
    assert works(session, vault, new, "own")
    newest = audit.list_entries(session, action="invitation.created")[0]
    assert newest.actor == "subject"


def test_after_an_erasure_the_page_stays_and_the_question_ends(
    session: Session, vault: FakeVault, subject: Subject
) -> None:
    _, asked = invitations.create_invitation(session, vault=vault, subject=subject)
    _, own = invitations.create_invitation(session, vault=vault, subject=subject, kind="own")
    erasure.withdraw_subject(session, subject=subject, by=None)
    assert not works(session, vault, asked)
    assert works(session, vault, own, "own")
    with pytest.raises(Conflict):
        invitations.create_invitation(session, vault=vault, subject=subject)


@pytest.mark.parametrize("values", [{"kind": "any"}, {"days": 0}, {"days": 91}])
def test_odd_links_are_refused(
    session: Session, vault: FakeVault, subject: Subject, values: dict[str, object]
) -> None:
    with pytest.raises(InvalidInput):
        invitations.create_invitation(session, vault=vault, subject=subject, **values)
    assert session.query(Invitation).all() == []


def test_no_secret_reaches_the_log_or_the_table(
    session: Session, vault: FakeVault, subject: Subject
) -> None:
    row, secret = invitations.create_invitation(session, vault=vault, subject=subject)
    own = invitations.derive_secret(vault=vault, secret=secret, nonce="n")
    invitations.answer_invitation(session, vault=vault, invitation=row, own=own)
    told = str([entry.details for entry in audit.list_entries(session)])
    held = str([vars(each) for each in invitations.list_invitations(session, subject=subject)])
    for word in (secret, own):
        assert word not in told + held
