"""A small real installation, on SQLite and on PostgreSQL: one of everything that is sealed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from annotator.core.db import Base, open_engine
from annotator.domain import consent, keys
from annotator.models import Export, Image, Installation, Subject
from annotator.vault import Vault, create_vault
from tests.factories import (
    grey_png,
    make_dataset,
    make_face,
    make_known_subject,
    make_model,
    make_prediction,
)


@dataclass
class Place:
    """An installation."""

    engine: Engine
    vault: Vault
    folder: Path

    def path(self, blob: str) -> Path:
        return self.folder / "blobs" / blob[:2] / blob[2] / blob

    def files(self) -> set[str]:
        return {path.name for path in (self.folder / "blobs").rglob("*") if path.is_file()}

    def add_image(self, session: Session, subject: Subject, state: str = "received") -> Image:
        """A picture whose bytes wait, as intake leaves them."""
        kind = "original" if state == "received" else "sanitised"
        image = Image(
            uid=os.urandom(16).hex(),
            dataset_id=subject.dataset_id,
            subject_id=subject.id,
            state=state,
            fingerprint=os.urandom(32),
        )
        key = consent.key_of(self.vault, subject)
        image.original_blob = self.vault.seal_blob(
            subject=subject.uid, key=key, kind=kind, data=grey_png(7)
        )
        image.sealed_name = self.vault.seal_field(
            subject=subject.uid, key=key, table="images", column="name", row=image.uid, text="a.png"
        )
        session.add(image)
        session.flush()
        return image


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    url = f"sqlite:///{tmp_path / 'test.sqlite'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres")
    engine = open_engine(url)
    Base.metadata.create_all(engine)
    vault, _ = create_vault(tmp_path / "data", key_file=tmp_path / "data" / "keys" / "key")
    made = Place(engine, vault, tmp_path / "data")
    with Session(engine) as session:
        session.add(Installation(install=vault.install, context="research"))
        dataset = make_dataset(session, "Pilot")
        subject = make_known_subject(session, vault, dataset)
        model = make_model(session)
        model.sealed_blob = vault.store_archive(purpose="model", data=b"weights" * 9_999)
        session.add(
            Export(
                uid=os.urandom(16).hex(),
                dataset_id=dataset.id,
                tier="T1",
                balance="none",
                seed=0,
                recipient="X",
                state="ready",
                sealed_blob=vault.store_archive(purpose="export", data=b"zip" * 99_999),
            )
        )
        for _ in range(2):
            make_prediction(session, vault, make_face(session, vault, subject), model)
        made.add_image(session, subject)
        made.add_image(session, subject, "review")
        session.commit()
        if request.param == "postgres":  # on one of the two, a second key is on its way
            keys.start_rekeying(session, vault=vault, subject=subject)
        session.commit()
    yield made
    engine.dispose()
