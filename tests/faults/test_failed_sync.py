"""An fsync fails: the worker ends at once, the web process stores nothing more, nothing is lost."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotator.bootstrap import Toolbox
from annotator.core.config import Settings
from annotator.core.errors import SyncFailed
from annotator.domain import jobs
from annotator.models import Job, Subject
from tests.factories import make_dataset, make_subject
from tests.installation import Installation, wait_for

# The worker as it is, on a disk whose fsync says no once, and yes ever after.
WORKER = """
import errno, os, sys
from annotator.vault.files import Disk
fsync = Disk.fsync
def fail_once(self, descriptor):
    Disk.fsync = fsync
    raise OSError(errno.EIO, os.strerror(errno.EIO))
Disk.fsync = fail_once
from annotator.cli import main
sys.exit(main(["worker"]))
"""


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    made = Installation(tmp_path / "data")
    made.init()
    return made


@pytest.fixture
def tools(installation: Installation) -> Iterator[Toolbox]:
    box = Toolbox(Settings.load(installation.environ))
    yield box
    box.engine.dispose()


def test_a_worker_ends_and_the_next_one_does_the_job(
    installation: Installation, tools: Toolbox
) -> None:
    with tools.transaction() as session:
        subject = make_subject(session, tools.vault, make_dataset(session))
        before = subject.wrapped_key
        job_id = jobs.enqueue(session, kind="renew_epoch", arguments={"epoch": 1}).id

    def job() -> Job:
        with tools.sessions() as session:
            return session.get_one(Job, job_id)

    dead = subprocess.run(
        [sys.executable, "-c", WORKER],
        env=installation.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert dead.returncode == 1
    assert "an fsync failed" in dead.stderr
    assert (job().state, job().attempts) == ("running", 1)  # nothing was written any more
    assert tools.vault.epochs == (1,)

    with installation.process("worker"):
        done = wait_for(lambda: (j := job()).state == "done" and j)
    assert done.attempts == 2
    with tools.sessions() as session:
        assert session.get_one(Subject, subject.id).wrapped_key != before
    assert len(tools.vault.epochs) == 1


def test_a_web_process_reads_on_and_stores_nothing(
    tools: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = tools.vault
    key = vault.create_key("anna")
    name = {"subject": "anna", "key": key, "kind": "crop"}
    blob = vault.seal_blob(**name, data=b"face")

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("os.fsync", fail)
        with pytest.raises(SyncFailed):
            vault.seal_blob(**name, data=b"another")
    assert tools.broken
    with pytest.raises(SyncFailed):  # though the disk would say yes again
        vault.seal_blob(**name, data=b"another")
    assert vault.open_blob(**name, blob=blob) == b"face"
    assert not Toolbox(tools.settings).vault.broken  # after a restart
