from collections.abc import Sequence

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.emotions import EMOTION_NAMES
from annotator.core.errors import Conflict
from annotator.domain import accounts, consent, datasets, demo
from annotator.imaging import sniff
from annotator.models import Annotation, Dataset, Face, Image, Job, Subject, Task
from tests.factories import grey_png, make_user
from tests.fakes import FakeVault

PEOPLE = 14  # enough for everybody who refuses something


class Sniffing:
    """As much of the imaging port as receiving needs."""

    sniff = staticmethod(sniff.sniff)


class Artist:
    """Draws no two pictures alike, and remembers what it was asked for."""

    people = PEOPLE

    def __init__(self) -> None:
        self.asked: list[tuple[str, int | tuple[int, ...], str, int]] = []

    def emotions_of(self, person: int) -> Sequence[str]:
        return EMOTION_NAMES[: 2 + person % 7]

    def _draw(self, *wish: object) -> bytes:
        self.asked.append(wish)  # type: ignore[arg-type]
        return grey_png(0) + repr(wish).encode()

    def draw_crop(self, person: int, emotion: str, *, seed: int) -> bytes:
        assert emotion in self.emotions_of(person)
        return self._draw("crop", person, emotion, seed)

    def draw_portrait(self, person: int, emotion: str, *, seed: int) -> bytes:
        assert emotion in self.emotions_of(person)
        return self._draw("portrait", person, emotion, seed)

    def draw_scene(self, people: Sequence[tuple[int, str]], *, seed: int) -> bytes:
        assert len({person for person, _ in people}) == len(people)
        return self._draw("scene", tuple(people), "", seed)


@pytest.fixture
def artist() -> Artist:
    return Artist()


@pytest.fixture
def made(session: Session, vault: FakeVault, artist: Artist) -> tuple[Dataset, list[Subject]]:
    return demo.make_people(session, vault=vault, artist=artist, members=[])


def receive_crops(
    session: Session, vault: FakeVault, artist: Artist, made: tuple[Dataset, list[Subject]]
) -> list[demo.Drawn]:
    return demo.receive_crops(
        session,
        vault=vault,
        imaging=Sniffing(),  # type: ignore[arg-type]
        artist=artist,
        dataset=made[0],
        people=made[1],
    )


def test_everybody_consented_to_most_things(
    session: Session, vault: FakeVault, made: tuple[Dataset, list[Subject]]
) -> None:
    given = [set(consent.given_purposes(session, subject=person)) for person in made[1]]
    assert all({"store", "label"} <= purposes for purposes in given)
    assert not any("publish_weights" in purposes for purposes in given)
    assert any("prelabel" not in purposes for purposes in given)
    assert any("train" not in purposes for purposes in given)
    person = made[1][0]
    assert consent.open_contact(session, vault=vault, subject=person, by=1) == (
        "Drawn person 1",
        "person-1@clinic.example",
    )


def test_members_see_it_and_twice_is_refused(
    session: Session, vault: FakeVault, artist: Artist
) -> None:
    ann = make_user(session)
    dataset, _ = demo.make_people(session, vault=vault, artist=artist, members=[ann])
    assert accounts.is_member(session, user=ann, dataset_id=dataset.id)
    assert datasets.find_dataset(session, name=demo.NAME) is dataset
    with pytest.raises(Conflict):
        demo.make_people(session, vault=vault, artist=artist, members=[ann])


def test_everybody_has_crops(
    session: Session, vault: FakeVault, artist: Artist, made: tuple[Dataset, list[Subject]]
) -> None:
    drawn = receive_crops(session, vault, artist, made)
    assert len({item.image_id for item in drawn}) == PEOPLE * demo.CROPS_EACH
    images = session.scalars(select(Image)).all()
    assert {image.state for image in images} == {"received"}
    assert all(image.cropped for image in images)
    assert [item.emotion for item in drawn] == [emotion for _, _, emotion, _ in artist.asked]


def test_portraits_and_scenes_wait_for_the_worker(
    session: Session, vault: FakeVault, artist: Artist, made: tuple[Dataset, list[Subject]]
) -> None:
    dataset, people = made
    job = demo.receive_pictures(
        session,
        vault=vault,
        imaging=Sniffing(),  # type: ignore[arg-type]
        artist=artist,
        dataset=dataset,
        people=people,
    )
    images = session.scalars(select(Image).order_by(Image.id)).all()
    assert len(images) == demo.PORTRAITS + demo.SCENES
    assert not any(image.cropped for image in images)
    assert (job.kind, job.arguments) == ("intake", {"images": [image.id for image in images]})
    scenes = [wish for kind, wish, _, _ in artist.asked if kind == "scene"]
    assert {len(shown) for shown in scenes if isinstance(shown, tuple)} == {demo.SCENE_PEOPLE}


def make_ready(session: Session, drawn: Sequence[demo.Drawn]) -> None:
    for item in drawn:
        image = session.get_one(Image, item.image_id)
        image.state = "ready"
        session.add(
            Face(
                dataset_id=image.dataset_id,
                subject_id=image.subject_id,
                image_id=image.id,
                box=[0, 0, 8, 8],
                crop_blob=image.original_blob,
            )
        )
    session.flush()


def test_two_of_three_faces_are_labelled_mostly_as_drawn(
    session: Session, vault: FakeVault, artist: Artist, made: tuple[Dataset, list[Subject]]
) -> None:
    drawn = receive_crops(session, vault, artist, made)
    make_ready(session, drawn[:-1])  # the last could not be used
    demo.vote(session, dataset=made[0], drawn=drawn)
    tasks = session.scalars(select(Task)).all()
    assert len(tasks) == PEOPLE * 2 - 1
    assert {(task.state, task.given) for task in tasks} == {("done", demo.RATERS)}
    emotions = {item.image_id: item.emotion for item in drawn}
    votes = session.scalars(select(Annotation)).all()
    same = sum(vote.label == emotions[vote.task.face.image_id] for vote in votes)
    assert 0.8 < same / len(votes) < 1


def test_some_change_their_minds(
    session: Session, vault: FakeVault, artist: Artist, made: tuple[Dataset, list[Subject]]
) -> None:
    receive_crops(session, vault, artist, made)
    staying, leaving = demo.list_people(session, dataset=made[0])
    assert [*staying, *leaving] == made[1]
    assert len(leaving) == demo.WITHDRAWN
    demo.withdraw_people(session, people=leaving)
    assert datasets.count_subjects(session, dataset_id=made[0].id) == {
        "present": PEOPLE - demo.WITHDRAWN,
        "withdrawn": demo.WITHDRAWN,
    }
    left = set(session.scalars(select(Image.subject_id)))
    assert left == {person.id for person in staying}
    kinds = session.scalars(select(Job.kind)).all()
    assert list(kinds) == ["erase"] * demo.WITHDRAWN


def test_it_is_the_same_every_time(
    session: Session, vault: FakeVault, artist: Artist, made: tuple[Dataset, list[Subject]]
) -> None:
    receive_crops(session, vault, artist, made)
    other = Artist()
    made[0].name = "Another"
    session.flush()
    again = demo.make_people(session, vault=vault, artist=other, members=[])
    receive_crops(session, vault, other, again)
    assert artist.asked == other.asked
