"""A new key for one person: nothing unreadable on the way, nothing of the old key left after it.

With a real vault, on SQLite and on PostgreSQL.
"""

import datetime as dt
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from annotator.core.db import Base, now, open_engine
from annotator.core.errors import (
    AnnotatorError,
    Conflict,
    KeyDestroyed,
    NotFound,
    StorageFull,
    Tampered,
)
from annotator.domain import consent, erasure, holdings, intake, keys, viewing
from annotator.domain.redaction import process_images
from annotator.models import (
    AuditEntry,
    Face,
    Image,
    Installation,
    Job,
    Prediction,
    RetiredBlob,
    Subject,
)
from annotator.vault import WrappedKey, create_vault, open_vault
from annotator.vault.files import Disk
from tests.factories import (
    grey_png,
    make_dataset,
    make_face,
    make_known_subject,
    make_model,
    make_subject,
    make_user,
)
from tests.fakes import FakeTools, FakeWork, WritingWork, bury


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        opened = open_engine(f"sqlite:///{tmp_path / 'test.sqlite'}")
        event.listen(opened, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
    else:
        opened = open_engine(request.getfixturevalue("postgres"))
    Base.metadata.create_all(opened)
    with Session(opened) as session:
        session.add(Installation(install="x", context="research"))
        session.commit()
    yield opened
    opened.dispose()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotator.domain.keys.rekeying.GRACE_SECONDS", 0.0)
    monkeypatch.setattr("annotator.domain.keys.rekeying.CHUNK", 2)
    # Power is not cut here, and waiting for the disk is most of the time.
    for name in ("fsync", "fsync_folder"):
        monkeypatch.setattr(Disk, name, lambda *_: None)


class NoImaging:
    """Takes everything for a picture."""

    def sniff(self, head: bytes) -> str:
        return "image/png"


@pytest.fixture
def work(engine: Engine, tmp_path: Path) -> FakeWork:
    vault, _ = create_vault(tmp_path / "vault", key_file=tmp_path / "unlock.key")
    return FakeWork(engine, FakeTools(vault=vault, imaging=NoImaging()))


class Person:
    """Somebody with three faces, a waiting picture, one just received, and sealed texts."""

    def __init__(self, work: FakeWork, faces: int = 3) -> None:
        self.work, self.vault = work, work.tools.vault
        with work.transaction() as session:
            dataset = make_dataset(session)
            subject = make_known_subject(session, self.vault, dataset)
            model = make_model(session)
            key = consent.key_of(self.vault, subject)
            for number in range(faces):
                face = make_face(session, self.vault, subject, "neutral")
                session.add(self._said(face, model.id, subject, key, number))
            waiting = self.vault.seal_blob(
                subject=subject.uid, key=key, kind="sanitised", data=b"waiting"
            )
            session.add(
                Image(
                    uid="w" * 32,
                    dataset_id=dataset.id,
                    subject_id=subject.id,
                    state="review",
                    fingerprint=b"w" * 32,
                    original_blob=waiting,
                )
            )
            other = make_subject(session, self.vault, dataset, name="Bert")
            self.other_face = make_face(session, self.vault, other, "fear").id
            self.id, self.dataset_id, self.uid = subject.id, dataset.id, subject.uid
        self.upload(b"received")

    def _said(
        self, face: Face, model_id: int, subject: Subject, key: Any, number: int
    ) -> Prediction:
        sealed = self.vault.seal_field(
            subject=subject.uid,
            key=key,
            table="predictions",
            column="embedding",
            row=f"{model_id}/{face.id}",
            text="AAAA" * (number + 1),
        )
        return Prediction(
            face_id=face.id,
            model_id=model_id,
            label="fear",
            probability=0.9,
            probabilities=[0.0] * 8,
            sealed_embedding=sealed,
        )

    def upload(self, data: bytes) -> int:
        with self.work.transaction() as session:
            subject = session.get_one(Subject, self.id)
            image, _ = intake.receive_image(
                session,
                vault=self.vault,
                imaging=self.work.tools.imaging,
                dataset=session.get_one(make_dataset_class(), self.dataset_id),
                subject=subject,
                data=data,
                name=f"{len(data)}.png",
            )
            return image.id

    def start(self) -> int:
        with self.work.transaction() as session:
            subject = session.get_one(Subject, self.id)
            return keys.start_rekeying(session, vault=self.vault, subject=subject).id

    def run(self) -> dict[str, Any]:
        return keys.rekey_subject(self.work, subject_id=self.id)

    def key(self) -> WrappedKey:
        with Session(self.work.engine) as session:
            return consent.key_of(self.vault, session.get_one(Subject, self.id))  # type: ignore[return-value]

    def blobs(self) -> dict[str, str]:
        """Every blob that a row names, and its kind."""
        with Session(self.work.engine) as session:
            held = list_held(session, self.vault, self.id, OWN_BLOBS)
            return {each.value: each.kind for each in held}

    def texts(self) -> list[holdings.Item]:
        """Every sealed text of theirs."""
        with Session(self.work.engine) as session:
            return list_held(session, self.vault, self.id, holdings.FIELDS)

    def read_all(self) -> list[Any]:
        """Everything of theirs in the clear; raises when anything does not open."""
        key, found = self.key(), []
        for blob, kind in self.blobs().items():
            found.append(self.vault.open_blob(subject=self.uid, key=key, blob=blob, kind=kind))
        found += [open_text(self.vault, each, key) for each in self.texts()]
        return sorted(found, key=repr)

    def stored(self) -> set[str]:
        return {name for name, _ in self.vault.list_blobs()}


def make_dataset_class() -> Any:
    from annotator.models import Dataset

    return Dataset


OWN_BLOBS = tuple(holding for holding in holdings.BLOBS if not holding.archive)


def list_held(session: Session, vault: Any, subject_id: int, places: Any) -> list[holdings.Item]:
    return [
        each
        for place in places
        for each in holdings.list_items(session, holding=place, vault=vault, subject_id=subject_id)
    ]


def open_text(vault: Any, each: holdings.Item, key: Any) -> str:
    return str(
        vault.open_field(
            subject=each.subject,
            key=key,
            table=each.holding.table,
            column=each.kind,
            row=each.row,
            sealed=each.value,
        )
    )


@pytest.fixture
def person(work: FakeWork) -> Person:
    return Person(work)


def opens_any(vault: Any, uid: str, key: Any, blobs: dict[str, str]) -> list[str]:
    """The blobs that a key opens, of whatever kind they say they are."""
    found = []
    for blob, kind in blobs.items():
        try:
            vault.open_blob(subject=uid, key=key, blob=blob, kind=kind)
        except (Tampered, KeyDestroyed, NotFound):
            continue
        found.append(blob)
    return found


def test_everything_is_sealed_again_and_the_old_key_opens_nothing(person: Person) -> None:
    before, old_key, old_blobs = person.read_all(), person.key(), person.blobs()
    others = person.stored() - set(old_blobs)
    person.start()
    assert person.read_all() == before  # with both keys in the row
    result = person.run()
    assert (result["blobs"], result["version"]) == (len(old_blobs), 2)
    assert person.read_all() == before
    blobs, key = person.blobs(), person.key()
    assert not set(blobs) & set(old_blobs)
    assert (key.version, key.previous) == (2, None)
    assert person.stored() == others | set(blobs)  # nobody else's was touched, no orphan is left
    # The old wrapped key still unwraps until the epoch goes, but nothing opens with it.
    assert opens_any(person.vault, person.uid, old_key, blobs) == []
    with Session(person.work.engine) as session:
        assert session.scalars(select(RetiredBlob)).all() == []
        (renewal,) = session.scalars(select(Job).where(Job.kind == "renew_epoch"))
        arguments, number = renewal.arguments, renewal.id
        actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert result["renewal"] == number
    assert actions[-2:] == ["subject.rekeying_started", "subject.rekeyed"]
    held = {each.holding for each in person.texts()}
    assert held == set(holdings.FIELDS)  # one of everything, or this would show less than it says
    for each in person.texts():
        with pytest.raises(Tampered):
            open_text(person.vault, each, old_key)
    erasure.renew_epoch(person.work, **arguments)
    with pytest.raises(KeyDestroyed):
        person.vault.rewrap(person.uid, old_key)
    assert person.read_all() == before


def test_nothing_to_do_is_fine_and_a_third_key_follows(person: Person) -> None:
    before = person.read_all()
    assert person.run() == {"blobs": 0, "version": 1, "renewal": None}
    for version in (2, 3):
        person.start()
        assert person.run()["version"] == version
    assert person.read_all() == before


def test_starting_twice_goes_on_with_the_same_key(person: Person) -> None:
    person.start()
    key = person.key()
    person.start()
    assert person.key() == key
    assert person.run()["version"] == 2
    assert person.run()["blobs"] == 0


def test_a_person_who_withdrew_has_no_key_to_replace(person: Person) -> None:
    withdraw(person)
    with pytest.raises(KeyDestroyed):
        person.start()


def withdraw(person: Person) -> None:
    with person.work.transaction() as session:
        subject = session.get_one(Subject, person.id)
        erasure.withdraw_subject(session, subject=subject, by=None)


def test_the_next_key_is_in_everything_and_a_withdrawal_takes_everything(person: Person) -> None:
    with Session(person.work.engine) as session:
        for place in (*OWN_BLOBS, *holdings.FIELDS, holdings.KEY):
            assert list_held(session, person.vault, person.id, [place]), place.name
    person.start()
    person.run()
    person.start()  # and with a second key on its way
    withdraw(person)
    with Session(person.work.engine) as session:
        for place in (*OWN_BLOBS, *holdings.FIELDS, *holdings.KEYS):
            assert not list_held(session, person.vault, person.id, [place]), place.name
    finish_erasing(person)
    assert person.stored() == others_of(person)


def finish_erasing(person: Person) -> None:
    with Session(person.work.engine) as session:
        (job,) = session.scalars(select(Job).where(Job.kind == "erase"))
    erasure.finish_withdrawal(person.work, **job.arguments)


class Killed(BaseException):
    """Stands for ``kill -9``: no handler of ours runs after it."""


def kill_at(person: Person, number: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Runs the job and kills it at its n-th step with the vault or with the database."""
    left = [number]

    def step() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Killed

    with monkeypatch.context() as patch:
        for name in ("reseal_blob", "opens_blob", "delete_blob"):
            patch.setattr(person.vault, name, stepping(getattr(person.vault, name), step))
        patch.setattr(FakeWork, "transaction", stepping_transaction(step))
        try:
            person.run()
        except Killed:
            return True
    return False


def stepping(call: Callable[..., Any], step: Callable[[], None]) -> Callable[..., Any]:
    def stepped(*args: Any, **named: Any) -> Any:
        step()
        result = call(*args, **named)
        step()
        return result

    return stepped


def stepping_transaction(step: Callable[[], None]) -> Any:
    @contextmanager
    def transaction(work: FakeWork) -> Iterator[Session]:
        step()
        with Session(work.engine, expire_on_commit=False) as session:
            yield session
            step()
            session.commit()
            step()
            bury(session, work.tools.vault)

    return transaction


def test_killed_at_every_step_everything_opens_and_a_new_run_finishes(
    work: FakeWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most the blob that was being sealed or deleted is left for the sweeper, as everywhere."""
    person = Person(work, faces=1)
    before = person.read_all()
    key = person.key()
    steps, stride = 0, 1 if person.work.engine.dialect.name == "sqlite" else 7
    killed = True
    while killed:
        steps += stride
        person.start()
        killed = kill_at(person, steps, monkeypatch)
        assert person.read_all() == before, steps
        person.run()
        assert person.read_all() == before, steps
        assert opens_any(person.vault, person.uid, key, person.blobs()) == [], steps
        key = person.key()
        orphans = person.stored() - set(person.blobs()) - others_of(person)
        assert len(orphans) <= len(person.blobs()), steps
        for blob in orphans:
            person.vault.delete_blob(blob)
    assert steps > 25


def others_of(person: Person) -> set[str]:
    with Session(person.work.engine) as session:
        subject_id = session.get_one(Face, person.other_face).subject_id
        return set(holdings.list_blobs(session, subject_id=subject_id))


@pytest.mark.parametrize("when", range(1, 25, 3))
def test_a_withdrawal_in_between_wins_and_takes_both_keys(
    person: Person, when: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    person.start()
    old = [person.key(), person.key().previous]
    files = {**person.blobs()}
    left = [when]

    def step() -> None:
        left[0] -= 1
        if left[0] == 0:
            files.update(person.blobs())
            withdraw(person)

    with monkeypatch.context() as patch:
        for name in ("reseal_blob", "opens_blob"):
            patch.setattr(person.vault, name, stepping(getattr(person.vault, name), step))
        if person.work.engine.dialect.name == "sqlite":
            # One writer: what is inside of a transaction cannot be interrupted by another one.
            patch.setattr("annotator.domain.keys.rekeying._is_done", lambda *_: False)
        result = person.run()
    if left[0] > 0:
        withdraw(person)
    else:
        assert result["version"] is None
    with Session(person.work.engine) as session:
        subject = session.get_one(Subject, person.id)
        assert (subject.wrapped_key, subject.next_wrapped_key) == (None, None)
        assert (subject.key_epoch, subject.next_key_epoch) == (None, None)
        assert session.scalars(select(RetiredBlob)).all() == []
    finish_erasing(person)
    assert person.stored() == others_of(person)
    for key in old:
        with pytest.raises(KeyDestroyed):
            person.vault.rewrap(person.uid, key)


def test_an_upload_in_between_is_found(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """One before the new key is in force, sealed with either key; one just after it."""
    before = person.read_all()
    stale = person.key()
    person.start()
    blob = person.vault.seal_blob(subject=person.uid, key=stale, kind="sanitised", data=b"late")
    reseal = person.vault.reseal_blob
    monkeypatch.setattr(
        person.vault, "reseal_blob", once(reseal, lambda: add_image(person, blob, b"l"))
    )
    person.run()
    person.upload(b"afterwards")
    assert [data for data in person.read_all() if data not in before] == unordered(
        [b"late", b"afterwards", "10.png"]
    )
    assert opens_any(person.vault, person.uid, stale, person.blobs()) == []


def unordered(items: list[Any]) -> list[Any]:
    return sorted(items, key=repr)


def once(call: Callable[..., Any], first: Callable[[], None]) -> Callable[..., Any]:
    waiting = [first]

    def called(*args: Any, **named: Any) -> Any:
        while waiting:
            waiting.pop()()
        return call(*args, **named)

    return called


def add_image(person: Person, blob: str, fingerprint: bytes) -> None:
    with person.work.transaction() as session:
        session.add(
            Image(
                uid=fingerprint.hex().ljust(32, "0"),
                dataset_id=person.dataset_id,
                subject_id=person.id,
                state="review",
                fingerprint=fingerprint * 32,
                original_blob=blob,
            )
        )


def test_a_reader_of_before_still_reads_while_it_runs(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who read the rows, and then waited for as long as the grace time."""
    monkeypatch.setattr("annotator.domain.keys.rekeying.GRACE_SECONDS", 60.0)
    key, blobs = person.key(), person.blobs()
    person.start()
    both, seen = person.key(), person.blobs()

    def look(*_: Any) -> int:
        assert opens_any(person.vault, person.uid, key, blobs) == list(blobs)
        assert opens_any(person.vault, person.uid, both, seen) == list(seen)
        assert person.key().version == 2
        assert opens_any(person.vault, person.uid, person.key(), person.blobs()) == list(
            person.blobs()
        )
        raise InterruptedError

    monkeypatch.setattr("annotator.domain.keys.rekeying.time.sleep", look)
    with pytest.raises(InterruptedError):
        person.run()


def test_a_person_who_labels_sees_the_face_all_the_time(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    with person.work.transaction() as session:
        reviewer = make_user(session, "admin")
        faces = list(session.scalars(select(Face.id).where(Face.subject_id == person.id)))

    def look() -> None:
        with Session(person.work.engine) as session:
            for face in faces:
                data = viewing.open_crop(session, vault=person.vault, face_id=face, user=reviewer)
                assert data.startswith(b"\x89PNG")

    person.start()
    with monkeypatch.context() as patch:
        for name in ("reseal_blob", "delete_blob"):
            patch.setattr(person.vault, name, stepping(getattr(person.vault, name), look))
        person.run()
    look()


def test_a_damaged_blob_keeps_both_keys_and_names_the_trouble(
    person: Person, tmp_path: Path
) -> None:
    before = person.read_all()
    (blob, *_rest) = person.blobs()
    (path,) = (tmp_path / "vault").rglob(blob)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    person.start()
    with pytest.raises(Tampered, match="1 pictures and 0 texts"):
        person.run()
    assert person.key().version == 2
    assert person.key().previous is not None
    path.write_bytes(whole)
    assert person.run()["version"] == 2
    assert person.read_all() == before


def test_a_missing_blob_is_trouble_as_well(person: Person) -> None:
    person.vault.delete_blob(next(iter(person.blobs())))
    person.start()
    with pytest.raises(Tampered, match="1 pictures"):
        person.run()


def test_a_damaged_text_keeps_both_keys(person: Person) -> None:
    with person.work.transaction() as session:
        session.get_one(Subject, person.id).sealed_contact = b"\x01" + bytes(30)
    person.start()
    with pytest.raises(Tampered, match="0 pictures and 1 texts"):
        person.run()
    assert person.key().previous is not None


def test_a_full_disk_stops_it_and_loses_nothing(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, reseal, calls = person.read_all(), person.vault.reseal_blob, [0]

    def full(**named: Any) -> str:
        calls[0] += 1
        if calls[0] == 4:
            raise StorageFull
        return str(reseal(**named))

    person.start()
    monkeypatch.setattr(person.vault, "reseal_blob", full)
    with pytest.raises(StorageFull):
        person.run()
    assert person.read_all() == before
    assert person.run()["version"] == 2
    assert person.read_all() == before
    assert person.stored() == set(person.blobs()) | others_of(person)


def test_a_new_epoch_in_between_wraps_both_keys(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = person.read_all()
    person.start()
    reseal = person.vault.reseal_blob
    monkeypatch.setattr(
        person.vault,
        "reseal_blob",
        once(reseal, lambda: erasure.renew_epoch(person.work, epoch=1)),
    )
    assert person.run()["version"] == 2
    assert person.vault.epochs == (2,)
    assert person.read_all() == before


def test_two_workers_at_once_finish_one_rotation(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = person.read_all()
    person.start()
    reseal = person.vault.reseal_blob
    monkeypatch.setattr(person.vault, "reseal_blob", once(reseal, lambda: person.run() and None))
    assert person.run()["version"] == 2
    assert person.read_all() == before
    assert person.stored() == set(person.blobs()) | others_of(person)


def test_things_that_keep_turning_up_end_the_job_not_the_promise(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotator.domain.keys.rekeying._put_in_force", lambda *_: False)
    monkeypatch.setattr("annotator.domain.keys.rekeying.ROUNDS", 3)
    person.start()
    with pytest.raises(Conflict, match="later"):
        person.run()
    assert person.read_all()


class BusyWork(WritingWork):
    """Leaves others a gap between two transactions, as the doors do."""

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        with super().transaction() as session:
            yield session
        time.sleep(0.002)


@contextmanager
def beside(*steps: Callable[[], None]) -> Iterator[None]:
    """Repeats each step in a thread of its own; nothing may raise."""
    ended, troubles = threading.Event(), list[BaseException]()

    def run(step: Callable[[], None]) -> None:
        try:
            while not ended.is_set():
                step()
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            troubles.append(error)

    threads = [threading.Thread(target=run, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert troubles == []


def test_uploads_readers_and_rotations_at_once(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real threads: nothing that was acknowledged is lost, and nobody who looks is turned away."""
    monkeypatch.setattr("annotator.domain.keys.rekeying.GRACE_SECONDS", 0.3)
    person.work = BusyWork(person.work.engine, person.work.tools)
    with person.work.transaction() as session:
        reviewer = make_user(session, "admin")
        faces = list(session.scalars(select(Face.id).where(Face.subject_id == person.id)))
    uploaded, looks = [], [0]

    def upload() -> None:
        data = os.urandom(40)
        person.upload(data)
        uploaded.append(data)

    def look() -> None:
        with Session(person.work.engine) as session:
            for face in faces:
                viewing.open_crop(session, vault=person.vault, face_id=face, user=reviewer)
                looks[0] += 1

    with beside(upload, look):
        for version in (2, 3, 4):
            person.start()
            assert person.run()["version"] == version
    assert len(uploaded) > 3
    assert looks[0] > 10
    key, found = person.key(), person.read_all()
    assert [data for data in uploaded if data not in found] == []
    assert opens_any(person.vault, person.uid, key, person.blobs()) == list(person.blobs())
    assert person.stored() == set(person.blobs()) | others_of(person)


def test_an_upload_that_has_its_key_already_keeps_the_rotation_waiting(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between taking the key and committing the row the key must not be replaced."""
    if person.work.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time anyway")
    refused = []

    def rotate_first() -> None:
        with Session(person.work.engine) as session:
            session.execute(text("SET LOCAL lock_timeout = '300ms'"))
            try:
                keys.start_rekeying(
                    session, vault=person.vault, subject=session.get_one(Subject, person.id)
                )
            except OperationalError as error:
                refused.append(str(error.orig))

    monkeypatch.setattr(person.vault, "seal_blob", once(person.vault.seal_blob, rotate_first))
    person.upload(b"in between")
    assert ["lock timeout" in sentence for sentence in refused] == [True]
    person.start()
    person.run()
    assert b"in between" in person.read_all()


def test_words_are_sealed_with_the_key_of_now_though_the_person_was_loaded_before(
    person: Person,
) -> None:
    with Session(person.work.engine, expire_on_commit=False) as session:
        subject = session.get_one(Subject, person.id)
        notice = subject.events[0].notice
        assert notice is not None
        session.commit()
        stale = consent.key_of(person.vault, subject)
        for _ in range(2):
            person.start()
            person.run()
        consent.set_guardian(
            session, vault=person.vault, subject=subject, majority_at=None, name="Later Canary"
        )
        consent.record_consent(
            session,
            vault=person.vault,
            subject=subject,
            purposes=["store"],
            notice=notice,
            expression="paper",
            expires_at=now() + dt.timedelta(days=9),
            statement=consent.Statement(name="L. Canary", scan=b"%PDF-1.7 later"),
        )
        session.commit()
    found = person.read_all()
    assert [each for each in ("Later Canary", "L. Canary", b"%PDF-1.7 later") if each in found] == [
        "Later Canary",
        "L. Canary",
        b"%PDF-1.7 later",
    ]
    assert opens_any(person.vault, person.uid, stale, person.blobs()) == []


# What was sealed outside of a transaction


class Imaging(NoImaging):
    """Everything is one face; calls something while it looks."""

    def __init__(self) -> None:
        self.meanwhile: list[Callable[[], object]] = []

    def decode(self, data: bytes) -> bytes:
        while self.meanwhile:
            self.meanwhile.pop()()
        return data

    def size(self, pixels: Any) -> tuple[int, int]:
        return 8, 8

    def encode(self, pixels: Any) -> bytes:
        return grey_png(7)

    def measure(self, crop: Any) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize("change", ["rekey", "renew", "both"])
def test_a_picture_that_is_looked_at_meanwhile_is_looked_at_again(
    person: Person, change: str
) -> None:
    """Its old key is gone by the time that its parts are sealed: no picture may be lost by that."""
    imaging = person.work.tools.imaging = Imaging()
    with person.work.transaction() as session:
        image_id = session.scalar(select(Image.id).where(Image.state == "received"))
        session.get_one(Image, image_id).cropped = True

    def rekey() -> None:
        person.start()
        person.run()

    imaging.meanwhile += [rekey] if change in {"rekey", "both"} else []
    imaging.meanwhile += (
        [lambda: erasure.renew_epoch(person.work, epoch=1)] if change in {"renew", "both"} else []
    )
    assert process_images(person.work, images=[image_id]) == {"ready": 1}
    with Session(person.work.engine) as session:
        face = session.scalars(select(Face).where(Face.image_id == image_id)).one()
        assert face.crop_blob in person.blobs()
    person.read_all()
    if change != "renew":
        assert opens_any(person.vault, person.uid, person.key(), person.blobs()) == list(
            person.blobs()
        )


def test_a_picture_of_somebody_who_withdraws_meanwhile_leaves_nothing(person: Person) -> None:
    imaging = person.work.tools.imaging = Imaging()
    with person.work.transaction() as session:
        image_id = session.scalar(select(Image.id).where(Image.state == "received"))
        session.get_one(Image, image_id).cropped = True
    imaging.meanwhile.append(lambda: withdraw(person))
    assert process_images(person.work, images=[image_id]) == {}
    finish_erasing(person)
    assert person.stored() == others_of(person)


# Copies


def test_old_copies_of_ring_and_database_open_nothing_that_is_left(
    person: Person, tmp_path: Path
) -> None:
    """Every pair of an old or new ring and an old or new row against every file there ever was."""
    if person.work.engine.dialect.name != "sqlite":
        pytest.skip("the copies are of files; the rows are the same")
    vault_folder = tmp_path / "vault"
    shutil.copytree(vault_folder, tmp_path / "old")
    old_key, old_blobs = person.key(), person.blobs()
    person.start()
    result = person.run()
    with Session(person.work.engine) as session:
        arguments = session.get_one(Job, result["renewal"]).arguments
    erasure.renew_epoch(person.work, **arguments)
    new_key, new_blobs = person.key(), person.blobs()

    def reach(ring: str, key: Any) -> list[str]:
        """What a thief reads with this ring and row, out of the files that are left."""
        thief = tmp_path / f"thief-{ring}-{key.version}"
        shutil.copytree(tmp_path / ring / "keys", thief / "keys")
        shutil.copytree(vault_folder / "blobs", thief / "blobs")
        vault = open_vault(thief, key_file=tmp_path / "unlock.key")
        try:
            return opens_any(vault, person.uid, key, {**old_blobs, **new_blobs})
        except AnnotatorError:
            return []

    assert reach("old", old_key) == []  # the old state opens, but its files are deleted
    assert reach("vault", old_key) == []  # its epoch is destroyed
    assert reach("old", new_key) == []  # its epoch is unknown to the old ring
    assert reach("vault", new_key) == list(new_blobs)
    # By design: ring, database and files of one old moment, all three, are that moment's state.
    thief = open_vault(tmp_path / "old", key_file=tmp_path / "unlock.key")
    assert opens_any(thief, person.uid, old_key, old_blobs) == list(old_blobs)
