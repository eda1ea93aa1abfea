"""Keys that are renewed while a model looks, on a database where nobody waits for a reader."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from annotator.core.db import Base, open_engine
from annotator.domain import erasure, prediction
from annotator.models import Dataset, Face
from tests.factories import make_dataset, make_face, make_subject
from tests.fakes import FakeVault, FakeWork


@pytest.fixture
def engine(postgres: str) -> Iterator[Engine]:
    engine = open_engine(postgres)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def dataset(session: Session) -> Dataset:
    return make_dataset(session)


@pytest.fixture
def faces(session: Session, vault: FakeVault, dataset: Dataset) -> list[Face]:
    prediction.ensure_bundled(session, digest="0" * 64)
    made = [
        make_face(session, vault, make_subject(session, vault, dataset), votes=None)
        for _ in range(3)
    ]
    session.commit()
    return made


@pytest.mark.parametrize("what", ["everybody", "one"])
def test_keys_that_are_renewed_between_row_and_crop_cost_no_face(
    *,
    session: Session,
    work: FakeWork,
    vault: FakeVault,
    dataset: Dataset,
    faces: list[Face],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    read, renewed = vault.open_blob, list[str]()

    def renew_first(**named: Any) -> bytes:
        if not renewed:
            renewed.append(what)
            if what == "everybody":
                erasure.renew_epoch(work)
            else:
                with work.transaction() as other:
                    face = other.get_one(Face, faces[0].id)
                    crop = read(**named)
                    vault.delete_blob(face.crop_blob)
                    face.crop_blob = vault.seal_blob(**{**without_blob(named), "data": crop})
        return read(**named)

    monkeypatch.setattr(vault, "open_blob", renew_first)
    assert prediction.predict_faces(work, dataset_id=dataset.id) == {"faces": 3}
    assert renewed == [what]


def without_blob(named: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in named.items() if name != "blob"}
