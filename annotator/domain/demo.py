"""A demo's content: people who do not exist, who consented, with a labelled and an open part."""

import datetime as dt
import random
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.emotions import EMOTION_NAMES
from annotator.domain import accounts, consent, datasets, erasure, intake, labelling
from annotator.domain.ports import Artist, Imaging, Vault
from annotator.models import PURPOSES, Dataset, Face, Job, Subject, User

NAME = "Clinic pilot (drawn people)"
GROUPS = ("18 to 39", "40 to 64", "65 and older")
RATERS = 3
AGREEMENT = 0.88  # how often a drawn rater names the emotion that was drawn
CROPS_EACH = 3
PORTRAITS = 24
SCENES = 6
SCENE_PEOPLE = 3
WITHDRAWN = 2
SEED = 20261123


@dataclass(frozen=True, slots=True)
class Drawn:
    """One picture that was taken in, and what was drawn on it."""

    image_id: int
    emotion: str


def make_people(
    session: Session, *, vault: Vault, artist: Artist, members: Sequence[User]
) -> tuple[Dataset, list[Subject]]:
    """Makes the dataset, its notice, its people and their consents."""
    dataset = datasets.create_dataset(
        session,
        name=NAME,
        created_by=None,
        description="Everybody in these pictures is drawn from averaged faces; nobody is real.",
        votes_per_face=RATERS,
        seed=SEED,
    )
    for user in members:
        accounts.add_member(session, user=user, dataset=dataset, by=None)
    facts = consent.fill_notice(
        organisation="The demo clinic", contact="privacy@clinic.example", years=3
    )
    (notice,) = consent.publish_notice(session, dataset=dataset, texts={"en": facts})
    people = []
    for number in range(artist.people):
        subject = consent.create_subject(
            session,
            vault=vault,
            dataset=dataset,
            code=f"P-{number + 1:03}",
            name=f"Drawn person {number + 1}",
            contact=f"person-{number + 1}@clinic.example",
            group=GROUPS[number % len(GROUPS)],
        )
        consent.record_consent(
            session,
            subject=subject,
            purposes=_purposes(number),
            notice=notice,
            expression="ticked",
            expires_at=now() + dt.timedelta(days=3 * 365),
        )
        people.append(subject)
    return dataset, people


def _purposes(number: int) -> list[str]:
    """Most people agree to most things; some keep one thing to themselves."""
    refused = {"publish_weights"}
    if number % 11 == 5:  # noqa: PLR2004 - any remainder serves
        refused.add("prelabel")
    if number % 13 == 7:  # noqa: PLR2004 - likewise
        refused |= {"train", "export_pseudonymised", "export_anonymised"}
    return [purpose for purpose in PURPOSES if purpose not in refused]


def receive_crops(
    session: Session,
    *,
    vault: Vault,
    imaging: Imaging,
    artist: Artist,
    dataset: Dataset,
    people: Sequence[Subject],
) -> list[Drawn]:
    """Takes in face crops of everybody, in turn through the emotions that they can show."""
    drawn = []
    for number, subject in enumerate(people):
        emotions = artist.emotions_of(number)
        for turn in range(CROPS_EACH):
            emotion = emotions[(number + turn * 3) % len(emotions)]
            data = artist.draw_crop(number, emotion, seed=SEED + turn)
            image, _ = intake.receive_image(
                session,
                vault=vault,
                imaging=imaging,
                dataset=dataset,
                subject=subject,
                data=data,
                name=f"{subject.code}-{turn + 1}.png",
                cropped=True,
            )
            drawn.append(Drawn(image.id, emotion))
    return drawn


def receive_pictures(
    session: Session,
    *,
    vault: Vault,
    imaging: Imaging,
    artist: Artist,
    dataset: Dataset,
    people: Sequence[Subject],
) -> Job:
    """Takes in portraits, and scenes with several people; the worker finds the faces."""
    rng, images = random.Random(SEED), []  # noqa: S311 - a demo that is the same every time
    for turn in range(PORTRAITS):
        number = turn * len(people) // PORTRAITS
        emotion = rng.choice(list(artist.emotions_of(number)))
        data = artist.draw_portrait(number, emotion, seed=SEED + turn)
        images.append((people[number], data, f"portrait-{turn + 1}"))
    for turn in range(SCENES):
        numbers = rng.sample(range(len(people)), SCENE_PEOPLE)
        shown = [(number, rng.choice(list(artist.emotions_of(number)))) for number in numbers]
        data = artist.draw_scene(shown, seed=SEED + turn)
        images.append((people[numbers[0]], data, f"group-{turn + 1}"))
    rows = [
        intake.receive_image(
            session,
            vault=vault,
            imaging=imaging,
            dataset=dataset,
            subject=subject,
            data=data,
            name=name,
        )[0]
        for subject, data, name in images
    ]
    job = intake.start_received(session, dataset=dataset, images=[row.id for row in rows])
    assert job is not None
    return job


def vote(session: Session, *, dataset: Dataset, drawn: Sequence[Drawn]) -> None:
    """Gives two of three faces the votes of three raters who mostly see what was drawn."""
    rng = random.Random(SEED)  # noqa: S311 - a demo that is the same every time
    for number, picture in enumerate(drawn):
        if number % CROPS_EACH == 0:
            continue  # stays open
        face = session.scalar(select(Face).where(Face.image_id == picture.image_id))
        if face is None:
            continue
        task = labelling.open_task(session, face=face, dataset=dataset)
        votes = [
            picture.emotion if rng.random() < AGREEMENT else rng.choice(EMOTION_NAMES)
            for _ in range(RATERS)
        ]
        labelling.import_votes(session, task=task, votes=votes)


def list_people(session: Session, *, dataset: Dataset) -> tuple[list[Subject], list[Subject]]:
    """Those who stay, and those who will change their minds."""
    query = select(Subject).where(Subject.dataset_id == dataset.id).order_by(Subject.id)
    people = list(session.scalars(query))
    return people[:-WITHDRAWN], people[-WITHDRAWN:]


def withdraw_people(session: Session, *, people: Sequence[Subject]) -> None:
    """Erases people, as if they had changed their minds."""
    for subject in people:
        erasure.withdraw_subject(session, subject=subject, by=None)
