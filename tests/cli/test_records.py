"""A consent record taken from one installation into another, and the daily closing by hand."""

import datetime as dt
import json
import shutil
from pathlib import Path

import pytest
from sqlalchemy import select

from annotator.bootstrap import Toolbox
from annotator.cli import main
from annotator.core.config import Settings
from annotator.core.db import now
from annotator.domain import consent
from annotator.models import ConsentEvent, Dataset, Subject
from tests.factories import make_dataset, make_subject


@pytest.fixture
def houses(fresh: Path, tmp_path: Path) -> list[Toolbox]:
    """Two installations, each with a dataset."""
    found = []
    for name in ("one", "two"):
        shutil.copytree(fresh, tmp_path / name)
        tools = Toolbox(Settings(data=tmp_path / name))
        with tools.transaction() as session:
            make_dataset(session, "Pilot")
        found.append(tools)
    return found


def test_a_record_is_imported_once(
    houses: list[Toolbox],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one, two = houses
    with one.transaction() as session:
        dataset = session.scalars(select(Dataset)).one()
        subject = make_subject(session, one.vault, dataset, ["store", "label"], code="P-1")
        record = consent.describe_record(session, vault=one.vault, subject=subject)
    file = tmp_path / "record.jsonld"
    file.write_text(json.dumps(record))
    monkeypatch.setenv("ANNOTATOR_DATA", str(two.data))
    assert main(["subject", "import", "Pilot", str(file), "--code", "Moved", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["code"], told["allows"]) == ("Moved", ["store", "label"])
    assert main(["subject", "import", "Pilot", str(file), "--code", "Again"]) == 1
    assert "the person 'Moved'" in capsys.readouterr().err
    file.write_text("{")
    assert main(["subject", "import", "Pilot", str(file)]) == 1
    assert "is not JSON" in capsys.readouterr().err


def test_what_ended_is_closed_and_first_only_told(
    houses: list[Toolbox], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tools = houses[0]
    monkeypatch.setenv("ANNOTATOR_DATA", str(tools.data))
    with tools.transaction() as session:
        dataset = session.scalars(select(Dataset)).one()
        subject = make_subject(session, tools.vault, dataset, ["store", "train"], code="P-1")
        number = subject.id
        for event in subject.events:
            if event.purpose == "train":
                event.expires_at = now() - dt.timedelta(minutes=1)
    assert main(["expire", "--dry-run", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == {"subject": number, "ended": ["train"], "erase": ""}
    assert "1 people are due; nothing was changed." in told.err
    with tools.sessions() as session:
        assert session.scalar(select(ConsentEvent.id).where(ConsentEvent.kind == "expired")) is None
    assert main(["expire", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"expired": 1, "erased": 0}
    assert main(["expire"]) == 0
    assert "0 consents ended, 0 people erased." in capsys.readouterr().out
    with tools.sessions() as session:
        kept = session.get_one(Subject, number)
        assert list(consent.given_purposes(session, subject=kept)) == ["store"]
