"""Makers of rows for tests, through the domain where it has a short way to them."""

import base64
import datetime as dt
import itertools
import secrets
import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.emotions import EMOTION_NAMES
from annotator.domain import consent, datasets, labelling
from annotator.models import (
    PURPOSES,
    Annotation,
    Dataset,
    Face,
    Image,
    ModelVersion,
    Prediction,
    Subject,
    Task,
    User,
)

_numbers = itertools.count(1)


def make_user(session: Session, role: str = "annotator") -> User:
    """A person who works here; cannot sign in."""
    number = next(_numbers)
    user = User(
        email=f"{role}-{number}@example.org",
        name=f"{role.title()} {number}",
        role=role,
        password="no hash",
        fs_uniquifier=secrets.token_hex(16),
    )
    session.add(user)
    session.flush()
    return user


def make_dataset(session: Session, name: str = "Clinic pilot", **rules: Any) -> Dataset:
    """A dataset with a notice."""
    rules.setdefault("seed", 1)
    dataset = datasets.create_dataset(session, name=name, created_by=None, **rules)
    consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
    return dataset


def make_subject(
    session: Session,
    vault: Any,
    dataset: Dataset,
    purposes: Iterable[str] = PURPOSES,
    *,
    statement: consent.Statement | None = None,
    **fields: Any,
) -> Subject:
    """A person who agreed to some purposes an hour ago, for a year."""
    subject = consent.create_subject(session, vault=vault, dataset=dataset, **fields)
    then = now() - dt.timedelta(hours=1)
    consent.record_consent(
        session,
        subject=subject,
        purposes=purposes,
        notice=consent.current_notice(session, dataset=dataset),
        expression="ticked",
        expires_at=then + dt.timedelta(days=365),
        at=then,
        statement=statement,
        vault=vault,
    )
    return subject


def make_known_subject(session: Session, vault: Any, dataset: Dataset, **fields: Any) -> Subject:
    """A person of whom every text is sealed that there may be, and a signed paper.

    Whatever is sealed holds the word Canary.
    """
    return make_subject(
        session,
        vault,
        dataset,
        name="Anna Canary",
        contact="anna@canary.test",
        guardian_name="Gudrun Canary",
        guardian_contact="gudrun@canary.test",
        statement=consent.Statement(
            name="A. Canary", note="Canary said so aloud", scan=b"%PDF-1.7 Canary"
        ),
        **fields,
    )


def make_face(
    session: Session,
    vault: Any,
    subject: Subject,
    votes: Mapping[str, int] | str | None = "neutral",
    *,
    wanted: int = 3,
) -> Face:
    """A face with a crop, a task and votes; a label alone stands for all votes wanted.

    With ``None`` there is no task.
    """
    votes = {votes: wanted} if isinstance(votes, str) else votes
    key = consent.key_of(vault, subject)
    number = next(_numbers)

    def seal(kind: str) -> str:
        return vault.seal_blob(subject=subject.uid, key=key, kind=kind, data=grey_png(number % 256))

    image = Image(
        uid=secrets.token_hex(16),
        dataset_id=subject.dataset_id,
        subject_id=subject.id,
        state="ready",
        fingerprint=secrets.token_bytes(32),
        redacted_blob=seal("redacted"),
    )
    session.add(image)
    session.flush()
    face = Face(
        dataset_id=subject.dataset_id,
        subject_id=subject.id,
        image_id=image.id,
        box=[0, 0, 8, 8],
        score=0.9,
        crop_blob=seal("crop"),
    )
    session.add(face)
    session.flush()
    if votes is not None:
        make_task(session, face, votes, wanted=wanted)
    return face


def make_open_task(
    session: Session, vault: Any, dataset: Dataset, subject: Subject | None = None
) -> Task:
    """A task that wants votes, on a face of its own person unless one is named."""
    subject = subject or make_subject(session, vault, dataset)
    face = make_face(session, vault, subject, votes=None)
    return labelling.open_task(session, face=face, dataset=dataset)


def make_model(session: Session, state: str = "current") -> ModelVersion:
    """A model version without weights."""
    model = ModelVersion(name=f"model-{next(_numbers)}", kind="cnn", state=state, digest="0" * 64)
    session.add(model)
    session.flush()
    return model


def make_prediction(
    session: Session,
    vault: Any,
    face: Face,
    model: ModelVersion,
    *,
    label: str = "happiness",
    probability: float = 0.9,
    embedding: bytes = bytes(8),
) -> Prediction:
    """What a model said about a face."""
    said = Prediction(
        face_id=face.id,
        model_id=model.id,
        label=label,
        probability=probability,
        probabilities=[probability if label == name else 0.0 for name in EMOTION_NAMES],
        sealed_embedding=vault.seal_field(
            subject=face.subject.uid,
            key=consent.key_of(vault, face.subject),
            table="predictions",
            column="embedding",
            row=f"{model.id}/{face.id}",
            text=base64.b64encode(embedding).decode(),
        ),
    )
    session.add(said)
    session.flush()
    return said


def make_task(session: Session, face: Face, votes: Mapping[str, int], *, wanted: int = 3) -> Task:
    """A task with votes of imported raters."""
    given = sum(votes.values())
    task = Task(
        dataset_id=face.dataset_id,
        face_id=face.id,
        state="done" if given >= wanted else "open",
        wanted=wanted,
        given=given,
        free=max(0, wanted - given),
    )
    session.add(task)
    session.flush()
    labels = [label for label, count in votes.items() for _ in range(count)]
    session.add_all(
        Annotation(
            client_id=secrets.token_hex(16),
            task_id=task.id,
            rater=f"import-{column}",
            label=label,
            mode="import",
        )
        for column, label in enumerate(labels)
    )
    session.flush()
    return task


def grey_png(value: int, side: int = 8) -> bytes:
    """A PNG of one grey, made without an image library."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = b"".join(b"\0" + bytes([value]) * side for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )
