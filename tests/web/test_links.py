"""What holds for every page behind a link: who may open it, what it gives away, how it fails."""

import logging
import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from annotator.bootstrap import Toolbox
from annotator.core.config import Settings
from annotator.core.db import Base
from annotator.domain import consent, datasets, invitations
from annotator.models import Subject
from annotator.web import create_app
from annotator.web.security import access_of, limiter, public
from tests.factories import make_dataset, make_subject
from tests.fakes import FakeVault
from tests.web.conftest import Browser, SilentQueue

# Open to whoever has the secret in the address, and to nobody else. A new one belongs here.
BY_LINK = {
    "joining.ask",
    "joining.answer",
    "own.show",
    "own.keep",
    "own.renew",
    "own.receipt",
    "own.proof",
    "own.record",
    "own.copy",
    "own.look",
    "own.picture",
    "own.confirm",
    "own.withdraw",
    "allowing.ask",
    "allowing.answer",
    "capture.show",
    "capture.receive",
}
OPEN = {"static", "account.sign_in", "account.appearance", "api.openapi"}
SecretOf = Callable[[str], str]


@pytest.fixture
def secret_of(app: Flask, toolbox: Toolbox) -> SecretOf:
    """Makes a link of some kind for somebody who agrees to everything."""

    def make(kind: str) -> str:
        with toolbox.transaction() as session:
            dataset = make_dataset(session, f"Pilot {kind}")
            subject = make_subject(session, toolbox.vault, dataset)
            return invitations.create_invitation(
                session, vault=toolbox.vault, subject=subject, kind=kind
            )[1]

    return make


def test_the_routes_without_a_role_are_exactly_these(app: Flask) -> None:
    found = {name for name in app.view_functions if access_of(app, name).role is None}  # type: ignore[union-attr]
    assert found == BY_LINK | OPEN
    by_secret = {rule.endpoint for rule in app.url_map.iter_rules() if "secret" in rule.arguments}
    assert by_secret == BY_LINK


def test_wrong_ended_and_foreign_secrets_are_answered_alike(
    app: Flask, client: FlaskClient, secret_of: SecretOf, toolbox: Toolbox
) -> None:
    revoked, foreign = secret_of("own"), secret_of("consent")
    with toolbox.transaction() as session:
        found = invitations.open_invitation(
            session, vault=toolbox.vault, secret=revoked, kind="own"
        )
        invitations.revoke_invitation(session, invitation=found, by=None)
    answers = {
        (answer.status_code, answer.text.replace(secret, ""), str(answer.headers.get("Vary")))
        for secret in (revoked, foreign, "x" * 43, "short", "%00", "a" * 2000)
        for answer in [client.get(f"/me/{secret}")]
    }
    assert len(answers) == 1, answers
    assert next(iter(answers))[0] == 404


def test_guesses_are_counted_and_good_links_are_not_locked_out(
    app: Flask, secret_of: SecretOf
) -> None:
    secret, client = secret_of("own"), app.test_client()
    codes = [client.get(f"/me/guess-{number}").status_code for number in range(32)]
    assert codes == [404] * 30 + [429] * 2
    elsewhere = app.test_client()
    answer = elsewhere.get(f"/me/{secret}", environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert answer.status_code == 200
    limiter.reset()
    assert {client.get(f"/me/{secret}").status_code for _ in range(40)} == {200}


def test_no_page_gives_its_address_away(
    app: Flask, secret_of: SecretOf, caplog: pytest.LogCaptureFixture
) -> None:
    app.add_url_rule("/me/<secret>/boom", "own.boom", public(_boom))
    own, ask, client = secret_of("own"), secret_of("consent"), app.test_client()
    with caplog.at_level(logging.DEBUG):
        for path in (f"/me/{own}", f"/me/{own}/camera", f"/consent/{ask}", "/me/x", f"/me/{ask}"):
            headers = client.get(path).headers
            assert headers["Referrer-Policy"] == "no-referrer", path
            assert headers["Cache-Control"] == "no-store", path
            assert "noindex" in headers["X-Robots-Tag"], path
            assert ("camera=(self)" in headers["Permissions-Policy"]) == path.endswith("/camera")
            assert "unsafe" not in headers["Content-Security-Policy"]
            assert "media-src" not in headers["Content-Security-Policy"]
        failed = client.get(f"/me/{own}/boom")
    assert failed.status_code == 500
    assert own not in failed.text
    for secret in (own, ask):
        assert secret not in caplog.text


def _boom(secret: str) -> str:
    raise RuntimeError("something unexpected")


@pytest.mark.parametrize("site", ["same-origin", "cross-site", "same-site"])
def test_over_https_forms_work_without_a_referrer_and_not_from_elsewhere(
    tmp_path: object, site: str
) -> None:
    tools = Toolbox(Settings(data=tmp_path, public_url="https://faces.example"))  # type: ignore[arg-type]
    tools.queue, tools.vault = SilentQueue(), FakeVault()  # type: ignore[misc, assignment]
    Base.metadata.create_all(tools.engine)
    app = create_app(tools)
    limiter.reset()
    app.test_client_class = Browser
    with tools.transaction() as session:
        dataset = datasets.create_dataset(session, name="Pilot", created_by=None)
        person = consent.create_subject(session, vault=tools.vault, dataset=dataset)
        own = invitations.create_invitation(session, vault=tools.vault, subject=person, kind="own")
    client = app.test_client()
    answer = client.post(
        f"/me/{own[1]}/renew",
        base_url="https://faces.example",
        headers={"Sec-Fetch-Site": site, "X-CSRFToken": _token(client)},
    )
    assert answer.status_code == (303 if site == "same-origin" else 403)
    kept = f"https://faces.example/me/{own[1]}"
    page = client.get(f"/me/{own[1]}/keep", base_url="https://evil.example").text
    assert (kept in page) == (site != "same-origin")
    with tools.transaction() as session:
        assert session.get_one(Subject, person.id).withdrawn_at is None
    tools.engine.dispose()


def _token(client: FlaskClient) -> str:
    text = FlaskClient.open(client, "/sign-in", base_url="https://faces.example").text
    found = re.search(r'name="csrf_token" value="([^"]+)"', text)
    assert found is not None
    return found[1]
