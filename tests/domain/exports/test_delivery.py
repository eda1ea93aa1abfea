import errno
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput, StorageFull, Tampered
from annotator.domain import consent, exports
from annotator.domain.exports import delivery
from annotator.domain.verification import verify_export
from annotator.models import AuditEntry, Export, Subject
from tests.fakes import FakeVault, read_all


def test_the_folder_is_whole_and_right(
    session: Session, vault: FakeVault, ready: Export, tmp_path: Path
) -> None:
    out = exports.write_export(session, vault=vault, export=ready, out=tmp_path / "deep" / "out")
    report = verify_export(out, public_key=vault.public_key("export"))
    assert report.ok, report.message
    assert report.manifest["id"] == ready.uid
    assert [path.name for path in out.parent.iterdir()] == ["out"]


KILLED = """
import os, signal, sys
from pathlib import Path
from annotator.domain.exports.delivery import _unfinished

with _unfinished(Path(sys.argv[1])) as folder:
    (folder / "export").mkdir()
    (folder / "export" / "face.png").write_text("a face")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_left_is_removed_by_the_next_one(
    session: Session, vault: FakeVault, ready: Export, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    killed = subprocess.run([sys.executable, "-c", KILLED, place / "out"], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = place.iterdir()
    assert left.stat().st_mode & 0o777 == 0o700
    assert (left / "export" / "face.png").exists()

    exports.write_export(session, vault=vault, export=ready, out=place / "out")
    assert [path.name for path in place.iterdir()] == ["out"]
    assert not (place / "out" / "face.png").exists()


def test_two_runs_to_one_place_do_not_meet(
    session: Session, vault: FakeVault, ready: Export, tmp_path: Path
) -> None:
    out = tmp_path / "place" / "out"
    out.parent.mkdir()
    with delivery._unfinished(out), pytest.raises(Conflict, match="Somebody else"):
        exports.write_export(session, vault=vault, export=ready, out=out)
    assert not list(out.parent.iterdir())


def test_keras_and_imagefolder_find_their_layout(
    session: Session, vault: FakeVault, ready: Export, tmp_path: Path
) -> None:
    out = exports.write_export(session, vault=vault, export=ready, out=tmp_path / "out")
    splits = {path.name: path for path in (out / "images").iterdir()}
    assert set(splits) == {"train", "valid", "test"}
    found = 0
    for split in splits.values():
        classes = list(split.iterdir())
        assert {path.name for path in classes} <= {"neutral", "fear"}
        for folder in classes:
            for picture in folder.iterdir():
                assert picture.suffix == ".png"
                assert picture.read_bytes().startswith(b"\x89PNG")
                found += 1
    assert found == 12


def test_an_empty_folder_is_taken_and_a_full_one_refused(
    session: Session, vault: FakeVault, ready: Export, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    exports.write_export(session, vault=vault, export=ready, out=tmp_path / "empty")
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="not an empty folder"):
        exports.write_export(session, vault=vault, export=ready, out=full)
    assert [path.name for path in full.iterdir()] == ["mine.txt"]
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(InvalidInput, match="exists already"):
        exports.write_export(session, vault=vault, export=ready, out=file)


def test_a_full_disk_leaves_nothing_half_written(
    session: Session,
    vault: FakeVault,
    ready: Export,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    copy, calls = shutil.copyfileobj, []

    def fill_up(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return copy(*arguments)

    monkeypatch.setattr(shutil, "copyfileobj", fill_up)
    place = tmp_path / "place"
    with pytest.raises(StorageFull, match="Nothing was written"):
        exports.write_export(session, vault=vault, export=ready, out=place / "out")
    assert list(place.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_sentence(
    session: Session, vault: FakeVault, ready: Export, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="could not be written"):
        exports.write_export(session, vault=vault, export=ready, out=tmp_path / "file" / "out")


def test_what_was_changed_in_the_vault_is_not_written(
    session: Session, vault: FakeVault, ready: Export, tmp_path: Path
) -> None:
    context, data = vault.blobs[ready.sealed_blob]
    broken = bytearray(data)
    at = broken.index(b"IDAT") + 6
    broken[at] ^= 1
    vault.blobs[ready.sealed_blob] = (context, bytes(broken))
    with pytest.raises(Tampered, match="damaged"):
        exports.write_export(session, vault=vault, export=ready, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("purpose", ["train", "export_pseudonymised", "store"])
def test_the_gate_is_asked_at_every_download(
    session: Session, vault: FakeVault, ready: Export, purpose: str
) -> None:
    assert read_all(exports.open_archive(session, vault=vault, export=ready, by=None)).read(2)
    gone = session.scalars(select(Subject)).first()
    consent.withdraw_purposes(session, subject=gone, purposes=[purpose])
    with pytest.raises(Conflict, match="one person"):
        exports.open_archive(session, vault=vault, export=ready, by=None)
    assert exports.list_withdrawn(session, export=ready) == [gone]
    assert len(exports.list_files(session, export=ready, subject=gone)) == 1


def test_what_is_closed_or_not_built_stays_inside(
    session: Session, vault: FakeVault, ready: Export
) -> None:
    ready.withdrawn_at = now()
    with pytest.raises(Conflict, match="withdrew"):
        exports.check_deliverable(session, export=ready)
    ready.withdrawn_at, ready.sealed_blob = None, None
    with pytest.raises(Conflict, match="not built"):
        exports.check_deliverable(session, export=ready)


def test_a_delivery_is_in_the_log(session: Session, vault: FakeVault, ready: Export) -> None:
    exports.open_archive(session, vault=vault, export=ready, by=7)
    session.flush()
    last = session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc())).first()
    assert (last.action, last.actor, last.details) == (
        "export.delivered",
        "user-7",
        {"export": ready.id},
    )
