"""What becomes of an image's row and blobs once its pixels were looked at."""

from sqlalchemy.orm import Session

from annotator.domain import audit
from annotator.domain.redaction.rendition import Rendition, Undecided, as_json
from annotator.models import Face, Image


def accept(session: Session, *, image: Image, rendition: Rendition, actor: str) -> Face:
    """Writes a finished picture down and has the original destroyed with the commit."""
    image.width, image.height = rendition.width, rendition.height
    image.detections = [as_json(detection) for detection in rendition.detections]
    image.redacted_blob = rendition.redacted_blob
    image.state, image.error = "ready", None
    drop_original(session, image=image)
    face = Face(
        dataset_id=image.dataset_id,
        subject_id=image.subject_id,
        image_id=image.id,
        box=list(rendition.face.box),
        score=rendition.face.score,
        crop_blob=rendition.crop_blob,
        quality=rendition.quality,
    )
    session.add(face)
    session.flush()
    audit.append(session, action="image.redacted", actor=actor, subject=image.subject)
    return face


def await_review(session: Session, *, image: Image, found: Undecided) -> None:
    """Lets a picture wait for a person; the upload's own bytes are destroyed already now."""
    drop_original(session, image=image)
    image.width, image.height = found.width, found.height
    image.detections = [as_json(detection) for detection in found.detections]
    image.original_blob = found.blob
    image.state = "review"


def drop_original(session: Session, *, image: Image) -> None:
    """Has the original destroyed once the transaction is committed."""
    if image.original_blob is not None:
        session.info.setdefault("dead_blobs", []).append(image.original_blob)
        image.original_blob = None
