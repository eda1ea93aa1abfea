"""What a person decides about a picture, and what is left of it afterwards."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.errors import Conflict, ConsentMissing, InvalidInput, NotFound
from annotator.domain import consent, redaction
from annotator.imaging.redaction import GREY, KEPT
from annotator.models import Dataset, Face, Image, Job, Subject, User
from tests.factories import make_subject, make_user
from tests.fakes import FakeTools, FakeVault, FakeWork, bury

Read = Callable[[int], Image]


@pytest.fixture
def subject(session: Session, vault: FakeVault, dataset: Dataset) -> Subject:
    return make_subject(session, vault, dataset)


@pytest.fixture
def ann(session: Session) -> User:
    return make_user(session, "curator")


@pytest.fixture
def waiting(
    *,
    session: Session,
    work: FakeWork,
    dataset: Dataset,
    subject: Subject,
    ann: User,
    scene: bytes,
    receive: Callable[..., list[int]],
) -> Image:
    """A scene that waits for Ann."""
    redaction.process_images(work, images=receive(subject, [scene]))
    session.rollback()
    (image,) = redaction.list_waiting(session, dataset=dataset)
    return image


def finish(session: Session, work: FakeWork, job: Job) -> None:
    session.commit()
    redaction.redact_image(work, **job.arguments)
    session.rollback()


def open_redacted(tools: FakeTools, image: Image) -> Any:
    key = consent.key_of(tools.vault, image.subject)
    data = tools.vault.open_blob(
        subject=image.subject.uid, key=key, blob=image.redacted_blob, kind="redacted"
    )
    return tools.imaging.decode(data)


def draw_kept(box: Any, shape: tuple[int, int]) -> Any:
    """Where something of a box may be seen."""
    x, y, width, height = box
    mask = np.zeros(shape, np.uint8)
    centre = (x + width / 2, y + height / 2)
    cv2.ellipse(mask, (centre, (width * KEPT, height * KEPT), 0.0), 1, cv2.FILLED)
    return mask.astype(bool)


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_nothing_of_bystanders_is_left(
    *,
    session: Session,
    work: FakeWork,
    tools: FakeTools,
    waiting: Image,
    ann: User,
    scene: bytes,
    read: Read,
    keep: int,
) -> None:
    sanitised = waiting.original_blob
    finish(session, work, redaction.approve(session, image=waiting, keep=keep, by=ann.id))
    image = read(waiting.id)
    assert image.state == "ready"
    pixels, before = open_redacted(tools, image), tools.imaging.decode(scene)
    assert image.detections is not None
    box = image.detections[keep]["box"]
    kept = draw_kept(box, pixels.shape[:2])
    assert (pixels[~kept] == GREY).all()
    assert (pixels[kept] == before[kept]).all(axis=-1).mean() > 0.95
    for number, other in enumerate(image.detections):
        if number != keep:
            x, y, width, height = (round(value) for value in other["box"])
            assert (pixels[y : y + height, x : x + width] == GREY).all()
    assert sanitised not in tools.vault.blobs
    assert {kind for (_, kind, _), _ in tools.vault.blobs.values()} == {"redacted", "crop"}


def test_a_hand_drawn_box_is_kept_and_nothing_else(
    *, session: Session, work: FakeWork, tools: FakeTools, waiting: Image, ann: User, read: Read
) -> None:
    box = (10.0, 300.0, 80.0, 100.0)  # beside every face
    finish(session, work, redaction.approve(session, image=waiting, box=box, by=ann.id))
    image = read(waiting.id)
    assert image.face is not None
    assert tuple(image.face.box) == box
    pixels = open_redacted(tools, image)
    kept = draw_kept(box, pixels.shape[:2])
    assert (pixels[~kept] == GREY).all()
    assert (pixels[kept] != GREY).any()


@pytest.mark.parametrize("margin", [0.1, 0.35])
def test_a_box_around_a_face_does_not_cover_that_face(
    *,
    session: Session,
    work: FakeWork,
    tools: FakeTools,
    waiting: Image,
    ann: User,
    read: Read,
    margin: float,
) -> None:
    assert waiting.detections is not None
    x, y, width, height = waiting.detections[0]["box"]
    larger = 1 + 2 * margin
    box = (x - width * margin, y - height * margin, width * larger, height * larger)
    finish(session, work, redaction.approve(session, image=waiting, box=box, by=ann.id))
    pixels = open_redacted(tools, read(waiting.id))
    middle = pixels[round(y + height / 2), round(x) : round(x + width)]
    assert (middle != GREY).any(axis=-1).all()


@pytest.mark.parametrize("box", [(5.0, 5.0, 0.2, 0.2), (0.0, 0.0, 640.0, 480.0)])
def test_a_box_of_any_size_comes_to_an_end(
    *, session: Session, work: FakeWork, waiting: Image, ann: User, read: Read, box: Any
) -> None:
    finish(session, work, redaction.approve(session, image=waiting, box=box, by=ann.id))
    assert read(waiting.id).state == "ready"


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"keep": -1},
        {"keep": 99},
        {"box": (0, 0, 0, 10)},
        {"box": (-1, 0, 10, 10)},
        {"box": (0, 0, 641, 10)},
        {"box": (0, 471, 10, 10)},
        {"box": (float("nan"), 0, 10, 10)},
        {"box": (0, 0, float("inf"), 10)},
    ],
)
def test_a_choice_must_be_in_the_picture(
    session: Session, waiting: Image, ann: User, choice: Any
) -> None:
    with pytest.raises(InvalidInput):
        redaction.approve(session, image=waiting, by=ann.id, **choice)
    assert waiting.state == "review"


def test_a_decision_is_carried_out_once(
    session: Session, work: FakeWork, tools: FakeTools, waiting: Image, ann: User
) -> None:
    job = redaction.approve(session, image=waiting, keep=0, by=ann.id)
    finish(session, work, job)
    blobs = dict(tools.vault.blobs)
    finish(session, work, job)
    assert tools.vault.blobs == blobs
    assert len(session.scalars(select(Face)).all()) == 1


def test_what_is_decided_waits_no_more(
    session: Session, dataset: Dataset, waiting: Image, ann: User
) -> None:
    assert redaction.get_waiting(session, image_id=waiting.id) is waiting
    redaction.approve(session, image=waiting, keep=0, by=ann.id)
    with pytest.raises(Conflict):
        redaction.get_waiting(session, image_id=waiting.id)
    with pytest.raises(NotFound):
        redaction.get_waiting(session, image_id=4711)
    assert redaction.list_waiting(session, dataset=dataset) == []


def test_rejecting_destroys_the_picture(
    session: Session, vault: FakeVault, waiting: Image, ann: User, read: Read
) -> None:
    redaction.reject(session, image=waiting, by=ann.id)
    assert vault.blobs  # nothing is destroyed before the commit
    session.commit()
    bury(session, vault)
    image = read(waiting.id)
    assert (image.state, image.original_blob, image.detections) == ("rejected", None, None)
    assert vault.blobs == {}
    with pytest.raises(NotFound):
        redaction.open_waiting(session, vault=vault, image=image, by=1)


def test_who_decides_sees_the_picture_without_what_came_beside_its_pixels(
    session: Session, tools: FakeTools, waiting: Image, scene: bytes
) -> None:
    data = redaction.open_waiting(session, vault=tools.vault, image=waiting, by=1)
    assert (tools.imaging.decode(data) == tools.imaging.decode(scene)).all()


def test_without_consent_it_is_neither_shown_nor_kept(
    *, session: Session, work: FakeWork, vault: FakeVault, waiting: Image, ann: User, read: Read
) -> None:
    job = redaction.approve(session, image=waiting, keep=0, by=ann.id)
    consent.withdraw_purposes(session, subject=waiting.subject, purposes=["store"])
    with pytest.raises(ConsentMissing):
        redaction.open_waiting(session, vault=vault, image=waiting, by=ann.id)
    finish(session, work, job)
    image = read(waiting.id)
    assert (image.state, image.face) == ("failed", None)
    assert vault.blobs == {}


@pytest.mark.parametrize(
    ("two", "expected"),
    [((0, 0, 10, 10), 1.0), ((5, 0, 10, 10), 1 / 3), ((10, 0, 10, 10), 0.0), ((2, 2, 5, 5), 0.25)],
)
def test_overlap(two: Any, expected: float) -> None:
    assert redaction.overlap((0, 0, 10, 10), two) == pytest.approx(expected)
    assert redaction.overlap(two, (0, 0, 10, 10)) == pytest.approx(expected)
