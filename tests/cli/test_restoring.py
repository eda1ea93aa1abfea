"""A backup goes to other places than it came from: a database server, an object store, and back."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from annotator.domain import erasure
from annotator.models import AuditEntry, Dataset
from tests.cli.house import PEOPLE, House, opens, people
from tests.factories import make_face, make_subject
from tests.vault.object_server import BUCKET, ObjectServer, serve_objects

URL = f"s3://{BUCKET}/clinic"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectServer]:
    with serve_objects() as server:
        server.reset()
        monkeypatch.setattr(logging.getLogger("werkzeug"), "level", logging.WARNING)  # the server's
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not a secret")
        yield server


def who_opens(house: House) -> list[bool]:
    tools = house.tools()
    return [opens(tools, number) for number in range(PEOPLE)]


def test_into_a_database_server_and_back(house: House, postgres: str) -> None:
    house.backup()
    house.withdraw(0)
    back = house.restore("--ledger", house.ledger, DATABASE_URL=postgres)
    assert (back["erased"], back["keys"], back["damaged"]) == (1, PEOPLE - 1, 0)
    assert sorted(path.name for path in (house.root / "again").iterdir()) == ["blobs", "keys"]
    tools = house.tools()
    assert tools.engine.dialect.name == "postgresql"
    assert who_opens(house) == [False, True, True]
    # It goes on there: numbers follow, the log goes on, the next withdrawal works.
    with tools.transaction() as session:
        dataset = session.scalars(select(Dataset)).one()
        subject = make_subject(session, tools.vault, dataset, name="Some Body")
        make_face(session, tools.vault, subject)
    house.withdraw(1)
    with tools.sessions() as session:
        assert len(people(session)) == PEOPLE + 1
        assert erasure.list_withdrawals(session) == []
        positions = list(session.scalars(select(AuditEntry.position).order_by(AuditEntry.id)))
        assert positions == list(range(len(positions)))
    assert who_opens(house) == [False, False, True]
    assert opens(tools, PEOPLE)
    # And back into a file, with what was erased meanwhile.
    house.out, house.keys = house.root / "copies" / "server", house.root / "more-keys"
    house.backup()
    house.withdraw(2)
    ledger = house.root / "again" / "keys" / "erasures.jsonl"
    assert house.restore("--ledger", ledger, name="third")["erased"] == 1
    assert (house.root / "third" / "annotator.sqlite").exists()
    assert who_opens(house) == [False, False, False]
    assert opens(house.tools(), PEOPLE)


def test_a_database_server_with_something_in_it_is_refused(house: House, postgres: str) -> None:
    house.backup()
    house.withdraw(0)
    house.restore("--ledger", house.ledger, DATABASE_URL=postgres)
    said = house.restore("--ledger", house.ledger, name="third", DATABASE_URL=postgres)
    assert "tables" in said
    assert list((house.root / "third").iterdir()) == []
    house.use(house.root / "again", DATABASE_URL=postgres)
    assert who_opens(house) == [False, True, True]


def test_into_an_object_store_and_back(house: House, server: ObjectServer) -> None:
    house.backup()
    house.withdraw(0)
    back = house.restore("--ledger", house.ledger, BLOBS_URL=URL)
    assert (back["erased"], back["blobs"]) == (1, 2 * (PEOPLE - 1))
    assert not (house.root / "again" / "blobs").exists()
    assert len(server.objects()) == 2 * (PEOPLE - 1)
    assert who_opens(house) == [False, True, True]
    house.out, house.keys = house.root / "copies" / "store", house.root / "more-keys"
    assert house.backup()["blobs"] == 2 * (PEOPLE - 1)
    house.withdraw(1)
    assert len(server.objects()) == 2 * (PEOPLE - 2)
    ledger = house.root / "again" / "keys" / "erasures.jsonl"
    assert house.restore("--ledger", ledger, name="third")["erased"] == 1
    assert (
        len([path for path in (house.root / "third" / "blobs").rglob("*") if path.is_file()]) == 2
    )
    assert who_opens(house) == [False, False, True]


def test_an_object_store_with_something_in_it_is_refused(
    house: House, server: ObjectServer
) -> None:
    house.backup()
    house.withdraw(0)
    house.restore("--ledger", house.ledger, BLOBS_URL=URL)
    before = server.objects()
    said = house.restore("--ledger", house.ledger, name="third", BLOBS_URL=URL)
    assert "blobs already" in said
    assert server.objects() == before


# Without a copy of the key ring


def test_a_backup_without_keys_is_opened_by_no_ring_once_somebody_withdrew(house: House) -> None:
    first = house.backup()
    older = Path(first["keys"])
    house.use(house.data)
    second = house.run("backup", house.out)
    assert second["keys"] is None
    house.withdraw(0)
    for keys, sentence in (
        (older, "belongs to another backup"),
        (house.keys, "no copy of the key ring"),
        (house.data / "keys", "no copy of the key ring"),
    ):
        house.use(house.root / "again")
        said = house.run("restore", house.out, "--keys", keys, "--ledger", house.ledger)
        assert sentence in said
        assert not list((house.root / "again").glob("*"))
    # Somebody who puts the files together by hand gets nowhere either.
    house.use(house.root / "by-hand")
    (house.root / "by-hand").mkdir()
    for path in (house.data / "keys").iterdir():
        (house.root / "by-hand" / "keys").mkdir(exist_ok=True)
        (house.root / "by-hand" / "keys" / path.name).write_bytes(path.read_bytes())
    (copy,) = house.out.glob("database-*")
    (house.root / "by-hand" / "annotator.sqlite").write_bytes(copy.read_bytes())
    (house.root / "by-hand" / "blobs").symlink_to(house.out / "blobs")
    assert who_opens(house) == [False, False, False]
    # With the keys of a backup that has them, those who stayed open.
    house.use(house.data)
    house.backup()
    assert house.restore("--ledger", house.ledger, name="third")["erased"] == 0
    assert who_opens(house) == [False, True, True]
