"""The disk fails at each single call of the vault: a sentence, nothing half there, then it works.

Through the product's doors: an upload over the web app, and the job that covers pictures.
"""

import errno
import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import func, select

from annotator.bootstrap.artist import DrawingArtist
from annotator.cli.installing import install
from annotator.core.config import Settings
from annotator.core.errors import SyncFailed
from annotator.domain import accounts, holdings, intake, upkeep
from annotator.models import Dataset, Face, Image, Job, Subject
from annotator.vault import open_vault
from annotator.web import create_app
from annotator.worker import run_job
from tests.factories import grey_png, make_dataset, make_subject, make_user
from tests.vault.conftest import FaultyDisk

ERRORS = {errno.EIO: (500, "storage_failed"), errno.ENOSPC: (507, "storage_full")}
MOST_CALLS = 60


class Shop:
    """An installation on a disk that fails when it is told to."""

    def __init__(self, data: Path) -> None:
        self.tools, _ = install(Settings(data=data), context="research")
        self.tools.queue = SimpleNamespace(wake=lambda _job: None)
        self.disk = FaultyDisk()
        key_file = data / "keys" / "unlock.key"
        self.tools.vault = open_vault(data, key_file=key_file, disk=self.disk)  # type: ignore[assignment]
        self.blobs = data / "blobs"
        with self.tools.transaction() as session:
            dataset = make_dataset(session)
            make_subject(session, self.tools.vault, dataset, code="anna")
            admin = make_user(session, "admin")
            _, token = accounts.create_token(session, user=admin, name="test")
        self.headers = {"Authorization": f"Bearer {token}"}
        self.client = create_app(self.tools).test_client()

    def upload(self, data: bytes) -> Any:
        form = {"subject": "anna", "file": (io.BytesIO(data), "a.png")}
        return self.client.post("/api/v1/datasets/1/images", data=form, headers=self.headers)

    def count(self, table: Any) -> int:
        with self.tools.sessions() as session:
            return session.scalar(select(func.count()).select_from(table)) or 0

    def check_whole(self) -> None:
        """Every row opens; what no row names is swept; then files and rows are the same."""
        assert list(upkeep.Scrub(self.tools.engine, vault=self.tools.vault)) == []
        upkeep.sweep(self.tools.engine, vault=self.tools.vault, grace=timedelta(0))
        files = {path.name for path in self.blobs.rglob("*") if path.is_file()}
        with self.tools.sessions() as session:
            named = {
                blob
                for holding in holdings.BLOBS
                for blob in session.scalars(select(holding.column))
                if blob
            }
        assert files == named


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path / "data")
    yield made
    made.tools.engine.dispose()


@pytest.mark.parametrize("error", ERRORS)
def test_an_upload_fails_whole_at_every_call_and_then_works(shop: Shop, error: int) -> None:
    status, code = ERRORS[error]
    failed = []
    for call in range(MOST_CALLS):
        before, jobs_before = shop.count(Image), shop.count(Job)
        shop.disk.plan(call, error)
        data = grey_png(call) + call.to_bytes(2)
        answer = shop.upload(data)
        made = shop.disk.names()
        shop.disk.heal()
        if len(made) <= call:  # the call that was to fail was never made
            assert answer.status_code == 202
            break
        if answer.status_code == 202:  # an error that changes nothing, such as of closing a reader
            continue
        failed.append(made[call])
        # The reading side of the key ring has no place to be full.
        expected = {(status, code), (500, "storage_failed"), (404, "not_found")}
        if made[call].startswith("fsync"):
            expected = {(500, "sync_failed")}
        assert (answer.status_code, answer.json["code"]) in expected, made[call]
        assert len(answer.json["detail"].split(". ")) <= 2
        assert str(shop.blobs) not in answer.text
        assert (shop.count(Image), shop.count(Job)) == (before, jobs_before)
        shop.check_whole()
        assert shop.upload(data).status_code == 202  # the same again, now that the disk is well
    else:
        pytest.fail("it never came to an end")
    assert {"create", "write", "fsync", "replace", "fsync_folder"} <= set(failed)
    shop.check_whole()


def test_a_failed_fsync_is_not_tried_again_and_is_not_acknowledged(shop: Shop) -> None:
    shop.upload(grey_png(1))  # the folders that it makes have fsyncs of their own
    shop.disk.plan(10**6, errno.EIO)
    assert shop.upload(grey_png(2)).status_code == 202
    places = [at for at, name in enumerate(shop.disk.names()) if name.startswith("fsync")]
    for at in places:
        shop.disk.plan(at, errno.EIO)
        answer = shop.upload(grey_png(3))
        after = shop.disk.names()[at + 1 :]
        shop.disk.heal()
        assert (answer.status_code, answer.json["code"]) == (500, "sync_failed")
        assert not [name for name in after if name.startswith("fsync")]
        assert shop.count(Image) == 2


@pytest.mark.parametrize("error", ERRORS)
def test_a_redaction_fails_whole_at_every_call_and_then_works(shop: Shop, error: int) -> None:
    crop = DrawingArtist(shop.tools.imaging).draw_crop(0, "neutral", seed=1)
    called, ended = 0, False
    while not ended:
        job_id = receive(shop, crop + called.to_bytes(2))
        faces = shop.count(Face)
        shop.disk.plan(called, error)
        try:
            assert run_job(shop.tools, job_id)
        except SyncFailed:  # the worker ends here, and the sweeper of another has it done anew
            shop.disk.heal()
            with shop.tools.transaction() as session:
                session.get_one(Job, job_id).state = "queued"
            assert run_job(shop.tools, job_id)
            assert shop.count(Face) == faces + 1
            called += 1
            continue
        made = shop.disk.names()
        shop.disk.heal()
        ended = len(made) <= called
        with shop.tools.sessions() as session:
            job = session.get_one(Job, job_id)
            image = session.get_one(Image, job.arguments["images"][0])
            if image.state == "ready":
                assert (job.state, shop.count(Face)) == ("done", faces + 1)
            else:
                # Still as it came: a new attempt finds everything.
                assert (image.state, image.redacted_blob) == ("received", None), image.error
                assert job.state == "failed"
                assert job.error
                assert shop.count(Face) == faces
        if image.state != "ready":
            shop.check_whole()
            assert run_job(shop.tools, start(shop, image.id))
            assert shop.count(Face) == faces + 1
        called += 1
        assert called < MOST_CALLS
    shop.check_whole()


def receive(shop: Shop, data: bytes) -> int:
    with shop.tools.transaction() as session:
        image, _ = intake.receive_image(
            session,
            vault=shop.tools.vault,
            imaging=shop.tools.imaging,
            dataset=session.scalars(select(Dataset)).one(),
            subject=session.scalars(select(Subject)).one(),
            data=data,
            cropped=True,
        )
    return start(shop, image.id)


def start(shop: Shop, image_id: int) -> int:
    with shop.tools.transaction() as session:
        job = intake.start_received(
            session, dataset=session.scalars(select(Dataset)).one(), images=[image_id]
        )
        assert job is not None
        return job.id
