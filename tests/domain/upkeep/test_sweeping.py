"""What belongs to nothing goes; what belongs to something, or is still to, stays."""

import datetime as dt
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict
from annotator.core.locks import alone
from annotator.domain import holdings, upkeep
from annotator.domain.upkeep import sweeping
from annotator.domain.upkeep.sweeping import KIND
from annotator.models import AuditEntry, Installation, Job, Subject
from tests.domain.upkeep.conftest import Place
from tests.fakes import FakeTools, FakeWork

NONE = dt.timedelta(0)
DAY = 86_400  # seconds


def leave_orphan(place: Place, *, age: float = 0) -> str:
    """A blob as an upload leaves it that died before its row."""
    with Session(place.engine) as session:
        subject = session.scalars(select(Subject)).one()
        key = place.vault.restore_key(
            subject.wrapped_key or b"", subject.key_epoch or 0, subject.key_version or 0
        )
    blob = place.vault.seal_blob(subject=subject.uid, key=key, kind="original", data=b"lost")
    moment = time.time() - age
    os.utime(place.path(blob), (moment, moment))
    return blob


def test_orphans_go_and_everything_else_stays(place: Place) -> None:
    before = place.files()
    orphan = leave_orphan(place, age=2 * DAY)
    young = leave_orphan(place, age=DAY / 2)
    looked = upkeep.sweep(place.engine, vault=place.vault, dry_run=True)
    assert (looked.orphans, looked.blobs) == ((orphan,), len(before) + 2)
    assert place.files() == before | {orphan, young}
    swept = upkeep.sweep(place.engine, vault=place.vault)
    assert swept.orphans == (orphan,)
    assert place.files() == before | {young}
    assert upkeep.sweep(place.engine, vault=place.vault, grace=NONE).orphans == (young,)
    assert place.files() == before
    assert list(upkeep.Scrub(place.engine, vault=place.vault)) == []


def test_files_of_crashed_writes_go_when_they_are_old(place: Place) -> None:
    blob = leave_orphan(place)
    old, young = (place.path(blob).with_name(f"tmp-{name * 32}") for name in "ab")
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert upkeep.sweep(place.engine, vault=place.vault).unfinished == 1
    assert not old.exists()
    assert young.exists()


def test_an_upload_whose_row_is_not_committed_yet_is_never_hit(place: Place) -> None:
    """However long its transaction takes, and with no grace at all."""
    written, commit = threading.Event(), threading.Event()
    stored: list[str] = []

    def upload() -> None:
        with Session(place.engine) as session:
            session.connection(execution_options={"writing": True})
            subject = session.scalars(select(Subject)).one()
            image = place.add_image(session, subject)
            stored.append(str(image.original_blob))
            moment = time.time() - 60  # what it wrote is no longer young
            os.utime(place.path(stored[0]), (moment, moment))
            written.set()
            commit.wait(30)
            session.commit()

    uploading = threading.Thread(target=upload)
    uploading.start()
    assert written.wait(30)
    swept: list[upkeep.Swept] = []
    sweeping_ = threading.Thread(
        target=lambda: swept.append(upkeep.sweep(place.engine, vault=place.vault, grace=NONE))
    )
    sweeping_.start()
    sweeping_.join(0.5)
    if place.engine.dialect.name == "sqlite":
        assert sweeping_.is_alive()  # it waits for the writer
    commit.set()
    uploading.join()
    sweeping_.join()
    assert [each.orphans for each in swept] == [()]
    assert place.path(stored[0]).exists()
    assert list(upkeep.Scrub(place.engine, vault=place.vault)) == []


def test_what_a_running_job_wrote_before_its_row_is_never_hit(place: Place) -> None:
    moment = now() - dt.timedelta(days=3)
    with Session(place.engine) as session:
        session.add(Job(kind="export", arguments={}, state="running", started_at=moment))
        session.commit()
    during = leave_orphan(place, age=2 * DAY)
    before = leave_orphan(place, age=4 * DAY)
    assert upkeep.sweep(place.engine, vault=place.vault).orphans == (before,)
    with Session(place.engine) as session:
        session.execute(update(Job).values(state="done"))
        session.commit()
    assert upkeep.sweep(place.engine, vault=place.vault).orphans == (during,)


def test_two_sweeps_do_not_run_at_once(place: Place) -> None:
    orphan = leave_orphan(place, age=2 * DAY)
    with alone(place.engine, "sweep"), pytest.raises(Conflict, match="Another sweep"):
        upkeep.sweep(place.engine, vault=place.vault)
    assert orphan in place.files()
    with alone(place.engine, "other"):
        assert upkeep.sweep(place.engine, vault=place.vault).orphans == (orphan,)


HOLD = """
import sys, time
from annotator.core.db import open_engine
from annotator.core.locks import alone
with alone(open_engine(sys.argv[1]), "sweep"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_ends_with_its_process(place: Place) -> None:
    url = place.engine.url.render_as_string(hide_password=False)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, url],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])},
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(Conflict):
        upkeep.sweep(place.engine, vault=place.vault)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    for _ in range(50):  # PostgreSQL notices a moment later
        try:
            upkeep.sweep(place.engine, vault=place.vault)
        except Conflict:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the lock outlived its process")


def test_a_wrong_database_deletes_nothing(place: Place) -> None:
    before = place.files()
    with Session(place.engine) as session:
        session.execute(update(Installation).values(install="another"))
        session.commit()
    with pytest.raises(Conflict, match="another installation"):
        upkeep.sweep(place.engine, vault=place.vault, grace=NONE)
    assert place.files() == before


def test_an_old_database_deletes_nothing_unless_forced(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "SUSPICIOUS", 3)
    before = place.files()
    for holding in holdings.BLOBS:
        if holding.column.nullable:  # faces must have their crops
            with Session(place.engine) as session:
                session.execute(update(holding.column.class_).values({holding.column: None}))
                session.commit()
    with pytest.raises(Conflict, match="Nothing was deleted"):
        upkeep.sweep(place.engine, vault=place.vault, grace=NONE)
    assert place.files() == before
    forced = upkeep.sweep(place.engine, vault=place.vault, grace=NONE, force=True)
    assert len(forced.orphans) == len(before) - 2


def test_the_job_tells_the_log_what_it_removed(place: Place) -> None:
    leave_orphan(place, age=2 * DAY)
    work = FakeWork(place.engine, FakeTools(vault=place.vault))
    answer = upkeep.sweep_storage(work, grace_hours=24)  # type: ignore[arg-type]
    assert (answer["orphans"], answer["unfinished"]) == (1, 0)
    again = upkeep.sweep_storage(work, grace_hours=24)  # type: ignore[arg-type]
    assert again["orphans"] == 0
    with Session(place.engine) as session:
        entries = session.scalars(
            select(AuditEntry).where(AuditEntry.action == "storage.swept")
        ).all()
        assert [entry.details for entry in entries] == [{"orphans": 1, "unfinished": 0}]


def start(engine: Engine, at: dt.datetime) -> int | None:
    with Session(engine) as session:
        job = upkeep.start_daily_sweep(session, at=at)
        session.commit()
        return job.id if job else None


def test_it_is_due_once_a_day(place: Place) -> None:
    moment = now()
    assert start(place.engine, moment + dt.timedelta(hours=23)) is None
    first = start(place.engine, moment + dt.timedelta(hours=25))
    assert first is not None
    assert start(place.engine, moment + dt.timedelta(hours=23)) is None
    assert start(place.engine, moment + dt.timedelta(hours=49)) is not None
    with Session(place.engine) as session:
        job = session.get_one(Job, first)
        assert (job.kind, job.arguments) == (KIND, {"grace_hours": 24})
