from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.core.emotions import EMOTION_NAMES
from annotator.core.errors import Conflict, KeyDestroyed
from annotator.domain import consent, erasure, prediction
from annotator.domain.ports import Guess
from annotator.models import Dataset, Face, Installation, ModelVersion, Prediction
from tests.factories import make_dataset, make_face, make_model, make_subject
from tests.fakes import FakeVault, FakeWork


@pytest.fixture
def dataset(session: Session) -> Dataset:
    return make_dataset(session)


@pytest.fixture
def model(session: Session) -> ModelVersion:
    return prediction.ensure_bundled(session, digest="0" * 64)


@pytest.fixture
def faces(session: Session, vault: FakeVault, dataset: Dataset, model: ModelVersion) -> list[Face]:
    made = [
        make_face(session, vault, make_subject(session, vault, dataset), votes=None)
        for _ in range(3)
    ]
    session.commit()
    return made


def count(session: Session) -> int:
    session.rollback()
    return session.scalar(select(func.count(Prediction.id))) or 0


def test_every_ready_face_is_looked_at_once(
    session: Session, work: FakeWork, dataset: Dataset, faces: list[Face]
) -> None:
    faces[2].image.state = "review"
    session.commit()
    assert prediction.predict_faces(work, dataset_id=dataset.id) == {"faces": 2}
    assert prediction.predict_faces(work, dataset_id=dataset.id) == {"faces": 0}
    assert count(session) == 2
    said = session.scalars(select(Prediction)).first()
    assert said is not None
    assert (said.label, said.probability) == (EMOTION_NAMES[0], 1.0)
    assert len(said.probabilities) == len(EMOTION_NAMES)


def test_another_dataset_is_left_alone(session: Session, work: FakeWork, faces: list[Face]) -> None:
    other = make_dataset(session, name="Other")
    session.commit()
    assert prediction.predict_faces(work, dataset_id=other.id) == {"faces": 0}
    assert count(session) == 0


def test_a_new_model_looks_again(
    session: Session, work: FakeWork, dataset: Dataset, faces: list[Face], model: ModelVersion
) -> None:
    prediction.predict_faces(work, dataset_id=dataset.id)
    model.state = "retired"
    make_model(session)
    session.commit()
    assert prediction.predict_faces(work, dataset_id=dataset.id) == {"faces": 3}
    assert count(session) == 6


@pytest.mark.parametrize("purpose", ["prelabel", "store"])
def test_without_consent_the_model_does_not_look(
    session: Session, work: FakeWork, dataset: Dataset, faces: list[Face], purpose: str
) -> None:
    consent.withdraw_purposes(session, subject=faces[0].subject, purposes=[purpose])
    session.commit()
    assert prediction.predict_faces(work, dataset_id=dataset.id) == {"faces": 2}
    session.rollback()
    assert set(session.scalars(select(Prediction.face_id))) == {faces[1].id, faces[2].id}


@pytest.mark.parametrize("everything", [False, True])
def test_what_is_withdrawn_while_the_model_looks_is_not_written(
    *,
    session: Session,
    work: FakeWork,
    dataset: Dataset,
    faces: list[Face],
    monkeypatch: pytest.MonkeyPatch,
    everything: bool,
) -> None:
    guess = work.tools.learning.guess

    def withdraw(weights: bytes | None, crops: Sequence[bytes]) -> list[Guess]:
        purposes = ["store"] if everything else ["prelabel"]
        erasure.withdraw_purposes(session, subject=faces[0].subject, purposes=purposes, by=None)
        session.commit()
        said: list[Guess] = guess(weights, crops)
        return said

    monkeypatch.setattr(work.tools.learning, "guess", withdraw)
    assert prediction.predict_faces(work, dataset_id=dataset.id) == {"faces": 2}
    assert count(session) == 2


def test_an_embedding_opens_again_for_its_own_face_alone(
    session: Session, work: FakeWork, vault: FakeVault, dataset: Dataset, faces: list[Face]
) -> None:
    prediction.predict_faces(work, dataset_id=dataset.id)
    said = session.scalars(select(Prediction).where(Prediction.face_id == faces[0].id)).one()
    subject = faces[0].subject
    embedding = prediction.open_embedding(vault, prediction=said, subject=subject)
    assert embedding == b"\0\0" * 4
    erasure.withdraw_subject(session, subject=subject, by=None)
    with pytest.raises(KeyDestroyed):
        prediction.open_embedding(vault, prediction=said, subject=subject)


@pytest.mark.parametrize("context", ["workplace", "education", "research", "medical"])
def test_where_it_is_forbidden_no_model_looks(
    session: Session, work: FakeWork, dataset: Dataset, faces: list[Face], context: str
) -> None:
    session.add(Installation(install="test", context=context))
    session.commit()
    if context in {"research", "medical"}:
        assert consent.inference_forbidden(session) is None
        job = prediction.start_prediction(session, dataset_id=dataset.id)
        assert (job.kind, job.arguments) == ("predict", {"dataset_id": dataset.id})
        return
    with pytest.raises(Conflict, match=r"Article 5\(1\)\(f\)"):
        prediction.start_prediction(session, dataset_id=dataset.id)
    with pytest.raises(Conflict, match=r"Article 5\(1\)\(f\)"):
        prediction.predict_faces(work, dataset_id=dataset.id)
    assert count(session) == 0


def test_the_bundled_model_is_registered_once(session: Session, model: ModelVersion) -> None:
    assert prediction.ensure_bundled(session, digest="1" * 64) is model
    assert prediction.current_model(session) is model
    model.state = "retired"
    with pytest.raises(Conflict, match="No model is current"):
        prediction.current_model(session)


def test_weights_come_from_the_vault_or_with_the_package(vault: FakeVault) -> None:
    blob = vault.store_archive(purpose="model", data=b"w" * 100_000)
    assert prediction.open_weights(vault, blob) == b"w" * 100_000
    assert prediction.open_weights(vault, None) is None


def test_progress_is_told_chunk_by_chunk(
    work: FakeWork, dataset: Dataset, faces: list[Face], monkeypatch: Any
) -> None:
    monkeypatch.setattr(prediction, "CHUNK", 2)
    prediction.predict_faces(work, dataset_id=dataset.id)
    assert work.reports == [(2, 3), (3, 3)]
