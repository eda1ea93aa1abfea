"""Drawn pictures of people who do not exist, and real imaging that looks at each only once."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from annotator.bootstrap.imaging import LazyImaging
from annotator.domain import intake
from annotator.domain.ports import Detection
from annotator.imaging import scenes
from annotator.models import Dataset, Image, Subject
from tests.factories import make_dataset
from tests.fakes import FakeTools, FakeWork

SIZE = (640, 480)


class Remembering(LazyImaging):
    """Detecting takes seconds on one core; the same pixels have the same faces."""

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[tuple[bytes, str], list[Detection]] = {}

    def detect(self, pixels: Any, purpose: Literal["subject", "redaction"]) -> list[Detection]:
        key = (hashlib.sha256(pixels.tobytes()).digest(), purpose)
        if key not in self._found:
            self._found[key] = super().detect(pixels, purpose)
        return list(self._found[key])


@pytest.fixture(scope="session")
def imaging() -> Remembering:
    return Remembering()


@pytest.fixture(scope="session")
def scene(imaging: Remembering) -> bytes:
    """Three people in a room."""
    people = [(number, scenes.list_emotions(number)[0]) for number in range(3)]
    return imaging.encode(scenes.draw_scene(people, seed=0, size=SIZE)[0])


@pytest.fixture(scope="session")
def portrait(imaging: Remembering) -> bytes:
    """One person before a wall."""
    drawn = scenes.draw_portrait(0, scenes.list_emotions(0)[0], seed=0)
    return imaging.encode(drawn[::2, ::2].copy())


@pytest.fixture(scope="session")
def wall(imaging: Remembering) -> bytes:
    """Nobody."""
    drawn = scenes.draw_portrait(0, scenes.list_emotions(0)[0], seed=0)
    return imaging.encode(drawn[:64, :64].copy())


@pytest.fixture
def tools(tmp_path: Path, imaging: Remembering) -> FakeTools:
    return FakeTools(data=tmp_path, imaging=imaging)


@pytest.fixture
def dataset(session: Session) -> Dataset:
    return make_dataset(session)


@pytest.fixture
def receive(
    session: Session, tools: FakeTools, dataset: Dataset
) -> Callable[[Subject, Sequence[bytes]], list[int]]:
    """Takes pictures in and commits; answers their numbers."""

    def receive(subject: Subject, pictures: Sequence[bytes], *, cropped: bool = False) -> list[int]:
        images = [
            intake.receive_image(
                session,
                vault=tools.vault,
                imaging=tools.imaging,
                dataset=dataset,
                subject=subject,
                data=data,
                cropped=cropped,
            )[0]
            for data in pictures
        ]
        session.commit()
        return [image.id for image in images]

    return receive


@pytest.fixture
def read(engine: Engine) -> Callable[[int], Image]:
    """A picture's row as it is now, with its person and its face."""

    def read(image_id: int) -> Image:
        with Session(engine, expire_on_commit=False) as session:
            image = session.scalars(select(Image).where(Image.id == image_id)).one()
            assert image.subject
            assert image.face is None or image.face.id
            return image

    return read


@pytest.fixture
def work(engine: Engine, tools: FakeTools) -> FakeWork:
    return FakeWork(engine, tools)
