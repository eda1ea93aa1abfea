import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.domain import labelling
from annotator.domain.labelling import opening
from annotator.models import Dataset, Face, Task
from tests.factories import make_dataset, make_face, make_subject
from tests.fakes import FakeVault, FakeWork


@pytest.fixture
def faces(session: Session, vault: FakeVault, dataset: Dataset) -> list[Face]:
    subject = make_subject(session, vault, dataset)
    made = [make_face(session, vault, subject, votes=None) for _ in range(5)]
    session.commit()
    return made


@pytest.mark.parametrize("chunk", [2, 5, 500])
def test_every_ready_face_gets_one_task(
    *,
    session: Session,
    work: FakeWork,
    dataset: Dataset,
    faces: list[Face],
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
) -> None:
    faces[4].image.state = "review"
    session.commit()
    monkeypatch.setattr(opening, "CHUNK", chunk)
    assert opening.open_tasks(work, dataset_id=dataset.id) == {"faces": 4}
    assert opening.open_tasks(work, dataset_id=dataset.id) == {"faces": 0}
    session.rollback()
    tasks = session.scalars(select(Task).order_by(Task.face_id)).all()
    assert [task.face_id for task in tasks] == [face.id for face in faces[:4]]
    assert {(task.state, task.wanted, task.free) for task in tasks} == {("open", 2, 2)}


def test_a_task_that_is_there_stays(
    session: Session, work: FakeWork, dataset: Dataset, faces: list[Face]
) -> None:
    task = labelling.open_task(session, face=faces[0], dataset=dataset)
    task.given = 1
    session.commit()
    assert opening.open_tasks(work, dataset_id=dataset.id) == {"faces": 4}
    session.refresh(task)
    assert task.given == 1


def test_another_dataset_is_left_alone(session: Session, work: FakeWork, faces: list[Face]) -> None:
    other = make_dataset(session, name="Other")
    session.commit()
    assert opening.open_tasks(work, dataset_id=other.id) == {"faces": 0}
