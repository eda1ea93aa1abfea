"""A whole installation whose blobs lie in an object store, driven from the command line."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from annotator.bootstrap import Toolbox
from annotator.cli.installing import install
from annotator.core.config import Settings
from annotator.core.errors import StorageFailed
from annotator.domain import consent, erasure
from annotator.models import Face, Subject
from annotator.worker import run_job
from tests.factories import grey_png, make_dataset
from tests.installation import Installation
from tests.vault.object_server import BUCKET, ObjectServer, serve_objects

PREFIX = "clinic"


@pytest.fixture
def server() -> Iterator[ObjectServer]:
    with serve_objects() as server:
        server.reset()
        yield server


@pytest.fixture
def installation(
    tmp_path: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    keys = {
        "AWS_ENDPOINT_URL_S3": server.url,
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "not a secret",
    }
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    url = f"s3://{BUCKET}/{PREFIX}"
    return Installation(tmp_path / "data", ANNOTATOR_BLOBS_URL=url, **keys)


@pytest.fixture
def tools(installation: Installation) -> Iterator[Toolbox]:
    installation.init()
    box = Toolbox(Settings.load(installation.environ))
    yield box
    box.engine.dispose()


@pytest.fixture
def pictures(tools: Toolbox, tmp_path: Path) -> list[str | Path]:
    """Four crops of two people with their votes, as arguments of ``import``."""
    with tools.transaction() as session:
        make_dataset(session, name="Pilot", votes_per_face=2)
    (tmp_path / "faces").mkdir()
    people, votes = ["file,code,purposes,expression,expires"], ["file,vote_1,vote_2"]
    for number in range(4):
        (tmp_path / "faces" / f"{number}.png").write_bytes(grey_png(number, side=48))
        granted = "store label train export_pseudonymised"
        people.append(f"{number}.png,F-{number % 2},{granted},imported,2029-01-01")
        votes.append(f"{number}.png,neutral,neutral")
    (tmp_path / "people.csv").write_text("\n".join(people))
    (tmp_path / "votes.csv").write_text("\n".join(votes))
    subjects, labels = tmp_path / "people.csv", tmp_path / "votes.csv"
    return [tmp_path / "faces", "--subjects", subjects, "--votes", labels, "--cropped"]


def test_the_walk(
    installation: Installation,
    tools: Toolbox,
    server: ObjectServer,
    pictures: list[str | Path],
    tmp_path: Path,
) -> None:
    installation.run("import", "Pilot", *pictures)
    assert not (installation.data / "blobs").exists()
    stored = server.objects()
    assert set(stored) == {f"{PREFIX}/{blob}" for blob, _ in tools.vault.list_blobs()}
    assert not any(b"PNG" in sealed for sealed in stored.values())

    installation.run("export", "Pilot", tmp_path / "out")  # opens every crop, seals an archive
    assert json.loads(installation.run("verify", tmp_path / "out", "--json").stdout)["ok"]
    assert len(server.objects()) > len(stored)

    with tools.transaction() as session:
        gone = session.scalars(select(Subject)).first()
        faces = session.scalars(select(Face).where(Face.subject_id == gone.id))
        theirs = [face.crop_blob for face in faces]
        assert len(theirs) == 2
        done = erasure.withdraw_subject(session, subject=gone, by=None)
        assert f"{PREFIX}/{theirs[0]}" in server.objects()  # not before the commit
    assert run_job(tools, done.job.id)
    left = server.objects()
    assert not {f"{PREFIX}/{blob}" for blob in theirs} & set(left)
    with tools.sessions() as session:
        (kept,) = session.scalars(select(Subject).where(Subject.withdrawn_at.is_(None)))
        face = session.scalars(select(Face).where(Face.subject_id == kept.id)).first()
        crop = tools.vault.open_blob(
            subject=kept.uid,
            key=consent.key_of(tools.vault, kept),
            blob=face.crop_blob,
            kind="crop",
        )
    assert crop.startswith(b"\x89PNG")
    # What is left is what rows point to: nothing of the person who withdrew, nor of the export.
    assert {f"{PREFIX}/{blob}" for blob, _ in tools.vault.list_blobs()} == set(left)


def test_a_missing_bucket_stops_init_before_there_are_keys(installation: Installation) -> None:
    environ = installation.environ | {"ANNOTATOR_BLOBS_URL": "s3://nobody-made-it"}
    with pytest.raises(StorageFailed, match="bucket of the object store does not exist"):
        install(Settings.load(environ), context="research")
    assert not list(installation.data.rglob("ring.json"))
    installation.init()  # and with a bucket it goes well, in the same folder
