"""The power goes at any call of a withdrawal to the disk; the person is gone all the same.

Key ring, blobs and erasure ledger lie on the simulated disk, where what was not synced may be
dropped, torn or out of order; the database is a real one, and a commit of it is there or not. A
state in which both may wake up is taken before every call and after every commit; the worker's
sweeper finds what is to be done there, and does it. Then nothing that a thief ever read from the
disk or from the database opens the person's pictures with any key ring that is left, and nothing
of theirs is left for the key rings that they read before.
"""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from unittest.mock import Mock

import pytest
from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from annotator import bootstrap
from annotator.bootstrap import Toolbox
from annotator.core.config import Settings
from annotator.core.db import Base
from annotator.core.errors import AnnotatorError
from annotator.domain import consent, erasure, installation
from annotator.models import Face, Image, Job, Subject
from annotator.vault import Ledger, Vault, create_vault, open_vault
from annotator.vault.files import TEMPORARY, make_folders, write_durably
from annotator.worker import run_job, sweep_jobs
from tests.factories import make_dataset, make_face, make_subject
from tests.vault.simulated_disk import FOLDER, KEY_FILE, SimulatedDisk

PEOPLE, FACES, WITHDRAWN = 2, 2, 2
KEYS = FOLDER / "keys"
RING, LEDGER = KEYS / "ring.json", KEYS / "erasures.jsonl"
LATER = 4e9  # a time in the future: every temporary file is older


class Row(NamedTuple):
    """What opens one crop, beside a key ring."""

    subject: int
    uid: str
    wrapped: bytes
    epoch: int
    version: int
    blob: str


@dataclass
class Loot:
    """Everything that was ever read from the disk and the database."""

    rows: set[Row] = field(default_factory=set)
    rings: set[bytes] = field(default_factory=set)
    rings_before: set[bytes] = field(default_factory=set)
    blobs: dict[Path, bytes] = field(default_factory=dict)

    def add(self, database: Path, disk: SimulatedDisk) -> None:
        self.rows |= read_rows(database)
        for path, data in disk.files().items():
            if is_ring(data):
                self.rings.add(data)
            elif "blobs" in path.parts and not path.name.startswith(TEMPORARY):
                self.blobs[path] = data

    @property
    def stolen(self) -> list[Row]:
        """How the person's pictures opened."""
        return [row for row in self.rows if row.subject == WITHDRAWN]

    def sealed(self, blob: str) -> bytes:
        """A blob's bytes as they lay on the disk."""
        (found,) = [data for path, data in self.blobs.items() if path.name == blob]
        return found


@dataclass
class State:
    """Where database and disk may wake up."""

    database: Path
    disk: SimulatedDisk


def is_ring(data: bytes) -> bool:
    with suppress(ValueError):
        document = json.loads(data)
        return isinstance(document, dict) and "epochs" in document
    return False


def read_rows(database: Path) -> set[Row]:
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute(
            "SELECT s.id, s.uid, s.wrapped_key, s.key_epoch, s.key_version, f.crop_blob "
            "FROM faces f JOIN subjects s ON s.id = f.subject_id WHERE s.wrapped_key IS NOT NULL"
        ).fetchall()
    return {Row(*row) for row in found}


def opened(disk: SimulatedDisk) -> Vault:
    return open_vault(FOLDER, key_file=KEY_FILE, disk=disk)


def open_tools(database: Path) -> Toolbox:
    tools = Toolbox(Settings(data=database.parent, database_url=f"sqlite:///{database}"))
    tools.queue = Mock(spec=["wake"])  # nobody is woken: the sweeper has to find the job
    return tools


def put_in(tools: Toolbox, disk: SimulatedDisk) -> None:
    """Opens the vault on a disk. One engine for all: it compiles each statement once."""
    vault = opened(disk)
    tools.vault = vault  # type: ignore[assignment]
    tools.ledger = Ledger(LEDGER, seals=vault, disk=disk)


def opens(vault: Vault, row: Row) -> bool:
    with suppress(AnnotatorError):
        key = vault.restore_key(row.wrapped, row.epoch, row.version)
        crop = vault.open_blob(subject=row.uid, key=key, blob=row.blob, kind="crop")
        return crop.startswith(b"\x89PNG")
    return False


def opened_people(vault: Vault, rows: set[Row]) -> list[int]:
    return sorted(row.subject for row in rows if opens(vault, row))


def thieves_disk(loot: Loot, key_file: bytes) -> SimulatedDisk:
    """Every sealed picture that was ever there, and the key file, but no key ring."""
    disk = SimulatedDisk()
    for path, data in {**loot.blobs, KEY_FILE: key_file}.items():
        make_folders(disk, path.parent)
        write_durably(disk, path, [data])
    make_folders(disk, KEYS)
    return disk


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """In memory where that is: the database's own syncs are not what is looked at here."""
    monkeypatch.setattr(bootstrap, "GAP_SECONDS", 0)  # nobody else waits for a turn
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


def set_up(folder: Path) -> tuple[Toolbox, SimulatedDisk, Loot]:
    """People with faces; a rotation that was interrupted has left wraps of two epochs behind."""
    disk, loot = SimulatedDisk(), Loot()
    create_vault(FOLDER, key_file=KEY_FILE, disk=disk)
    tools = open_tools(folder / "live.sqlite")
    put_in(tools, disk)
    Base.metadata.create_all(tools.engine)
    with tools.transaction() as session:
        installation.set_up(
            session, install=tools.vault.install, context="research", model_digest="0" * 64
        )
        dataset = make_dataset(session)
        for _ in range(PEOPLE):
            subject = make_subject(session, tools.vault, dataset)
            for _ in range(FACES):
                make_face(session, tools.vault, subject)
    loot.add(database_of(tools), disk)
    with tools.transaction() as session:
        list(tools.vault.rotate([]))
        for subject in session.scalars(select(Subject)):
            moved = tools.vault.rewrap(subject.uid, consent.key_of(tools.vault, subject))
            subject.wrapped_key, subject.key_epoch = moved.wrapped, moved.epoch
    loot.add(database_of(tools), disk)
    assert opened(disk).epochs == (1, 2)
    assert len(loot.stolen) == 2 * FACES
    assert all(opens(opened(disk), row) for row in loot.rows)
    loot.rings_before = set(loot.rings)
    return tools, disk, loot


class Recorder:
    """Takes every state, once, in which things may wake up if the power goes now.

    Before every call to the disk and after every commit, until ``end``.
    """

    def __init__(self, tools: Toolbox, disk: SimulatedDisk, folder: Path) -> None:
        self.states: list[State] = []
        self._disk, self._database, self._folder = disk, database_of(tools), folder
        self._commits, self._copied = 0, -1
        self._seen: set[object] = set()
        event.listen(tools.sessions, "after_commit", self._committed)
        disk.before_call = self._take

    def end(self) -> None:
        """The last state is the one in which everything has been answered."""
        self._take()
        self._disk.before_call = None

    def _committed(self, _: object) -> None:
        if self._disk.before_call is not None:
            self._commits += 1
            self._take()

    def _take(self) -> None:
        copy = self._folder / f"committed-{self._commits}.sqlite"
        if self._copied != self._commits:
            self._copied = self._commits
            copy_database(self._database, copy)
        for woken in self._disk.wakings():
            state = (self._commits, frozenset(woken.files().items()))
            if state not in self._seen:
                self._seen.add(state)
                self.states.append(State(copy, woken))


def copy_database(source: Path, copy: Path) -> None:
    """As a crash leaves it: with its journal, without what processes shared in memory."""
    for ending in ("", "-wal", "-shm"):
        from_, to = Path(f"{source}{ending}"), Path(f"{copy}{ending}")
        to.unlink(missing_ok=True)
        if ending != "-shm" and from_.exists():
            shutil.copyfile(from_, to)


def withdraw(tools: Toolbox) -> None:
    """The whole of it: what the web does, then what a worker does."""
    with tools.transaction() as session:
        subject = session.get_one(Subject, WITHDRAWN)
        job = erasure.withdraw_subject(session, subject=subject, by=None).job.id
    assert run_job(tools, job)


def resume(tools: Toolbox) -> None:
    """What a worker's sweeper does, some time later; nobody asked."""
    with tools.transaction() as session:
        session.execute(update(Job).values(heartbeat_at=None))
        session.execute(update(Job).where(Job.state == "running").values(state="queued"))
    for job in sweep_jobs(tools):
        with tools.sessions() as session:
            kind = session.get_one(Job, job).kind
        if kind == "erase":
            assert run_job(tools, job)


def check_finished(tools: Toolbox, woken: SimulatedDisk, loot: Loot, thief: SimulatedDisk) -> None:
    """Nothing of the person is left; everybody else has everything; the disk is tidy."""
    with tools.sessions() as session:
        assert erasure.list_withdrawals(session) == []
        subject = session.get_one(Subject, WITHDRAWN)
        live = blobs_of(session)
        assert [(line["what"], line["subject"]) for line in tools.ledger.read()] == [
            ("withdrawn", subject.uid),
            ("destroyed", subject.uid),
        ]
    tools.engine.dispose()
    database = database_of(tools)
    vault, files = opened(woken), woken.files()
    others = sorted([n for n in range(1, PEOPLE + 1) if n != WITHDRAWN] * FACES)
    assert opened_people(vault, read_rows(database)) == others
    # With any key ring that is left, leftovers of broken writes too, nothing stolen opens.
    rings = [data for data in files.values() if is_ring(data)]
    assert rings
    for ring in rings:
        write_durably(thief, RING, [ring])
        assert opened_people(opened(thief), set(loot.stolen)) == []
    # For the key rings of before, no wrapped key and no sealed byte of theirs is left anywhere.
    names = {path.name for path in files}
    held = b"".join([database.read_bytes(), *files.values()])
    for row in loot.stolen:
        assert row.wrapped not in held
        assert row.blob not in names
        assert loot.sealed(row.blob)[100:1000] not in held
    # Nothing is left over but temporary files, and those of the store can be swept.
    kept = {path.name for path in files if not path.name.startswith(TEMPORARY)}
    assert kept == live | {"ring.json", "lock", KEY_FILE.name, LEDGER.name, f"{LEDGER.name}.lock"}
    vault.delete_unfinished(before=LATER)
    assert {path.name for path in woken.files() if "blobs" in path.parts} == live


def database_of(tools: Toolbox) -> Path:
    return Path(str(tools.engine.url.database))


def blobs_of(session: Session) -> set[str]:
    pictures = session.scalars(select(Image.redacted_blob))
    return {*session.scalars(select(Face.crop_blob)), *(blob for blob in pictures if blob)}


def test_the_person_is_gone_wherever_the_power_goes(folder: Path) -> None:
    tools, disk, loot = set_up(folder)
    recorder = Recorder(tools, disk, folder)
    withdraw(tools)
    recorder.end()
    loot.rings |= {
        data for state in recorder.states for data in state.disk.files().values() if is_ring(data)
    }
    thief = thieves_disk(loot, disk.files()[KEY_FILE])
    for ring in loot.rings_before:
        write_durably(thief, RING, [ring])
        assert opened_people(opened(thief), set(loot.stolen))  # the thief can do it
    seen = dict.fromkeys(["not withdrawn", "note", "blobs", "journal", "epoch", "close", "done"], 0)
    for state in recorder.states:
        step = wake(tools, state)
        seen[step] += 1
        if step == "not withdrawn":
            everybody = sorted([*range(1, PEOPLE + 1)] * FACES)
            assert opened_people(opened(state.disk), read_rows(state.database)) == everybody
            continue
        resume(tools)
        check_finished(tools, state.disk, loot, thief)
    assert all(seen.values()), seen
    assert len(recorder.states) > 150


def wake(tools: Toolbox, state: State) -> str:
    """Puts a state in place; tells what is the next step of the withdrawal in it."""
    tools.engine.dispose()
    copy_database(state.database, database_of(tools))
    put_in(tools, state.disk)
    with tools.sessions() as session:
        if session.get_one(Subject, WITHDRAWN).withdrawn_at is None:
            return "not withdrawn"
        pending = erasure.list_withdrawals(session)
        return pending[0].step if pending else "done"
