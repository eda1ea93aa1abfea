"""The job that looks at pictures: which are ready, which wait, which cannot be used."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.errors import Cancelled, KeyDestroyed, Tampered
from annotator.domain import consent, erasure, redaction
from annotator.imaging.redaction import GREY
from annotator.models import AuditEntry, Dataset, Face, Image, Installation, Job, Subject
from tests.factories import make_dataset, make_subject
from tests.fakes import FakeTools, FakeVault, FakeWork

Receive = Callable[..., list[int]]
Read = Callable[[int], Image]


@pytest.fixture
def subject(session: Session, vault: FakeVault, dataset: Dataset) -> Subject:
    return make_subject(session, vault, dataset)


def open_kind(tools: FakeTools, image: Image, kind: str) -> Any:
    blob = {"redacted": image.redacted_blob, "crop": image.face and image.face.crop_blob}[kind]
    key = consent.key_of(tools.vault, image.subject)
    data = tools.vault.open_blob(subject=image.subject.uid, key=key, blob=blob, kind=kind)
    return tools.imaging.decode(data)


def test_a_portrait_approves_itself(
    *,
    work: FakeWork,
    tools: FakeTools,
    subject: Subject,
    portrait: bytes,
    receive: Receive,
    read: Read,
) -> None:
    (image_id,) = receive(subject, [portrait])
    original = read(image_id).original_blob
    assert redaction.process_images(work, images=[image_id]) == {"ready": 1}
    image = read(image_id)
    assert (image.state, image.width, image.height) == ("ready", 320, 400)
    assert image.original_blob is None
    assert original not in tools.vault.blobs
    assert {kind for (_, kind, _), _ in tools.vault.blobs.values()} == {"redacted", "crop"}
    pixels = open_kind(tools, image, "redacted")
    assert tuple(pixels[0, 0]) == GREY
    assert (pixels != GREY).any()
    assert open_kind(tools, image, "crop").shape == (224, 224, 3)
    assert image.face is not None
    assert image.face.quality
    assert work.reports == [(1, 1)]


def test_ready_faces_are_announced_once_for_all(
    session: Session, work: FakeWork, subject: Subject, portrait: bytes, receive: Receive
) -> None:
    images = receive(subject, [portrait, portrait + b"\0"])
    redaction.process_images(work, images=images)
    kinds = [(job.kind, job.arguments) for job in session.scalars(select(Job).order_by(Job.id))]
    arguments = {"dataset_id": subject.dataset_id}
    assert kinds == [("tasks", arguments), ("predict", arguments)]


@pytest.mark.parametrize("context", ["workplace", "education"])
def test_where_inference_is_forbidden_no_model_is_asked_to_look(  # noqa: PLR0917 - fixtures
    session: Session,
    work: FakeWork,
    subject: Subject,
    portrait: bytes,
    receive: Receive,
    context: str,
) -> None:
    session.add(Installation(install="test", context=context))
    images = receive(subject, [portrait])
    redaction.process_images(work, images=images)
    assert [job.kind for job in session.scalars(select(Job))] == ["tasks"]


def test_a_dataset_may_want_every_picture_looked_at(
    *,
    session: Session,
    work: FakeWork,
    dataset: Dataset,
    subject: Subject,
    portrait: bytes,
    receive: Receive,
) -> None:
    dataset.approve_alone = False
    images = receive(subject, [portrait])
    assert redaction.process_images(work, images=images) == {"review": 1}
    assert session.scalars(select(Job)).all() == []


def test_a_scene_waits_and_its_upload_is_destroyed_already(
    *,
    work: FakeWork,
    tools: FakeTools,
    subject: Subject,
    scene: bytes,
    receive: Receive,
    read: Read,
) -> None:
    (image_id,) = receive(subject, [scene])
    original = read(image_id).original_blob
    assert redaction.process_images(work, images=[image_id]) == {"review": 1}
    image = read(image_id)
    assert original not in tools.vault.blobs
    assert [kind for (_, kind, _), _ in tools.vault.blobs.values()] == ["sanitised"]
    assert (image.face, image.redacted_blob) == (None, None)
    assert image.detections is not None
    assert len(image.detections) >= 3


def test_one_bad_picture_stops_no_other(
    *,
    work: FakeWork,
    tools: FakeTools,
    subject: Subject,
    portrait: bytes,
    wall: bytes,
    receive: Receive,
    read: Read,
) -> None:
    images = receive(subject, [portrait[:2000], wall, portrait])
    assert redaction.process_images(work, images=images) == {"failed": 2, "ready": 1}
    damaged, empty, good = (read(image_id) for image_id in images)
    assert (damaged.state, empty.state, good.state) == ("failed", "failed", "ready")
    assert empty.error == "No face was found in this picture."
    assert damaged.error
    assert damaged.error != empty.error
    assert (damaged.original_blob, empty.original_blob) == (None, None)
    assert {kind for (_, kind, _), _ in tools.vault.blobs.values()} == {"redacted", "crop"}


def test_twice_is_once(
    *,
    session: Session,
    work: FakeWork,
    tools: FakeTools,
    subject: Subject,
    portrait: bytes,
    scene: bytes,
    wall: bytes,
    receive: Receive,
) -> None:
    images = receive(subject, [portrait, scene, wall])
    first = redaction.process_images(work, images=images)
    blobs = dict(tools.vault.blobs)
    entries = session.scalars(select(AuditEntry.id)).all()
    assert redaction.process_images(work, images=images) == first
    assert first == {"failed": 1, "ready": 1, "review": 1}
    assert tools.vault.blobs == blobs
    session.rollback()
    assert session.scalars(select(AuditEntry.id)).all() == entries
    assert len(session.scalars(select(Face)).all()) == 1


def test_a_job_that_was_stopped_goes_on_where_it_was(
    *, work: FakeWork, subject: Subject, portrait: bytes, wall: bytes, receive: Receive, read: Read
) -> None:
    images = receive(subject, [portrait, wall])
    work.cancel_at = 1
    with pytest.raises(Cancelled):
        redaction.process_images(work, images=images)
    assert [read(image_id).state for image_id in images] == ["ready", "received"]
    work.cancel_at = None
    assert redaction.process_images(work, images=images) == {"failed": 1, "ready": 1}


def test_without_consent_a_picture_stays_out_and_is_destroyed(
    *,
    session: Session,
    work: FakeWork,
    tools: FakeTools,
    subject: Subject,
    portrait: bytes,
    receive: Receive,
    read: Read,
) -> None:
    (image_id,) = receive(subject, [portrait])
    consent.withdraw_purposes(session, subject=subject, purposes=["store"])
    session.commit()
    assert redaction.process_images(work, images=[image_id]) == {"failed": 1}
    image = read(image_id)
    assert image.error == "The person does not consent to 'store' any more."
    assert (image.original_blob, image.face) == (None, None)
    assert tools.vault.blobs == {}


def test_the_picture_of_an_erased_person_is_passed_over(
    *,
    session: Session,
    work: FakeWork,
    vault: FakeVault,
    subject: Subject,
    portrait: bytes,
    receive: Receive,
) -> None:
    images = receive(subject, [portrait])
    done = erasure.withdraw_subject(session, subject=subject, by=None)
    session.commit()
    erasure.finish_withdrawal(work, **done.job.arguments)
    assert redaction.process_images(work, images=images) == {}
    assert vault.blobs == {}


def test_a_person_who_is_erased_while_the_worker_looks_leaves_nothing(
    *,
    session: Session,
    work: FakeWork,
    tools: FakeTools,
    subject: Subject,
    portrait: bytes,
    receive: Receive,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = receive(subject, [portrait])
    measure = tools.imaging.measure

    def erase(crop: Any) -> Any:
        erasure.withdraw_subject(session, subject=subject, by=None)
        session.commit()
        return measure(crop)

    key = consent.key_of(tools.vault, subject)
    monkeypatch.setattr(tools.imaging, "measure", erase)
    assert redaction.process_images(work, images=images) == {}
    session.rollback()
    assert session.scalars(select(Face)).all() == []
    session.refresh(subject)
    with pytest.raises(KeyDestroyed):
        consent.key_of(tools.vault, subject)
    assert key.wrapped  # what it sealed meanwhile is an orphan that the sweeper deletes


def test_a_picture_is_finished_though_all_keys_are_renewed_meanwhile(
    *,
    session: Session,
    work: FakeWork,
    tools: FakeTools,
    dataset: Dataset,
    subject: Subject,
    portrait: bytes,
    receive: Receive,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = receive(subject, [portrait])
    other = make_subject(session, tools.vault, dataset)
    session.commit()
    decode, left = tools.imaging.decode, [other]

    def erase_the_other(data: bytes) -> Any:
        if left:
            done = erasure.withdraw_subject(session, subject=left.pop(), by=None)
            session.commit()
            erasure.finish_withdrawal(work, **done.job.arguments)
        return decode(data)

    monkeypatch.setattr(tools.imaging, "decode", erase_the_other)
    assert redaction.process_images(work, images=images) == {"ready": 1}
    assert tools.vault.epochs == {2}


def test_a_crop_is_kept_as_it_is(
    *, work: FakeWork, tools: FakeTools, subject: Subject, wall: bytes, receive: Receive, read: Read
) -> None:
    images = receive(subject, [wall], cropped=True)
    assert redaction.process_images(work, images=images) == {"ready": 1}
    image = read(images[0])
    assert image.redacted_blob is None
    assert image.face is not None
    assert image.face.box == [0, 0, 64, 64]
    assert (open_kind(tools, image, "crop") == tools.imaging.decode(wall)).all()
    assert {kind for (_, kind, _), _ in tools.vault.blobs.values()} == {"crop"}


def test_a_swapped_blob_stops_the_job(
    *,
    session: Session,
    work: FakeWork,
    vault: FakeVault,
    dataset: Dataset,
    wall: bytes,
    portrait: bytes,
    receive: Receive,
) -> None:
    one, two = (make_subject(session, vault, dataset) for _ in range(2))
    images = [*receive(one, [wall]), *receive(two, [portrait])]
    rows = [session.get_one(Image, image_id) for image_id in images]
    rows[0].original_blob, rows[1].original_blob = rows[1].original_blob, rows[0].original_blob
    session.commit()
    with pytest.raises(Tampered):
        redaction.process_images(work, images=images)


def test_numbers_of_nothing_are_passed_over(work: FakeWork) -> None:
    assert redaction.process_images(work, images=[4711]) == {}
    assert redaction.process_images(work, images=[]) == {}
    redaction.redact_image(work, image_id=4711, by=1, keep=0)


def test_crops_of_two_datasets_do_not_mix(
    session: Session, work: FakeWork, subject: Subject, wall: bytes, receive: Receive
) -> None:
    other = make_dataset(session, name="Other")
    redaction.process_images(work, images=receive(subject, [wall], cropped=True))
    assert redaction.list_waiting(session, dataset=other) == []
    assert {job.dataset_id for job in session.scalars(select(Job))} == {subject.dataset_id}
