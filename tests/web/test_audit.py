from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask, url_for
from flask.testing import FlaskClient

from annotator.bootstrap import Toolbox
from annotator.bootstrap.witness import open_witness
from annotator.core.config import Settings
from annotator.domain import audit
from annotator.vault import notes
from annotator.worker import run_job, sweep_jobs
from tests.installation import ROOT

SignIn = Callable[[str], FlaskClient]


def test_the_log_is_read_newest_first_page_by_page(
    sign_in: SignIn, toolbox: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotator.web.audit.PAGE", 2)
    with toolbox.transaction() as session:
        for number in (101, 102, 103):
            audit.append(session, action="thing.done", actor="user-1", thing=number)
    admin = sign_in("admin")
    text = admin.get("/audit?action=thing.done").text
    assert text.index("thing 103") < text.index("thing 102")
    assert "thing 101" not in text
    assert "Any Annotator" in text  # the first person made, by name
    older = admin.get(text.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")).text
    assert "thing 101" in older
    assert "thing 102" not in older


def test_an_action_that_never_happened_is_an_empty_list(sign_in: SignIn) -> None:
    assert "No entry" in sign_in("admin").get("/audit?action=nothing").text


def work_off(toolbox: Toolbox) -> None:
    """What a worker would do now."""
    for job_id in sweep_jobs(toolbox):
        run_job(toolbox, job_id)


def test_an_admin_has_the_log_signed_and_takes_the_checkpoint_home(
    sign_in: SignIn, toolbox: Toolbox, tmp_path: Path
) -> None:
    toolbox.witness = open_witness(Settings(witness=f"file:{tmp_path}/mirror"))
    admin = sign_in("admin")
    assert admin.get("/audit/checkpoint").status_code == 404
    assert "Without a witness" not in admin.get("/audit").text
    assert admin.post("/audit/checkpoints").status_code == 303
    assert admin.post("/audit/checkpoints").status_code == 303  # one job is enough
    assert "Signing the log" in admin.get("/audit").text
    work_off(toolbox)
    text = admin.get("/audit").text
    assert "has it" in text
    assert "Signing the log" not in text
    answer = admin.get("/audit/checkpoint")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    key = notes.Verifier.parse(admin.get("/audit/key").text)
    signed = notes.read_checkpoint(answer.text)
    assert notes.is_signed(signed, key)
    assert f"checkpoint-{signed.size}.txt" in answer.headers["Content-Disposition"]
    assert (tmp_path / "mirror").read_text() == f"{answer.text}\n"
    with toolbox.sessions() as session:
        assert audit.read_head(session).root.hex() in text


def test_the_page_says_that_the_witness_is_missing_or_behind(
    sign_in: SignIn, toolbox: Toolbox, tmp_path: Path
) -> None:
    admin = sign_in("admin")
    assert "Without a witness" in admin.get("/audit").text
    toolbox.witness = open_witness(Settings(witness=f"file:{tmp_path}/nowhere/mirror"))
    audit.mirror_log(toolbox.transaction, tools=toolbox)
    text = admin.get("/audit").text
    assert "behind" in text
    assert "file cannot be written" in text


def test_the_receipt_checker_is_there_for_everybody(app: Flask, client: FlaskClient) -> None:
    with app.test_request_context():
        address = url_for("static", filename="verify_receipt.py")
    with client.get(address) as answer:
        assert answer.data == (ROOT / "static/verify_receipt.py").read_bytes()


@pytest.mark.parametrize("address", ["/audit", "/audit/checkpoint", "/audit/key"])
def test_only_admins_see_the_evidence(sign_in: SignIn, address: str) -> None:
    assert sign_in("curator").get(address).status_code == 403
