"""A person's own page: what it tells, what it hands out, and how it ends everything."""

import base64
import html
import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.core.errors import KeyDestroyed, NotFound, StorageFailed
from annotator.domain import consent, exports, invitations, receipts
from annotator.models import AuditEntry, Dataset, Erasure, Export, Face, Job, Subject
from annotator.web import own
from annotator.web.assets import find_folder
from tests.factories import make_dataset, make_face, make_subject
from tests.fakes import FakeTools, FakeVault, FakeWork
from tests.web.conftest import Browser


@pytest.fixture
def vault(toolbox: Toolbox) -> FakeVault:
    return toolbox.vault  # type: ignore[return-value]


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    app.test_client_class = Browser
    return app.test_client()


@pytest.fixture
def dataset(app: Flask, toolbox: Toolbox) -> Dataset:
    with toolbox.transaction() as session:
        return make_dataset(session)


@pytest.fixture
def subject(toolbox: Toolbox, vault: FakeVault, dataset: Dataset) -> Subject:
    with toolbox.transaction() as session:
        subject = make_subject(
            session, vault, dataset, code="P-1", name="Ada Stone", contact="ada@example.org"
        )
        make_face(session, vault, subject, {"anger": 2, "fear": 1})
        make_face(session, vault, subject)
    return subject


@pytest.fixture
def me(toolbox: Toolbox, vault: FakeVault, subject: Subject) -> str:
    with toolbox.transaction() as session:
        person = session.get_one(Subject, subject.id)
        made = invitations.create_invitation(session, vault=vault, subject=person, kind="own")
    return f"/me/{made[1]}"


@pytest.fixture
def export(toolbox: Toolbox, vault: FakeVault, dataset: Dataset, subject: Subject) -> Export:
    """A training set that the person is in."""
    with toolbox.transaction() as session:
        home = session.get_one(Dataset, dataset.id)
        for _ in range(4):
            make_face(session, vault, make_subject(session, vault, home))
        export = exports.request_export(
            session, dataset=home, recipient="University of X", by=None, wish=exports.Wish()
        )
    exports.build_export(FakeWork(toolbox.engine, FakeTools(vault=vault)), export_id=export.id)
    return export


def log_of(session: Session, action: str) -> list[AuditEntry]:
    session.rollback()
    return list(session.scalars(select(AuditEntry).where(AuditEntry.action == action)))


def is_proven(receipt: dict[str, object], folder: Path, key: bytes) -> bool:
    """What the program says that people get with their receipt."""
    (folder / "receipt.json").write_text(json.dumps(receipt), encoding="utf-8")
    program = find_folder("static") / "verify_receipt.py"
    command = [sys.executable, program, folder / "receipt.json", base64.b64encode(key).decode()]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_the_page_tells_everything(browser: FlaskClient, me: str, export: Export) -> None:
    page = browser.get(me).text
    assert "We hold 2 pictures of you, locked with a key of your own." in page
    assert page.count("Yes, from ") == 7
    assert "University of X" in page
    assert "Your face is in it, your name is not." in page
    assert "Ada Stone" not in page


def test_pictures_are_shown_on_request_and_the_log_says_so(
    browser: FlaskClient,
    me: str,
    session: Session,
    subject: Subject,
    toolbox: Toolbox,
    *,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vault = toolbox.vault
    assert "<img" not in browser.get(me).text
    page = browser.post(f"{me}/look").text
    sources = re.findall(r'<img src="([^"]+)"', page)
    assert len(sources) == 2
    for source in sources:
        answer = browser.get(source)
        assert (answer.status_code, answer.data[:4]) == (200, b"\x89PNG")
        assert answer.headers["Cache-Control"] == "no-store"
    (entry,) = log_of(session, "faces.shown")
    assert (entry.actor, entry.details) == ("subject", {"faces": 2})
    with toolbox.transaction() as writing:
        home = writing.get_one(Dataset, subject.dataset_id)
        other = make_subject(writing, vault, home)
        made = invitations.create_invitation(writing, vault=vault, subject=other, kind="own")
    seen = sources[0].rpartition("/")[2]
    assert browser.get(f"/me/{made[1]}/pictures/{seen}").status_code == 404
    forged = seen[:-9] + ("B" if seen[-9] == "A" else "A") + seen[-8:]
    assert browser.get(f"{me}/pictures/{forged}").status_code == 404
    monkeypatch.setattr(own, "SECONDS", -1)
    assert browser.get(sources[0]).status_code == 404  # not for ever, and never uncounted


def test_one_use_is_withdrawn_in_two_taps(
    browser: FlaskClient, me: str, session: Session, subject: Subject, export: Export
) -> None:
    page = browser.get(me).text
    asked = browser.get(f"{me}/withdraw?purpose=train")
    assert f"{me}/withdraw?purpose=train" in page
    assert "No program learns from your pictures any more." in asked.text
    assert "University of X" in asked.text
    answer = browser.post(f"{me}/withdraw", data={"purpose": "train"}, follow_redirects=True)
    assert "Done. It counts from this moment." in answer.text
    person = session.get_one(Subject, subject.id)
    given = consent.given_purposes(session, subject=person)
    assert "train" not in given
    assert "store" in given
    (entry,) = log_of(session, "consent.withdrawn")
    assert entry.actor == "subject"
    assert browser.post(f"{me}/withdraw", data={"purpose": "magic"}).status_code == 422


def test_everything_is_withdrawn_and_proven(
    browser: FlaskClient,
    me: str,
    subject: Subject,
    export: Export,
    toolbox: Toolbox,
) -> None:
    vault, session, tmp_path = toolbox.vault, toolbox.sessions(), toolbox.data
    key = consent.key_of(vault, subject)
    asked = browser.get(f"{me}/withdraw").text
    assert "2 pictures, your name and your contact are deleted." in asked
    assert "This cannot be undone." in asked
    answer = browser.post(f"{me}/withdraw", data={"purpose": "all"})
    assert answer.status_code == 200
    assert "Your key has been destroyed." in answer.text
    found = re.search(r'href="data:application/json;base64,([^"]+)" download', answer.text)
    assert found is not None
    proof = json.loads(base64.b64decode(found[1]))
    actions = [item["entry"]["action"] for item in proof["entries"]]
    assert (proof["kind"], actions[-1]) == ("erasure", "subject.erased")
    key_text = base64.b64encode(vault.public_key("log")).decode()
    assert f"verify_receipt.py erasure-receipt.json {key_text}" in html.unescape(answer.text)
    assert is_proven(proof, tmp_path, vault.public_key("log"))
    assert not is_proven({**proof, "salt": "00" * 32}, tmp_path, vault.public_key("log"))
    session.rollback()
    person = session.get_one(Subject, subject.id, populate_existing=True)
    assert (person.wrapped_key, person.sealed_name) == (None, None)
    assert session.scalars(select(Face).where(Face.subject_id == subject.id)).all() == []
    left = {blob for blob, (context, _) in vault.blobs.items() if context[0] == subject.uid}
    assert left <= set(session.scalars(select(Erasure)).one().blobs)  # without a key; a job's work
    with pytest.raises(KeyDestroyed):
        consent.key_of(vault, person)
    assert key.epoch in vault.epochs  # destroyed by the job that is on its way
    assert session.scalars(select(Job).order_by(Job.id.desc())).first() is not None
    page = browser.get(me).text
    assert "Nothing of you is held" in page
    assert "University of X" in page
    assert browser.get(f"{me}/withdraw").status_code == 302
    assert browser.post(f"{me}/withdraw").location == me
    assert browser.get(f"{me}/receipt").status_code == 404
    for address in (f"{me}/copy", f"{me}/look"):
        assert browser.post(address).status_code in {404, 409}


@pytest.mark.parametrize(
    ("step", "error"), [("open_salt", NotFound()), ("make_erasure_receipt", StorageFailed())]
)
def test_a_proof_that_fails_undoes_no_erasure(
    browser: FlaskClient,
    me: str,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
    *,
    step: str,
    error: Exception,
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(receipts, step, fail)
    answer = browser.post(f"{me}/withdraw", data={"purpose": "all"})
    assert "Everything is deleted all the same." in answer.text
    assert session.scalars(select(Subject.withdrawn_at)).all() != [None]


def test_the_copy_holds_everything_and_names_no_colleague(
    browser: FlaskClient, me: str, session: Session, subject: Subject, export: Export
) -> None:
    answer = browser.post(f"{me}/copy")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="my-pictures.zip"'
    archive = zipfile.ZipFile(io.BytesIO(answer.data))
    assert archive.testzip() is None
    files = {name: archive.read(name) for name in archive.namelist()}
    person = json.loads(files["person.json"])
    assert (person["name"], person["contact"]) == ("Ada Stone", "ada@example.org")
    votes = json.loads(files["votes.json"])
    assert sorted(vote["label"] for vote in votes) == ["anger", "anger", "fear", *["neutral"] * 3]
    assert "rater" not in files["votes.json"].decode()
    assert json.loads(files["exports.json"])[0]["recipient"] == "University of X"
    assert json.loads(files["receipt.json"])["entries"]
    assert len(json.loads(files["consents.json"])) == 7
    assert files["notices/en-1.txt"] == b"We keep pictures of you."
    assert sum(name.startswith("pictures/") for name in files) == 4
    assert {data[:4] for name, data in files.items() if name.endswith(".png")} == {b"\x89PNG"}
    assert [entry.actor for entry in log_of(session, "subject.copied")] == ["subject"]


def test_receipt_proof_and_record_can_be_saved(browser: FlaskClient, me: str) -> None:
    page = browser.get(f"{me}/receipt").text
    proof = browser.get(f"{me}/receipt.json")
    record = browser.get(f"{me}/record.jsonld")
    told = json.loads(proof.data)
    assert told["log"]["origin"] in page
    assert told["log"]["public_key"].rstrip("=") in page
    assert "consent.given" in [item["entry"]["action"] for item in told["entries"]]
    assert record.mimetype == "application/ld+json"
    assert json.loads(record.data)["@type"] == "dpv:ConsentRecord"
    for answer in (proof, record):
        assert answer.headers["Content-Disposition"].startswith("attachment")


def test_the_address_can_be_changed_by_whoever_has_it(browser: FlaskClient, me: str) -> None:
    assert "Change it" in browser.get(f"{me}/renew").text
    answer = browser.post(f"{me}/renew")
    assert answer.status_code == 303
    fresh = answer.location.removesuffix("/keep")
    assert fresh != me
    assert browser.get(fresh).status_code == 200
    assert browser.get(me).status_code == 404


def test_without_consent_to_keep_nothing_can_be_looked_at(
    browser: FlaskClient, toolbox: Toolbox, vault: FakeVault, dataset: Dataset
) -> None:
    with toolbox.transaction() as session:
        person = consent.create_subject(session, vault=vault, dataset=dataset, code="P-9")
        made = invitations.create_invitation(session, vault=vault, subject=person, kind="own")
    me = f"/me/{made[1]}"
    page = browser.get(me)
    assert "You do not agree, or no longer" in page.text
    assert "Take pictures" not in page.text
    look = browser.post(f"{me}/look")
    assert (look.status_code, "P-9" in look.text) == (409, False)
    archive = zipfile.ZipFile(io.BytesIO(browser.post(f"{me}/copy").data))
    assert not [name for name in archive.namelist() if name.startswith("pictures/")]
