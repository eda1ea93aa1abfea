"""One of everything that is sealed goes into a backup and back, from a folder and from a bucket."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from annotator.cli.installing import install
from annotator.core.config import Settings
from annotator.domain import audit, holdings, keys, upkeep
from annotator.models import AuditSalt
from tests.cli.house import House, people
from tests.factories import (
    make_dataset,
    make_face,
    make_known_subject,
    make_model,
    make_prediction,
)
from tests.vault.object_server import BUCKET, serve_objects

PEOPLE = 3


@pytest.fixture(params=["folder", "bucket"])
def stores(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, str]]:
    """Where blobs lie before and after; empty means the data folder."""
    if request.param == "folder":
        yield "", ""
        return
    with serve_objects() as server:
        server.reset()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not a secret")
        yield f"s3://{BUCKET}/before", f"s3://{BUCKET}/after"


@pytest.fixture
def house(
    stores: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> Iterator[House]:
    tools, _ = install(Settings(data=tmp_path / "data", blobs_url=stores[0]), context="research")
    with tools.transaction() as session:
        dataset, model = make_dataset(session), make_model(session)
        for _ in range(PEOPLE):
            subject = make_known_subject(session, tools.vault, dataset)
            make_prediction(session, tools.vault, make_face(session, tools.vault, subject), model)
    with tools.transaction() as session:  # two keys, and things sealed with either
        last = people(session)[-1]
        keys.start_rekeying(session, vault=tools.vault, subject=last)
        make_face(session, tools.vault, last)
    tools.engine.dispose()
    house = House(tmp_path, monkeypatch, capsys)
    house.use(house.data, BLOBS_URL=stores[0])
    yield house
    house.close()


def test_everything_opens_again_and_nothing_of_who_withdrew_since(
    house: House, stores: tuple[str, str]
) -> None:
    house.backup()
    house.withdraw(1)
    back = house.restore("--ledger", house.ledger, BLOBS_URL=stores[1])
    assert (back["erased"], back["damaged"]) == (1, 0)
    tools = house.tools()
    scrub = upkeep.Scrub(tools.engine, vault=tools.vault)
    assert list(scrub) == []
    with tools.sessions() as session:
        gone = people(session)[1]
        for place in (*holdings.KEYS, *holdings.FIELDS, *holdings.BLOBS):
            if not place.archive:
                own = {"holding": place, "vault": tools.vault, "subject_id": gone.id}
                assert holdings.list_items(session, **own) == [], place.name
        assert len(session.scalars(select(AuditSalt)).all()) == PEOPLE - 1
        named = set(holdings.list_named(session))
        report = audit.verify_log(session, verifier=audit.verifier_of(tools.vault))
        assert (report.problems, report.size > PEOPLE) == ((), True)
    assert {blob for blob, _ in tools.vault.list_blobs()} == named
    assert (house.root / "again" / "blobs").exists() == (not stores[1])
    # The second key goes on where it was.
    with tools.transaction() as session:
        last = people(session)[-1]
        job = keys.start_rekeying(session, vault=tools.vault, subject=last).id
    assert house.work(job)["version"] == 2
    assert list(upkeep.Scrub(tools.engine, vault=tools.vault)) == []
