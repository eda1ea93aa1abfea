"""A disk that fills up: a sentence, and everything that was acknowledged is there."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from annotator.bootstrap import Toolbox
from annotator.cli.installing import install
from annotator.core.config import Settings
from annotator.core.db import explain
from annotator.core.errors import AnnotatorError, StorageFull
from annotator.domain import consent, intake, upkeep
from annotator.models import Dataset, Image, Subject
from tests.factories import grey_png, make_dataset, make_subject


@pytest.fixture(params=["2m", "4m"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no small disk: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def receive_until_full(tools: Toolbox) -> tuple[list[int], AnnotatorError]:
    taken: list[int] = []
    while True:
        try:
            with tools.transaction() as session:
                image, _ = intake.receive_image(
                    session,
                    vault=tools.vault,
                    imaging=tools.imaging,
                    dataset=session.scalars(select(Dataset)).one(),
                    subject=session.scalars(select(Subject)).one(),
                    data=grey_png(1) + os.urandom(60_000),
                )
        except StorageFull as error:
            return taken, error
        except DBAPIError as error:
            return taken, explain(error) or AnnotatorError()
        taken.append(image.id)


def check(tools: Toolbox, taken: list[int]) -> None:
    """Nothing that was acknowledged is lost, and nothing is half there."""
    with tools.sessions() as session:
        images = list(session.scalars(select(Image).order_by(Image.id)))
        assert [image.id for image in images] == taken
        for image in images:
            assert image.original_blob is not None
            data = tools.vault.open_blob(
                subject=image.subject.uid,
                key=consent.key_of(tools.vault, image.subject),
                blob=image.original_blob,
                kind="original",
            )
            assert data.startswith(b"\x89PNG")
        named = {image.original_blob for image in images}
        assert session.scalars(text("PRAGMA integrity_check")).all() == ["ok"]
    assert list(upkeep.Scrub(tools.engine, vault=tools.vault)) == []
    swept = upkeep.sweep(tools.engine, vault=tools.vault, grace=timedelta(0))
    assert set(swept.orphans).isdisjoint(named)
    blobs = tools.data / "blobs"
    assert {path.name for path in blobs.rglob("*") if path.is_file()} == named


def test_a_full_disk_loses_nothing_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    tools, _ = install(Settings(data=small_disk / "data"), context="research")
    with tools.transaction() as session:
        make_subject(session, tools.vault, make_dataset(session))
    tools.engine.dispose()  # closes the write-ahead log, so that there is room for a ballast
    free = shutil.disk_usage(small_disk).free
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(free // 2))
    before, error = receive_until_full(tools)
    assert isinstance(error, StorageFull)
    assert "disk is full" in error.message
    assert before
    check(tools, before)
    ballast.unlink()
    after, _ = receive_until_full(tools)
    assert after
    assert not set(before) & set(after)
    check(tools, before + after)
    tools.engine.dispose()
