"""Backups of a real installation, and what is made of them again."""

import datetime as dt
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select, text

from annotator.cli import keeping
from annotator.cli.installing import install
from annotator.core import migrate
from annotator.core.config import Settings
from annotator.core.db import now, open_engine
from annotator.core.errors import AnnotatorError
from annotator.domain import backups, consent, erasure, exports, intake
from annotator.domain.backups import taking
from annotator.models import (
    AuditEntry,
    BrowserSession,
    ConsentEvent,
    Dataset,
    Erasure,
    Export,
    User,
)
from annotator.worker import run_job
from tests.cli.house import PEOPLE, House, opens, people
from tests.factories import grey_png, make_face


def test_what_is_backed_up_comes_back_as_it_was(house: House) -> None:
    taken = house.backup()
    assert (taken["blobs"], taken["copied"]) == (2 * PEOPLE, 2 * PEOPLE)
    house.withdraw(0, "publish_weights")  # so that there is a ledger
    back = house.restore("--ledger", house.ledger)
    assert (back["blobs"], back["keys"], back["damaged"]) == (2 * PEOPLE, PEOPLE, 0)
    tools = house.tools()
    assert all(opens(tools, number) for number in range(PEOPLE))
    with tools.sessions() as session:
        assert migrate.find_drift(tools.engine) == []
        actions = list(session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)))
        assert actions[-1] == "installation.restored"
        assert session.scalars(select(BrowserSession)).all() == []
        assert session.scalar(select(User.role)) == "annotator"
    assert sorted(path.name for path in (house.root / "again").iterdir()) == [
        "annotator.sqlite",
        "annotator.sqlite-shm",
        "annotator.sqlite-wal",
        "blobs",
        "keys",
    ]


def test_somebody_who_withdrew_since_is_erased_before_anything_opens(house: House) -> None:
    house.backup()
    house.withdraw(1)
    back = house.restore("--ledger", house.ledger)
    assert (back["erased"], back["keys"], back["blobs"]) == (1, PEOPLE - 1, 2 * (PEOPLE - 1))
    tools = house.tools()
    assert [opens(tools, number) for number in range(PEOPLE)] == [True, False, True]
    with tools.sessions() as session:
        gone = people(session)[1]
        assert (gone.wrapped_key, gone.sealed_name) == (None, None)
        assert gone.withdrawn_at is not None
        assert erasure.list_withdrawals(session) == []
        row = session.scalars(select(Erasure)).one()
        assert row.step == "done"
    # The copy of the database and the new key ring open nobody, those who stayed included.
    old = create_engine(f"sqlite:///{next(house.out.glob('database-*'))}")
    with old.connect() as copy:
        keys = copy.execute(
            text("SELECT uid, wrapped_key, key_epoch, key_version FROM subjects")
        ).all()
    old.dispose()
    assert len(keys) == PEOPLE
    for uid, *key in keys:
        with pytest.raises(AnnotatorError):
            tools.vault.rewrap(uid, tools.vault.restore_key(*key))


def test_a_purpose_taken_back_since_stays_taken_back(house: House) -> None:
    house.withdraw(2, "label")  # the backup knows this
    house.backup()
    house.withdraw(0, "train")
    back = house.restore("--ledger", house.ledger)
    assert (back["erased"], back["narrowed"]) == (0, 1)
    with house.tools().sessions() as session:
        first, _, third = people(session)
        assert consent.allowed(session, subject=first, purpose="train") is None
        assert consent.allowed(session, subject=first, purpose="label") is not None
        said = session.scalars(
            select(ConsentEvent.kind).where(
                ConsentEvent.subject_id == third.id, ConsentEvent.purpose == "label"
            )
        )
        assert list(said) == ["given", "withdrawn"]


def test_a_purpose_given_again_before_the_backup_stays_given(house: House) -> None:
    house.withdraw(0, "train")
    with house.tools().transaction() as session:
        subject = people(session)[0]
        dataset = subject.dataset_id
        notice = consent.current_notice(session, dataset=session.get_one(Dataset, dataset))
        consent.record_consent(
            session,
            subject=subject,
            purposes=["train"],
            notice=notice,
            expression="ticked",
            expires_at=now() + dt.timedelta(days=1),
        )
    house.backup()
    assert house.restore("--ledger", house.ledger)["narrowed"] == 0
    with house.tools().sessions() as session:
        assert consent.allowed(session, subject=people(session)[0], purpose="train") is not None


def test_exports_that_hold_the_person_are_closed_by_the_replay(house: House) -> None:
    tools = house.tools()
    with tools.transaction() as session:
        asked = exports.request_export(
            session,
            dataset=session.get_one(Dataset, 1),
            recipient="University of X",
            by=None,
            wish=exports.Wish(),
        )
        job = asked.job_id
    assert job is not None
    assert run_job(tools, job)
    house.backup()
    house.withdraw(0)
    back = house.restore("--ledger", house.ledger)
    assert back["blobs"] == 2 * (PEOPLE - 1)  # without the archive
    with house.tools().sessions() as session:
        export = session.scalars(select(Export)).one()
        assert (export.state, export.sealed_blob) == ("ready", None)
        assert export.withdrawn_at is not None


def test_the_second_time_only_what_is_new_is_copied(house: House) -> None:
    first = house.backup()
    tools = house.tools()
    with tools.transaction() as session:
        make_face(session, tools.vault, people(session)[0])
    second = house.backup()
    assert (second["copied"], second["blobs"], second["removed"]) == (2, 2 * PEOPLE + 2, 0)
    assert second["id"] != first["id"]
    house.withdraw(1)
    third = house.backup()
    assert (third["copied"], third["blobs"], third["removed"]) == (0, 2 * PEOPLE, 2)
    assert len(list(house.out.glob("database-*"))) == 1
    assert house.run("restore", house.out, "--check")["blobs"] == 2 * PEOPLE


def test_a_blob_that_goes_while_it_is_backed_up_makes_it_look_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, copy, looked = house.tools(), taking.copy_database, list[Path]()

    def come_and_go(engine: Any, path: Path, **more: Any) -> None:
        looked.append(path)
        if len(looked) > 1:
            copy(engine, path, **more)
            return
        with tools.transaction() as session:  # comes after all blobs were copied
            make_face(session, tools.vault, people(session)[0])
        copy(engine, path, **more)
        with tools.transaction() as session:  # goes after the database was read
            done = erasure.withdraw_subject(session, subject=people(session)[0], by=None)
        for blob in done.blobs:  # as the job does
            tools.vault.delete_blob(blob)

    monkeypatch.setattr(taking, "copy_database", come_and_go)
    house.backup()
    assert len(looked) == 2
    assert house.restore("--ledger-lost")["keys"] == PEOPLE - 1


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda out: next(out.glob("blobs/*/*")).unlink(), "is missing"),
        (lambda out: flip(next(out.glob("blobs/*/*"))), "is not what was backed up"),
        (lambda out: cut(next(out.glob("blobs/*/*"))), "is not what was backed up"),
        (lambda out: flip(next(out.glob("database-*"))), "database-"),
        (lambda out: next(out.glob("blobs-*.txt")).unlink(), "blobs-"),
        (lambda out: change(out, "at", "2020-01-01T00:00:00+00:00"), "not what was sealed"),
        (lambda out: change(out, "schema", "9999"), "newer version"),
        (lambda out: change(out, "format", 2), "newer version"),
        (lambda out: (out / "manifest.json").write_text("{"), "manifest.json"),
        (lambda out: (out / "manifest.json").unlink(), "There is no backup"),
    ],
)
def test_a_damaged_backup_is_refused_and_nothing_is_left(
    house: House, damage: Callable[[Path], None], sentence: str
) -> None:
    house.backup()
    damage(house.out)
    said = house.restore("--ledger-lost")
    assert isinstance(said, str)
    assert sentence in said
    left = house.root / "again"
    assert not left.exists() or list(left.iterdir()) == []


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change(out: Path, name: str, value: Any) -> None:
    path = out / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))


def test_the_first_bad_file_is_named(house: House) -> None:
    house.backup()
    bad = min(house.out.glob("blobs/*/*"))
    flip(bad)
    assert bad.name in house.run("restore", house.out, "--check")


def test_a_ledger_has_to_be_named_and_whole(house: House) -> None:
    house.backup()
    house.withdraw(0)
    assert "--ledger-lost" in house.restore()
    assert "not there" in house.restore("--ledger", house.root / "none")
    lines = house.ledger.read_bytes().splitlines(keepends=True)
    short, changed = house.root / "short", house.root / "changed"
    changed.write_bytes(lines[0].replace(b'"epoch":1', b'"epoch":2') + lines[1])
    assert "changed at line 1" in house.restore("--ledger", changed)
    short.write_bytes(b"")
    assert house.restore("--ledger", short)["erased"] == 0  # as old as the copy of the ring
    house.use(house.data)
    house.backup()
    house.withdraw(1)
    said = house.restore("--ledger", short, name="third")
    assert said["erased"] == 0  # the longest wins: the copy of the ring has the first two lines
    with house.tools().sessions() as session:
        assert people(session)[0].withdrawn_at is not None


def test_a_ledger_elsewhere_is_used_and_goes_on(house: House) -> None:
    place = house.root / "elsewhere" / "ledger"
    house.use(house.data, LEDGER=str(place))
    house.backup()
    house.withdraw(0)
    assert not house.ledger.exists()
    assert house.restore(LEDGER=str(place))["erased"] == 1
    house.withdraw(1)
    assert len(house.tools().ledger.read()) == 4
    assert len(place.read_text().splitlines()) == 4


def test_an_old_copy_of_the_ring_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.backup()
    monkeypatch.setattr(keeping, "now", lambda: now() + dt.timedelta(days=7, minutes=1))
    assert "older than 7 days" in house.restore("--ledger-lost")
    monkeypatch.undo()
    house.use(house.data)
    (note,) = house.keys.glob("*/copy.json")
    later = json.loads(note.read_text())
    later["at"] = (now() + dt.timedelta(days=1)).isoformat()
    note.write_text(json.dumps(later))
    house.use(house.root / "again")
    assert "date is not what was sealed" in house.restore("--ledger-lost")


def test_old_copies_of_the_ring_are_removed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.backup()
    (first,) = house.keys.iterdir()
    stranger = house.keys / "notes"
    stranger.mkdir()
    monkeypatch.setattr(keeping, "now", lambda: now() + dt.timedelta(days=8))
    assert house.backup()["expired"] == 1
    assert not first.exists()
    assert stranger.exists()
    assert len(list(house.keys.iterdir())) == 2


def test_the_ring_of_another_installation_or_backup_is_refused(house: House) -> None:
    house.backup()
    first = next(house.keys.iterdir())
    house.backup()
    house.use(house.root / "again")
    said = house.run("restore", house.out, "--keys", first, "--ledger-lost")
    assert "another backup" in said
    tools, _ = install(Settings(data=house.root / "other"), context="research")
    tools.engine.dispose()
    second = next(path for path in house.keys.iterdir() if path != first)
    for name in ("ring.json", "unlock.key"):
        shutil.copy(house.root / "other" / "keys" / name, second / name)
    assert "not what was sealed" in house.restore("--ledger-lost")


def test_what_is_there_is_never_written_over(house: House) -> None:
    house.backup()
    (house.root / "again").mkdir()
    (house.root / "again" / "notes.txt").write_text("mine")
    assert "not empty" in house.restore("--ledger-lost")
    assert (house.root / "again" / "notes.txt").read_text() == "mine"
    house.use(house.data)
    stuff = house.root / "stuff"
    stuff.mkdir()
    (stuff / "letter.txt").write_text("mine")
    assert "something else" in house.run("backup", stuff)
    assert "must not lie with" in house.run("backup", house.out, "--keys", house.out / "keys")


def test_a_restore_that_was_killed_is_begun_again(house: House) -> None:
    house.backup()
    half = house.root / "again"
    for name in ("restoring/keys", "blobs/ab"):
        (half / name).mkdir(parents=True)
    (half / "annotator.sqlite").write_bytes(b"half")
    assert house.restore("--ledger-lost")["keys"] == PEOPLE
    assert opens(house.tools(), 0)
    assert not (half / "restoring").exists()


def test_a_backup_of_an_older_schema_is_brought_up_to_date(house: House) -> None:
    engine = open_engine(f"sqlite:///{house.data / 'annotator.sqlite'}")
    migrate.downgrade(engine, "0001")
    engine.dispose()
    tools = house.tools()
    taken = backups.take_backup(
        tools.engine,
        vault=tools.vault,
        out=house.out,
        at=now(),
        ring=keeping.ring_source(tools),
        keys=house.keys,
    )
    assert taken.blobs == 2 * PEOPLE
    assert house.restore("--ledger-lost")["keys"] == PEOPLE
    assert migrate.find_drift(house.tools().engine) == []


def test_an_upload_while_it_is_backed_up_is_in_it_or_not(house: House) -> None:
    """Whatever comes meanwhile: every row of the copy has its blob."""
    tools = house.tools()
    sent = 0
    read = tools.vault.read_sealed

    def upload(blob: str) -> Iterator[bytes]:
        nonlocal sent
        sent += 1
        with tools.transaction() as session:
            subject = people(session)[0]
            intake.receive_image(
                session,
                vault=tools.vault,
                imaging=tools.imaging,
                dataset=session.get_one(Dataset, subject.dataset_id),
                subject=subject,
                data=grey_png(sent) + bytes([sent]),
            )
        return read(blob)

    tools.vault.read_sealed = upload
    backups.take_backup(
        tools.engine,
        vault=tools.vault,
        out=house.out,
        at=now(),
        ring=keeping.ring_source(tools),
        keys=house.keys,
    )
    assert sent >= 2 * PEOPLE
    assert house.restore("--ledger-lost")["damaged"] == 0
