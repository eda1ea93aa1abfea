import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.errors import Conflict
from annotator.domain import intake
from annotator.imaging import sniff
from annotator.models import Dataset, Image, Job, Subject
from tests.factories import grey_png, make_dataset, make_subject
from tests.fakes import FakeVault


class Sniffing:
    """As much of the imaging port as receiving needs."""

    sniff = staticmethod(sniff.sniff)


@pytest.fixture
def dataset(session: Session) -> Dataset:
    return make_dataset(session)


@pytest.fixture
def received(session: Session, dataset: Dataset, vault: FakeVault) -> list[int]:
    subject = make_subject(session, vault, dataset)
    taken = [
        intake.receive_image(
            session,
            vault=vault,
            imaging=Sniffing(),  # type: ignore[arg-type]
            dataset=dataset,
            subject=subject,
            data=grey_png(number),
            name=f"{number}.png",
        )
        for number in range(4)
    ]
    return [image.id for image, _ in taken]


def test_a_job_is_asked_for_once_however_often_it_is_asked(
    session: Session, dataset: Dataset, received: list[int]
) -> None:
    first = intake.start_received(session, dataset=dataset, images=received[:2])
    again = intake.start_received(session, dataset=dataset, images=received[:2])
    assert first is not None
    assert first is again
    assert first.arguments == {"images": received[:2]}


def test_a_running_job_takes_nothing_more(
    session: Session, dataset: Dataset, received: list[int]
) -> None:
    first = intake.start_received(session, dataset=dataset, images=received[:1])
    assert first is not None
    first.state = "running"
    second = intake.start_received(session, dataset=dataset)
    assert second is not None
    assert second.arguments == {"images": received[1:]}


def test_a_full_job_takes_nothing_more(
    session: Session, dataset: Dataset, received: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MOST_PER_JOB", 2)
    intake.start_received(session, dataset=dataset, images=received[:2])
    intake.start_received(session, dataset=dataset, images=received[2:])
    assert [len(job.arguments["images"]) for job in session.scalars(select(Job))] == [2, 2]


def test_what_is_not_received_or_elsewhere_is_passed_over(
    session: Session, dataset: Dataset, received: list[int]
) -> None:
    session.get_one(Image, received[0]).state = "ready"
    assert intake.start_received(session, dataset=dataset, images=[received[0], 4711]) is None
    other = make_dataset(session, name="Other")
    assert intake.start_received(session, dataset=other, images=received) is None


def test_stranded_pictures_are_counted(
    session: Session, dataset: Dataset, received: list[int]
) -> None:
    assert intake.count_stranded(session, dataset=dataset) == 4
    intake.start_received(session, dataset=dataset, images=received[:3])
    assert intake.count_stranded(session, dataset=dataset) == 1


def test_names_are_opened_only_with_consent(
    session: Session, dataset: Dataset, received: list[int], vault: FakeVault
) -> None:
    images = intake.list_images(session, dataset=dataset)
    names = intake.open_names(session, vault=vault, images=images)
    assert names[received[0]] == "0.png"
    images[0].subject.withdrawn_at = images[0].received_at
    assert intake.open_names(session, vault=vault, images=images) == {}


def test_the_same_bytes_are_one_picture_of_one_person(
    session: Session, dataset: Dataset, vault: FakeVault, received: list[int]
) -> None:
    def receive(subject: Subject) -> tuple[Image, bool]:
        return intake.receive_image(
            session,
            vault=vault,
            imaging=Sniffing(),  # type: ignore[arg-type]
            dataset=dataset,
            subject=subject,
            data=grey_png(0),
        )

    owner = session.get_one(Image, received[0]).subject
    image, new = receive(owner)
    assert (image.id, new) == (received[0], False)
    other = make_subject(session, vault, dataset)
    with pytest.raises(Conflict, match=f"as a picture of {owner.code}"):
        receive(other)
