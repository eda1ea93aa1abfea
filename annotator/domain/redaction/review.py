"""Pictures that wait for a person, and what the person says."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.errors import Conflict, InvalidInput, NotFound
from annotator.domain import audit, consent, jobs
from annotator.domain.ports import Box, Vault
from annotator.domain.redaction.storing import drop_original
from annotator.models import Dataset, Image, Job


def list_waiting(session: Session, *, dataset: Dataset, limit: int = 50) -> list[Image]:
    """Pictures that wait for a person, oldest first."""
    return list(
        session.scalars(
            select(Image)
            .where(Image.dataset_id == dataset.id, Image.state == "review")
            .order_by(Image.id)
            .limit(limit)
        )
    )


def get_waiting(session: Session, *, image_id: int) -> Image:
    """One picture that waits.

    Raises:
        NotFound: there is none with this number.
        Conflict: somebody has decided on it already.
    """
    image = session.get(Image, image_id)
    if image is None:
        raise NotFound("There is no such picture.")
    if image.state != "review":
        raise Conflict("This picture has been decided on already.")
    return image


def approve(
    session: Session,
    *,
    image: Image,
    keep: int | None = None,
    box: Box | None = None,
    by: int,
) -> Job:
    """Says which face is the subject's; the worker covers the rest and destroys the original.

    Args:
        session: the open transaction.
        image: one that waits.
        keep: index of a detection.
        box: or a box drawn by hand, in pixels.
        by: who says so.

    Raises:
        InvalidInput: neither a known detection nor a box inside the picture.
    """
    if box is not None:
        arguments: dict[str, Any] = {"box": _check_box(image, box)}
    elif keep is not None and 0 <= keep < len(image.detections or []):
        arguments = {"keep": keep}
    else:
        raise InvalidInput("Choose the face of the subject, or draw a box around it.")
    image.state = "approved"
    audit.append(
        session, action="redaction.approved", actor=audit.actor_of(by), subject=image.subject
    )
    return jobs.enqueue(
        session,
        kind="redact",
        arguments={"image_id": image.id, "by": by, **arguments},
        dataset_id=image.dataset_id,
        created_by=by,
    )


def reject(session: Session, *, image: Image, by: int) -> None:
    """Says that the subject is not in the picture: the whole picture is destroyed."""
    drop_original(session, image=image)
    image.state, image.error = "rejected", "A reviewer rejected this picture."
    image.detections = None
    audit.append(
        session, action="redaction.rejected", actor=audit.actor_of(by), subject=image.subject
    )


def open_waiting(session: Session, *, vault: Vault, image: Image, by: int) -> bytes:
    """The rebuilt picture for the person who decides, as PNG; the log keeps that they looked.

    Raises:
        ConsentMissing: ``store`` was withdrawn meanwhile.
    """
    consent.require(session, subject=image.subject, purpose="store")
    if image.original_blob is None:
        raise NotFound("The original of this picture was destroyed.")
    actor = audit.actor_of(by)
    audit.append(session, action="picture.shown", actor=actor, subject=image.subject)
    return vault.open_blob(
        subject=image.subject.uid,
        key=consent.key_of(vault, image.subject),
        blob=image.original_blob,
        kind="sanitised",
    )


def _check_box(image: Image, box: Box) -> list[float]:
    x, y, width, height = (float(value) for value in box)
    inside = (
        width > 0
        and height > 0
        and x >= 0
        and y >= 0
        and x + width <= (image.width or 0)
        and y + height <= (image.height or 0)
    )
    if not inside:
        raise InvalidInput("The box must lie inside the picture.")
    return [x, y, width, height]
