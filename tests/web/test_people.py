import re
from collections.abc import Callable

from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.models import Dataset, Membership, User

SignIn = Callable[[str], FlaskClient]
NEW = {"name": "New Person", "email": "New@Example.org", "role": "reviewer"}


def person(session: Session, email: str) -> User:
    session.rollback()  # look again: another snapshot, and nothing remembered
    session.expire_all()
    return session.scalars(select(User).where(User.email == email)).one()


def test_a_new_person_gets_a_password_that_works_and_is_shown_once(
    sign_in: SignIn, session: Session
) -> None:
    admin = sign_in("admin")
    answer = admin.post("/people", data=NEW)
    assert answer.status_code == 201
    found = re.search(r'class="secret">([^<]+)<', answer.text)
    assert found is not None
    row = person(session, "new@example.org")
    assert found[1] not in admin.get(f"/people/{row.id}").text
    assert found[1] not in row.password
    browser = sign_in("annotator")
    browser.post("/sign-out")
    form = {"email": "new@example.org", "password": found[1]}
    assert browser.post("/sign-in", data=form).status_code == 303
    assert "New Person" in browser.get("/").text


def test_refusals_are_shown_beside_the_form(sign_in: SignIn) -> None:
    admin = sign_in("admin")
    admin.post("/people", data=NEW)
    twice = admin.post("/people", data=NEW)
    assert twice.status_code == 409
    assert "There is somebody with this e-mail address already." in twice.text
    assert 'aria-invalid="true"' in twice.text
    wrong = admin.post("/people", data=NEW | {"email": "no address"})
    assert wrong.status_code == 422
    assert "is not an e-mail address" in wrong.text
    assert admin.post("/people", data=NEW | {"role": "owner"}).status_code == 422


def test_disabling_ends_sessions_at_once_and_enabling_lets_in_again(
    sign_in: SignIn, session: Session
) -> None:
    admin, annotator = sign_in("admin"), sign_in("annotator")
    number = person(session, "annotator@example.org").id
    assert "Disable Any Annotator?" in admin.get(f"/people/{number}/disable").text
    assert admin.post(f"/people/{number}/disable").status_code == 303
    assert annotator.get("/").status_code == 302
    assert "disabled" in admin.get("/people").text
    admin.post(f"/people/{number}/enable")
    assert sign_in("annotator").get("/").status_code == 200


def test_the_last_admin_cannot_be_locked_out(sign_in: SignIn, session: Session) -> None:
    number = person(session, "admin@example.org").id
    answer = sign_in("admin").post(f"/people/{number}/disable")
    assert answer.status_code == 409
    assert "This is the last admin" in answer.text


def test_memberships_are_set_as_ticked(
    sign_in: SignIn, session: Session, make_dataset: Callable[..., Dataset]
) -> None:
    one, two = make_dataset("annotator", name="One"), make_dataset(name="Two")
    number = person(session, "annotator@example.org").id
    admin = sign_in("admin")
    page = admin.get(f"/people/{number}").text
    assert f'value="{one.id}" checked' in page
    assert f'value="{two.id}" checked' not in page
    admin.post(f"/people/{number}/memberships", data={"dataset": [two.id]})
    session.rollback()  # look again: another snapshot, and nothing remembered
    session.expire_all()
    seen = session.scalars(select(Membership.dataset_id).where(Membership.user_id == number))
    assert list(seen) == [two.id]


def test_a_forgotten_password_is_replaced(sign_in: SignIn, session: Session) -> None:
    admin, annotator = sign_in("admin"), sign_in("annotator")
    number = person(session, "annotator@example.org").id
    assert 'class="secret"' in admin.post(f"/people/{number}/password").text
    assert annotator.get("/").status_code == 302


def test_nobody_with_that_number(sign_in: SignIn) -> None:
    answer = sign_in("admin").get("/people/999999")
    assert answer.status_code == 404
    assert "There is no such person." in answer.text
