"""Pixels of one picture: whose face is it, and what is kept."""

from dataclasses import dataclass
from typing import Any

from annotator.core.errors import InvalidInput
from annotator.domain.ports import Box, Detection, Pixels, SubjectKey, Tools

CONFIDENT = 0.6  # a single face with at least this score may approve its own redaction
SAME_FACE = 0.4  # intersection over union from which two boxes are one face
NO_FACE = "No face was found in this picture."


@dataclass(frozen=True, slots=True)
class Rendition:
    """A finished picture: what is stored of it from now on."""

    width: int
    height: int
    detections: list[Detection]
    face: Detection
    redacted_blob: str | None
    crop_blob: str
    quality: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Undecided:
    """A picture that a person must look at; ``blob`` is it, rebuilt from pixels and sealed."""

    width: int
    height: int
    detections: list[Detection]
    blob: str


def examine(
    tools: Tools, *, subject: str, key: SubjectKey, pixels: Pixels, approve_alone: bool
) -> Rendition | Undecided:
    """Looks for faces; finishes the picture when there is no doubt whose it is.

    Args:
        tools: imaging and vault.
        subject: the subject's uid.
        key: their wrapped key.
        pixels: the upright picture.
        approve_alone: whether one confident face needs nobody's approval.

    Raises:
        InvalidInput: no face was found.
    """
    imaging = tools.imaging
    faces = imaging.detect(pixels, "subject")
    width, height = imaging.size(pixels)
    others = _others(imaging.detect(pixels, "redaction"), faces)
    if not faces:
        raise InvalidInput(NO_FACE)
    if approve_alone and len(faces) == 1 and faces[0].score >= CONFIDENT:
        return render(tools, subject=subject, key=key, pixels=pixels, faces=faces + others, keep=0)
    blob = tools.vault.seal_blob(
        subject=subject, key=key, kind="sanitised", data=imaging.encode(pixels)
    )
    return Undecided(width, height, faces + others, blob)


def render(
    tools: Tools,
    *,
    subject: str,
    key: SubjectKey,
    pixels: Pixels,
    faces: list[Detection],
    keep: int,
) -> Rendition:
    """Covers everything but the chosen face and cuts the crop from what is left.

    Args:
        tools: imaging and vault.
        subject: the subject's uid.
        key: their wrapped key.
        pixels: the upright picture.
        faces: every face found, the chosen one among them.
        keep: index of the subject's face in ``faces``.
    """
    imaging, chosen = tools.imaging, faces[keep]
    others = [face.box for i, face in enumerate(faces) if i != keep]
    redacted = imaging.redact(pixels, chosen.box, others)
    crop = imaging.crop(redacted, chosen)
    width, height = imaging.size(pixels)

    def seal(kind: str, image: Pixels) -> str:
        return tools.vault.seal_blob(
            subject=subject, key=key, kind=kind, data=imaging.encode(image)
        )

    return Rendition(
        width=width,
        height=height,
        detections=faces,
        face=chosen,
        redacted_blob=seal("redacted", redacted),
        crop_blob=seal("crop", crop),
        quality=imaging.measure(crop),
    )


def _others(sensitive: list[Detection], faces: list[Detection]) -> list[Detection]:
    """What only the redaction thresholds found: faces that are certainly nobody's to show."""
    return [d for d in sensitive if all(overlap(d.box, face.box) < SAME_FACE for face in faces)]


def without_double(faces: list[Detection], drawn: Detection) -> list[Detection]:
    """The faces without the one that a person drew a box around, which a detector found too.

    People draw large: the detection counts as the drawn face when it is the nearest one and its
    middle lies in the drawn box. Left among the others it would be covered.
    """
    if not faces:
        return faces
    nearest = max(faces, key=lambda face: overlap(face.box, drawn.box))
    x, y, width, height = drawn.box
    middle_x, middle_y = (nearest.box[0] + nearest.box[2] / 2, nearest.box[1] + nearest.box[3] / 2)
    inside = x <= middle_x <= x + width and y <= middle_y <= y + height
    return [face for face in faces if not (inside and face is nearest)]


def overlap(one: Box, two: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(one[0] + one[2], two[0] + two[2]) - max(one[0], two[0])
    height = min(one[1] + one[3], two[1] + two[3]) - max(one[1], two[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (one[2] * one[3] + two[2] * two[3] - both)


def as_json(detection: Detection) -> dict[str, Any]:
    """A detection as ``Image.detections`` keeps it."""
    return {
        "box": [round(value, 1) for value in detection.box],
        "landmarks": [[round(x, 1), round(y, 1)] for x, y in detection.landmarks],
        "score": round(detection.score, 4),
    }


def from_json(detection: dict[str, Any]) -> Detection:
    """The detection that ``as_json`` wrote."""
    x, y, width, height = detection["box"]
    landmarks = tuple((float(a), float(b)) for a, b in detection["landmarks"])
    return Detection((x, y, width, height), landmarks, detection["score"])
