"""Find faces, for two purposes that need different care.

``subject``: whose face is this? A false box costs a click, so one look with a firm threshold.
``redaction``: what must be covered? A missed face is a leak, so several looks (scales, turns, a
mirror) with low thresholds that are put together; a false box only covers some background.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from annotator.imaging.agreement import agree
from annotator.imaging.centerface import Found, find_faces
from annotator.imaging.decode import UInt8Array
from annotator.imaging.passes import Pass, look, pad, scale_to

Point = tuple[float, float]
Box = tuple[float, float, float, float]
Purpose = Literal["subject", "redaction"]


@dataclass(frozen=True, slots=True)
class Face:
    """A detected face, in pixels of the upright picture.

    Attributes:
        box: x, y, width, height.
        landmarks: the eye at the picture's left, the eye at its right, the nose, and the corners
            of the mouth at the picture's left and right; none where the detector tells none.
        score: 0 to 1, the detector's own; no probability.
    """

    box: Box
    landmarks: tuple[Point, ...]
    score: float


# Recall is flat around these: see ADR 14 for the table.
_FAINT = 0.06
_SURE = 0.3
_SUBJECT = Pass(960, 0.35)
# Which way is up? These tell, and find what lies on its side.
_QUARTERS = tuple(Pass(640, _FAINT, turn) for turn in (0, 180, 90, -90))
_UPRIGHT = 0.5
# A second opinion, tilted faces, and small ones.
_DETAILS = (
    Pass(640, _FAINT, mirrored=True),
    Pass(640, _FAINT, turn=30),
    Pass(640, _FAINT, turn=-30),
    Pass(1280, _FAINT, least=960),
)
# Small faces in a large photograph, which only its full size shows.
_CLOSE = Pass(2560, _FAINT, least=1280, above=1600)

# A picture smaller than this is taken for a crop of one face: it is enlarged, with a little around
# it, to the size at which most faces of 48 pixels are found (94 % of clear FER+ ones, in 10 ms).
_CROP_SIDE = 160
_CROP_CANVAS = 192
_CROP_MARGIN = 0.15
_CROP_THRESHOLDS: dict[Purpose, float] = {"subject": 0.35, "redaction": 0.15}


def detect_faces(pixels: UInt8Array, *, purpose: Purpose = "subject") -> list[Face]:
    """Find the faces in a picture.

    Args:
        pixels: uint8 (height, width, 3) RGB, upright.
        purpose: ``subject`` for finding whose picture it is, ``redaction`` for finding everything
            that may be a face.

    Returns:
        The faces, best score first; boxes are cut to the picture.
    """
    height, width = pixels.shape[:2]
    if max(height, width) < _CROP_SIDE:
        found = _look_at_crop(pixels, _CROP_THRESHOLDS[purpose])
    elif purpose == "subject":
        found = look(pixels, _SUBJECT)
    else:
        found = agree(_look_carefully(pixels), _SURE)
    return list(_describe(found, width, height))


def _look_carefully(pixels: UInt8Array) -> list[Found]:
    """Look from all sides, and closely at the picture as it stands and as its faces stand."""
    height, width = pixels.shape[:2]
    seen = {run.turn: look(pixels, run) for run in _QUARTERS}
    ways = {0, max(seen, key=lambda turn: _count_sure(seen[turn]))}
    closer = [run for run in (*_DETAILS, _CLOSE) if max(height, width) > run.above]
    return [
        *seen.values(),
        *(look(pixels, run._replace(turn=run.turn + way)) for way in ways for run in closer),
    ]


def _count_sure(found: Found) -> float:
    """Count faces by their scores, those alone that are no accident of a strange angle."""
    return float(found.scores[found.scores > _UPRIGHT].sum())


def _look_at_crop(pixels: UInt8Array, threshold: float) -> Found:
    height, width = pixels.shape[:2]
    margin = round(max(height, width) * _CROP_MARGIN)
    padded = np.asarray(
        cv2.copyMakeBorder(pixels, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    )
    ratio = _CROP_CANVAS / max(padded.shape[:2])
    found = find_faces(pad(scale_to(padded, ratio), _CROP_CANVAS), threshold)
    boxes = found.boxes / ratio
    boxes[:, :2] -= margin
    return Found(boxes, found.landmarks / ratio - margin, found.scores)


def _describe(found: Found, width: int, height: int) -> Iterator[Face]:
    for box, marks, score in zip(*(part.tolist() for part in found), strict=True):
        left, top = max(0.0, box[0]), max(0.0, box[1])
        right, bottom = min(float(width), box[0] + box[2]), min(float(height), box[1] + box[3])
        if right > left and bottom > top:
            points = tuple((x, y) for x, y in marks)
            yield Face((left, top, right - left, bottom - top), points, score)
