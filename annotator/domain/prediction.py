"""What the current model says about faces: pre-labels and embeddings."""

import base64
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, KeyDestroyed, NotFound
from annotator.domain import audit, consent, jobs
from annotator.domain.ports import Guess, Vault
from annotator.models import Face, Image, Job, ModelVersion, Prediction, Subject

CHUNK = 256
BUNDLED = "bundled"


def ensure_bundled(session: Session, *, digest: str) -> ModelVersion:
    """Makes the network that the package brings known; the first current model."""
    known = session.scalar(select(ModelVersion).where(ModelVersion.name == BUNDLED))
    if known is None:
        known = ModelVersion(
            name=BUNDLED, kind="cnn", state="current", digest=digest, promoted_at=now()
        )
        session.add(known)
        session.flush()
        audit.append(session, action="model.registered", actor="cli", model=known.id)
    return known


def current_model(session: Session) -> ModelVersion:
    """The model that makes the pre-labels.

    Raises:
        Conflict: there is none; ``init`` registers the bundled one.
    """
    model = session.scalar(select(ModelVersion).where(ModelVersion.state == "current"))
    if model is None:
        raise Conflict("No model is current; promote one first.")
    return model


def start_prediction(session: Session, *, dataset_id: int, by: int | None = None) -> Job:
    """Has the current model look at every face of a dataset that it has not seen.

    Raises:
        Conflict: inference is forbidden here; the sentence says why.
    """
    consent.require_inference(session)
    return jobs.enqueue(
        session,
        kind="predict",
        arguments={"dataset_id": dataset_id},
        dataset_id=dataset_id,
        created_by=by,
    )


def predict_faces(work: jobs.Work, *, dataset_id: int) -> dict[str, int]:
    """Job ``predict``: pre-labels and embeddings for faces that the current model has not seen.

    Idempotent: a face that has a prediction of this model is passed over.

    Returns:
        ``faces`` predicted.

    Raises:
        Conflict: inference is forbidden here.
    """
    with work.transaction() as session:
        consent.require_inference(session)
        model = current_model(session)
        model_id, blob = model.id, model.sealed_blob
        wanted = _unseen(session, dataset_id=dataset_id, model_id=model_id)
    weights, written = open_weights(work.tools.vault, blob), 0
    for start in range(0, len(wanted), CHUNK):
        chunk = wanted[start : start + CHUNK]
        with work.transaction() as session:
            opened = _open_crops(session, work.tools.vault, chunk)
        guesses = work.tools.learning.guess(weights, [crop for _, crop in opened])
        with work.transaction() as session:
            for (face_id, _), guess in zip(opened, guesses, strict=True):
                written += _write(
                    session,
                    vault=work.tools.vault,
                    model_id=model_id,
                    face_id=face_id,
                    guess=guess,
                )
        work.report(min(start + CHUNK, len(wanted)), len(wanted))
    return {"faces": written}


def open_weights(vault: Vault, blob: str | None) -> bytes | None:
    """A model's weights; ``None`` stands for the network that the package brings."""
    return None if blob is None else b"".join(vault.open_archive(purpose="model", blob=blob))


def open_embedding(vault: Vault, *, prediction: Prediction, subject: Subject) -> bytes:
    """The embedding of a face: float16, little-endian."""
    text = vault.open_field(
        subject=subject.uid,
        key=consent.key_of(vault, subject),
        table="predictions",
        column="embedding",
        row=embedding_row(prediction.model_id, prediction.face_id),
        sealed=prediction.sealed_embedding,
    )
    return base64.b64decode(text)


def _unseen(session: Session, *, dataset_id: int, model_id: int) -> list[int]:
    seen = select(Prediction.id).where(
        Prediction.face_id == Face.id, Prediction.model_id == model_id
    )
    return list(
        session.scalars(
            select(Face.id)
            .join(Subject, Subject.id == Face.subject_id)
            .join(Image, Image.id == Face.image_id)
            .where(
                Face.dataset_id == dataset_id,
                Image.state == "ready",
                ~seen.exists(),
                consent.allowing("prelabel", now()),
            )
            .order_by(Face.id)
        )
    )


def _open_crops(session: Session, vault: Vault, face_ids: Sequence[int]) -> list[tuple[int, bytes]]:
    rows = session.execute(
        select(Face, Subject)
        .join(Subject, Subject.id == Face.subject_id)
        .where(Face.id.in_(face_ids), consent.allowing("prelabel", now()))
        .order_by(Face.id)
    )
    return [(face.id, _open_crop(session, vault, face, subject)) for face, subject in rows]


def _open_crop(session: Session, vault: Vault, face: Face, subject: Subject) -> bytes:
    try:
        return vault.open_blob(
            subject=subject.uid,
            key=consent.key_of(vault, subject),
            blob=face.crop_blob,
            kind="crop",
        )
    except (KeyDestroyed, NotFound):  # the key was renewed since the rows were read
        session.refresh(subject)
        session.refresh(face)
    return vault.open_blob(
        subject=subject.uid, key=consent.key_of(vault, subject), blob=face.crop_blob, kind="crop"
    )


def _write(
    session: Session,
    *,
    vault: Vault,
    model_id: int,
    face_id: int,
    guess: Guess,
) -> bool:
    known = session.scalar(
        select(Prediction.id).where(Prediction.face_id == face_id, Prediction.model_id == model_id)
    )
    face = session.get(Face, face_id)
    if known is not None or face is None:
        return False
    try:
        key = consent.hold_key(session, vault=vault, subject=face.subject)
    except KeyDestroyed:
        return False  # withdrawn while the model was looking
    if consent.allowed(session, subject=face.subject, purpose="prelabel") is None:
        return False
    sealed = vault.seal_field(
        subject=face.subject.uid,
        key=key,
        table="predictions",
        column="embedding",
        row=embedding_row(model_id, face_id),
        text=base64.b64encode(guess.embedding).decode(),
    )
    session.add(
        Prediction(
            face_id=face_id,
            model_id=model_id,
            label=guess.label,
            probability=guess.probability,
            probabilities=guess.probabilities,
            sealed_embedding=sealed,
        )
    )
    return True


def embedding_row(model_id: int, face_id: int) -> str:
    """How the seal of an embedding names its row, whose number is not known yet."""
    return f"{model_id}/{face_id}"
