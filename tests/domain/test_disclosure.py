"""The copy of everything: written while it is read, one picture at a time, for its owner alone."""

import errno
import io
import json
import stat
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from annotator.core.errors import InvalidInput, KeyDestroyed, NotFound, StorageFull
from annotator.domain import disclosure, erasure
from annotator.models import Subject
from tests.factories import make_dataset, make_face, make_model, make_prediction, make_subject
from tests.fakes import FakeVault

MEGABYTE = 10**6


@pytest.fixture
def subject(session: Session, vault: FakeVault) -> Subject:
    return make_subject(session, vault, make_dataset(session), code="P-1", name="Ada Stone")


def copy(session: Session, vault: FakeVault, subject: Subject) -> Iterator[bytes]:
    return disclosure.write_copy(
        session, vault=vault, subject_id=subject.id, receipt={"kind": "consent"}
    )


def test_one_picture_at_a_time_is_in_memory(
    session: Session, vault: FakeVault, subject: Subject
) -> None:
    for _ in range(40):
        image = make_face(session, vault, subject).image
        context, _ = vault.blobs[image.redacted_blob]
        vault.blobs[image.redacted_blob] = (context, bytes(MEGABYTE))
    session.flush()
    tracemalloc.start()
    size = sum(len(piece) for piece in copy(session, vault, subject))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 40 * MEGABYTE
    assert peak < 8 * MEGABYTE


def test_models_and_what_they_said_are_in_it(
    session: Session, vault: FakeVault, subject: Subject
) -> None:
    face = make_face(session, vault, subject)
    make_prediction(session, vault, face, make_model(session), label="anger", probability=0.7)
    files = zipfile.ZipFile(io.BytesIO(b"".join(copy(session, vault, subject))))
    (said,) = json.loads(files.read("guesses.json"))
    assert (said["image"], said["label"], said["probability"]) == (face.image_id, "anger", 0.7)
    (state,) = json.loads(files.read("pictures.json"))
    assert state["state"] == "ready"
    assert json.loads(files.read("models.json")) == []


def test_after_an_erasure_there_is_no_copy(
    session: Session, vault: FakeVault, subject: Subject
) -> None:
    erasure.withdraw_subject(session, subject=subject, by=None)
    with pytest.raises(NotFound):
        disclosure.begin_copy(session, vault=vault, subject=subject, actor="cli")
    with pytest.raises(KeyDestroyed):
        next(copy(session, vault, subject))
    held = disclosure.describe_holdings(session, subject=subject)
    assert (held.counts["pictures"], held.since, held.given) == (0, None, {})


def test_a_copy_is_saved_for_its_owner_alone_and_never_over_another_file(tmp_path: Path) -> None:
    out = tmp_path / "copy.zip"
    assert disclosure.save_copy(iter([b"abc", b"de"]), out=out) == 5
    assert out.read_bytes() == b"abcde"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with pytest.raises(InvalidInput, match="exists already"):
        disclosure.save_copy(iter([b"x"]), out=out)
    assert out.read_bytes() == b"abcde"
    with pytest.raises(InvalidInput, match="cannot be made"):
        disclosure.save_copy(iter([b"x"]), out=tmp_path / "nowhere" / "copy.zip")


@pytest.mark.parametrize(
    ("error", "told"),
    [(OSError(errno.ENOSPC, "full"), StorageFull), (KeyDestroyed(), KeyDestroyed)],
)
def test_half_a_copy_is_no_copy(tmp_path: Path, error: Exception, told: type[Exception]) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"abc"
        raise error

    out = tmp_path / "copy.zip"
    with pytest.raises(told):
        disclosure.save_copy(pieces(), out=out)
    assert list(tmp_path.iterdir()) == []
