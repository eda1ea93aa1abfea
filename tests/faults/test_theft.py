"""The theft test: everything is copied, the person withdraws, and the copy is attacked.

The process that withdraws is killed at every point where something becomes durable: before and
after every commit, at every call by which the vault and the ledger write, and while the journal is
cut. A worker then finishes it without being asked. What is left must not open the person's pictures
out of the copy, nor hold a byte of what was theirs.
"""

import base64
import datetime as dt
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from annotator import bootstrap
from annotator.bootstrap import Toolbox
from annotator.cli.installing import install
from annotator.core.config import Settings
from annotator.core.db import now
from annotator.core.errors import AnnotatorError
from annotator.domain import consent, erasure, holdings
from annotator.domain.erasure import steps
from annotator.models import AuditEntry, Face, Image, Job, Subject
from annotator.vault import Ledger, Vault, open_vault
from annotator.vault.files import Disk
from annotator.worker import run_job, sweep_jobs
from tests.factories import (
    make_dataset,
    make_face,
    make_known_subject,
    make_model,
    make_prediction,
    make_subject,
)

GROUP, FILE = "canaries", "canary.jpg"
PEOPLE, FACES = 3, 2
WRITING = ("create", "write", "fsync", "replace", "remove", "make_folder", "fsync_folder")


class Loot(NamedTuple):
    """What a thief has: the folder as it was, and what they look for in what is left."""

    before: Path
    canaries: dict[str, bytes]


class Silent:
    """A queue that wakes nobody: the sweeper has to find the job."""

    def wake(self, job_id: int) -> None:
        """Nobody."""


def open_tools(data: Path) -> Toolbox:
    tools = Toolbox(Settings(data=data))
    tools.queue = Silent()
    return tools


@pytest.fixture(scope="module")
def loot(tmp_path_factory: pytest.TempPathFactory) -> Loot:
    root = tmp_path_factory.mktemp("loot")
    tools, _ = install(Settings(data=root / "data"), context="research")
    with tools.transaction() as session:
        dataset, model = make_dataset(session), make_model(session, "candidate")
        for number in range(PEOPLE):
            if number == 1:
                subject = make_known_subject(session, tools.vault, dataset, group=GROUP)
            else:
                subject = make_subject(session, tools.vault, dataset)
            for _ in range(FACES):
                face = make_face(session, tools.vault, subject)
                name_file(session, tools, face)
                embedding = base64.b64decode(os.urandom(32).hex())
                make_prediction(session, tools.vault, face, model, embedding=embedding)
    # The pool keeps a connection open, so that the copy has a write-ahead log with all of it.
    shutil.copytree(root / "data", root / "before")
    tools.engine.dispose()
    assert (root / "before" / "annotator.sqlite-wal").stat().st_size > 0
    return Loot(root / "before", find_canaries(root / "data"))


def name_file(session: Session, tools: Toolbox, face: Face) -> None:
    image = face.image
    image.sealed_name = tools.vault.seal_field(
        subject=face.subject.uid,
        key=consent.key_of(tools.vault, face.subject),
        table="images",
        column="name",
        row=image.uid,
        text=FILE,
    )
    session.flush()


def find_canaries(data: Path) -> dict[str, bytes]:
    """Bytes that are the second person's, by what they are."""
    tools = open_tools(data)
    with tools.sessions() as session:
        subject = person(session)
        found: dict[str, bytes | None] = {
            "key": subject.wrapped_key,
            "group": GROUP.encode(),
        }
        for place in (*holdings.FIELDS, *holdings.BLOBS):
            if not place.archive:
                for each in holdings.list_items(
                    session, holding=place, vault=tools.vault, subject_id=subject.id
                ):
                    value = each.value if isinstance(each.value, bytes) else each.value.encode()
                    found[f"{place.name} {each.id}"] = value
        for image in session.scalars(select(Image).where(Image.subject_id == subject.id)):
            found |= {
                f"fingerprint {image.id}": image.fingerprint,
                f"picture {image.id}": image.uid.encode(),
            }
    tools.engine.dispose()
    assert all(found.values())
    told = {place.name for place in (*holdings.FIELDS, *holdings.BLOBS) if not place.archive}
    missing = told - {what.rpartition(" ")[0] for what in found}
    assert missing == {"images.original_blob"}  # what is ready has none any more
    return {what: value for what, value in found.items() if value}


def person(session: Session) -> Subject:
    return session.scalars(select(Subject).where(Subject.id == 2)).one()


def search(folder: Path, canaries: dict[str, bytes]) -> set[str]:
    """Which canaries are in any file or file name below a folder."""
    found = set()
    for path in folder.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        found |= {
            what for what, value in canaries.items() if value in data or value in path.name.encode()
        }
    return found


def opened(data: Path, *, rows: Path, vault: Vault) -> dict[int, int]:
    """How many crops of each person open: rows of one place, blobs of ``data``, some vault."""
    counts = dict.fromkeys(range(1, PEOPLE + 1), 0)
    with closing(sqlite3.connect(rows)) as connection:
        found = connection.execute(
            "SELECT s.id, s.uid, s.wrapped_key, s.key_epoch, s.key_version, f.crop_blob "
            "FROM faces f JOIN subjects s ON s.id = f.subject_id WHERE s.wrapped_key IS NOT NULL"
        ).fetchall()
    for number, uid, wrapped, epoch, version, blob in found:
        with suppress(AnnotatorError):
            key = vault.restore_key(wrapped, epoch, version)
            crop = vault.open_blob(subject=uid, key=key, blob=blob, kind="crop")
            counts[number] += crop.startswith(b"\x89PNG")
    return counts


def vault_of(keys: Path, *, blobs: Path) -> Vault:
    return open_vault(keys, blobs=blobs / "blobs", key_file=keys / "keys" / "unlock.key")


def test_what_the_thief_has_is_all_of_it(loot: Loot, tmp_path: Path) -> None:
    """Without a withdrawal, or with the old ring as well: why ring copies lie apart."""
    assert search(loot.before, loot.canaries) == set(loot.canaries)
    shutil.copytree(loot.before, tmp_path / "copy")
    copy = tmp_path / "copy"
    vault = vault_of(copy, blobs=copy)
    rows = copy / "annotator.sqlite"
    assert opened(copy, rows=rows, vault=vault) == dict.fromkeys(range(1, PEOPLE + 1), FACES)


class Points:
    """Counts what becomes durable, and kills this process at one of them."""

    def __init__(self, fatal: int) -> None:
        self.passed: list[str] = []
        self._fatal = fatal

    def __call__(self, name: str) -> None:
        if len(self.passed) == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed.append(name)


class FatalDisk(Disk):
    """A disk at whose every write the process may be killed; half of the bytes are written."""

    def __init__(self, points: Points) -> None:
        for name in WRITING:
            setattr(self, name, self._watch(points, name, getattr(super(), name)))

    def _watch(self, points: Points, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any) -> Any:
            if name == "write":
                half = len(args[1]) // 2
                written = call(args[0], args[1][:half])
                points(name)
                return written + call(args[0], args[1][written:])
            points(name)
            # The process is killed, not the machine: nothing needs to be waited for.
            return None if name.startswith("fsync") else call(*args)

        return watched


def withdraw(data: Path, points: Points) -> None:
    """The whole of it, in this process: what the web does, then what a worker does."""
    tools, disk = open_tools(data), FatalDisk(points)
    vault = open_vault(data, blobs=data / "blobs", key_file=data / "keys" / "unlock.key", disk=disk)
    tools.vault = vault  # type: ignore[assignment, misc]
    tools.ledger = Ledger(tools.ledger_file, seals=vault, disk=disk)
    event.listen(tools.engine, "commit", lambda _: points("commit"))
    event.listen(tools.sessions, "after_commit", lambda _: points("committed"), insert=True)
    cut = steps.empty_journal

    def watched(*arguments: Any, **more: Any) -> None:
        points("journal")
        cut(*arguments, **more)
        points("journal cut")

    steps.empty_journal = watched
    try:
        with tools.transaction() as session:
            done = erasure.withdraw_subject(session, subject=person(session), by=None)
            job = done.job.id
        run_job(tools, job)
    finally:
        steps.empty_journal = cut
        tools.engine.dispose()


def killed_at(data: Path, point: int) -> bool:
    """Withdraws in a child that is killed at a point; whether it came so far."""
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            withdraw(data, Points(point))
            os._exit(0)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def resume(tools: Toolbox) -> None:
    """What a worker's sweeper does, some time later; nobody asked."""
    with tools.transaction() as session:
        session.execute(update(Job).values(heartbeat_at=now() - dt.timedelta(hours=1)))
    for job in sweep_jobs(tools):
        run_job(tools, job)


def attack(loot: Loot, live: Path) -> None:
    """Everything that a thief may put together, but the old ring with the old database."""
    everybody = dict.fromkeys(range(1, PEOPLE + 1), FACES)
    others = everybody | {2: 0}
    assert search(live, loot.canaries) == set()
    old = live.parent / "old.sqlite"
    if not old.exists():
        for ending in ("", "-wal", "-shm"):
            shutil.copy(loot.before / f"annotator.sqlite{ending}", f"{old}{ending}")
    # The keys that are left, with the old rows and the old blobs: nobody opens.
    left = vault_of(live, blobs=loot.before)
    assert opened(loot.before, rows=old, vault=left) == dict.fromkeys(everybody, 0)
    # The old keys with the new rows: the others' new wraps do not open, the person has none.
    before = vault_of(loot.before, blobs=loot.before)
    assert opened(live, rows=live / "annotator.sqlite", vault=before) == dict.fromkeys(everybody, 0)
    # And nobody else lost anything.
    assert opened(live, rows=live / "annotator.sqlite", vault=vault_of(live, blobs=live)) == others


def check(loot: Loot, live: Path) -> str:
    """Resumes, and attacks what is left; tells what the crash had left."""
    tools = open_tools(live)
    try:
        with tools.sessions() as session:
            withdrawn = person(session).withdrawn_at is not None
            pending = erasure.list_withdrawals(session)
            logged = session.scalars(
                select(AuditEntry.id).where(AuditEntry.action == "subject.erased")
            ).all()
        assert withdrawn == bool(logged)
        if not withdrawn:
            assert not pending
            vault = vault_of(live, blobs=live)
            everybody = dict.fromkeys(range(1, PEOPLE + 1), FACES)
            assert opened(live, rows=live / "annotator.sqlite", vault=vault) == everybody
            return "not withdrawn"
        resume(tools)
        with tools.sessions() as session:
            assert erasure.list_withdrawals(session) == []
            records = tools.ledger.read()
            assert [record["what"] for record in records] == ["withdrawn", "destroyed"]
            assert {record["subject"] for record in records} == {person(session).uid}
    finally:
        tools.engine.dispose()
    attack(loot, live)
    return pending[0].step if pending else "done"


def test_nothing_opens_after_a_crash_at_any_point(
    loot: Loot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "GAP_SECONDS", 0)  # nobody else waits for a turn
    rehearsal = tmp_path / "rehearsal" / "data"
    shutil.copytree(loot.before, rehearsal)
    points = Points(-1)
    withdraw(rehearsal, points)
    assert check(loot, rehearsal) == "done"
    assert set(points.passed) >= {"commit", "committed", "journal", "journal cut", *WRITING} - {
        "make_folder"
    }
    seen = set()
    for point in range(len(points.passed)):
        live = tmp_path / str(point) / "data"
        shutil.copytree(loot.before, live)
        assert killed_at(live, point), f"{point} of {len(points.passed)}"
        try:
            seen.add(check(loot, live))
        except AssertionError as error:
            raise AssertionError(f"at point {point}: {points.passed[: point + 1][-3:]}") from error
        shutil.rmtree(live.parent)
    assert seen >= {"not withdrawn", "note", "blobs", "journal", "epoch", "close", "done"}
