"""A disk that fills up: a sentence, and everything that was acknowledged is there."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from annotator.bootstrap import Toolbox
from annotator.cli.installing import install
from annotator.core.config import Settings
from annotator.core.db import explain
from annotator.core.errors import AnnotatorError, StorageFull
from annotator.domain import consent, intake
from annotator.models import Dataset, Image, Subject
from tests.factories import grey_png, make_dataset, make_subject

SIZE = "4m"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder],
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


def test_a_full_disk_loses_nothing_that_was_acknowledged(small_disk: Path) -> None:
    tools, _ = install(Settings(data=small_disk / "data"), context="research")
    with tools.transaction() as session:
        make_subject(session, tools.vault, make_dataset(session))
    taken, error = receive_until_full(tools)
    assert isinstance(error, StorageFull)
    assert "disk is full" in error.message
    assert taken
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
    tools.engine.dispose()


def test_after_some_room_is_made_it_goes_on(small_disk: Path) -> None:
    tools, _ = install(Settings(data=small_disk / "data"), context="research")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_500_000))
    with tools.transaction() as session:
        make_subject(session, tools.vault, make_dataset(session))
    before, _ = receive_until_full(tools)
    ballast.unlink()
    after, _ = receive_until_full(tools)
    assert after
    assert not set(before) & set(after)
    tools.engine.dispose()
