"""Find faces, for two purposes that need different care.

``subject``: whose face is this? A false box costs a click, so one pass with a firm threshold.
``redaction``: what must be covered? A missed face is a leak, so two scales, turned passes and a low
threshold; a false box only covers some background.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np

from annotator.imaging.centerface import STRIDE, Floats, Found, find_faces, join
from annotator.imaging.decode import UInt8Array

Point = tuple[float, float]
Box = tuple[float, float, float, float]
Purpose = Literal["subject", "redaction"]


@dataclass(frozen=True, slots=True)
class Face:
    """A detected face, in pixels of the upright picture.

    Attributes:
        box: x, y, width, height.
        landmarks: the eye at the picture's left, the eye at its right, the nose, and the corners
            of the mouth at the picture's left and right.
        score: 0 to 1, the detector's own; no probability.
    """

    box: Box
    landmarks: tuple[Point, Point, Point, Point, Point]
    score: float


class _Pass(NamedTuple):
    """One run of the network: the longer side in pixels, quarter turns, the lowest score."""

    side: int
    turns: int
    threshold: float


_PASSES: dict[Purpose, tuple[_Pass, ...]] = {
    "subject": (_Pass(960, 0, 0.35),),
    "redaction": (
        _Pass(1280, 0, 0.15),
        _Pass(640, 0, 0.15),
        _Pass(640, 1, 0.3),
        _Pass(640, 2, 0.3),
        _Pass(640, 3, 0.3),
    ),
}
# A picture smaller than this is taken for a crop of one face: it is enlarged, with a little around
# it, to the size at which most faces of 48 pixels are found (94 % of clear FER+ ones, in 10 ms).
_CROP_SIDE = 160
_CROP_CANVAS = 192
_CROP_MARGIN = 0.15
# Enlarging beyond this finds nothing new.
_MOST_ENLARGED = 3.0


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
        found = _look_at_crop(pixels, min(run.threshold for run in _PASSES[purpose]))
    else:
        found = join([_look(pixels, run) for run in _PASSES[purpose]])
    return list(_describe(found, width, height))


def _look(pixels: UInt8Array, run: _Pass) -> Found:
    """Run one pass and give its findings in pixels of the picture as it came."""
    height, width = pixels.shape[:2]
    turned = np.ascontiguousarray(np.rot90(pixels, run.turns))
    ratio = min(run.side / max(height, width), _MOST_ENLARGED)
    found = find_faces(_fit(turned, ratio, run.side), run.threshold)
    return _turn_back(_scale(found, 1 / ratio), run.turns, width, height)


def _look_at_crop(pixels: UInt8Array, threshold: float) -> Found:
    height, width = pixels.shape[:2]
    margin = round(max(height, width) * _CROP_MARGIN)
    padded = cv2.copyMakeBorder(pixels, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    ratio = _CROP_CANVAS / max(padded.shape[:2])
    found = _scale(find_faces(_fit(padded, ratio, _CROP_CANVAS), threshold), 1 / ratio)
    found.boxes[:, :2] -= margin
    return found._replace(landmarks=found.landmarks - margin)


def _fit(pixels: UInt8Array, ratio: float, side: int) -> UInt8Array:
    """Resize, and pad at the right and at the bottom to one of few shapes.

    Every shape costs a net of its own, so the sides go up in eighths of the longer one.
    """
    height, width = (max(1, round(length * ratio)) for length in pixels.shape[:2])
    method = cv2.INTER_AREA if ratio < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(pixels, (width, height), interpolation=method)
    step = -(-side // 8 // STRIDE) * STRIDE
    return np.asarray(
        cv2.copyMakeBorder(
            resized, 0, -height % step, 0, -width % step, cv2.BORDER_CONSTANT, value=(127,) * 3
        )
    )


def _scale(found: Found, ratio: float) -> Found:
    return Found(found.boxes * ratio, found.landmarks * ratio, found.scores)


def _turn_back(found: Found, turns: int, width: int, height: int) -> Found:
    """Undo ``turns`` quarter turns (anticlockwise) of a picture that was width x height."""
    corners = np.stack([found.boxes[:, :2], found.boxes[:, :2] + found.boxes[:, 2:]], axis=1)
    corners = _turn_points(corners, turns, width, height)
    low, high = corners.min(axis=1), corners.max(axis=1)
    boxes = np.concatenate([low, high - low], axis=1)
    return Found(boxes, _turn_points(found.landmarks, turns, width, height), found.scores)


def _turn_points(points: Floats, turns: int, width: int, height: int) -> Floats:
    xs, ys = points[..., 0], points[..., 1]
    if turns == 1:
        xs, ys = width - ys, xs
    elif turns == 2:  # noqa: PLR2004  (half a turn)
        xs, ys = width - xs, height - ys
    elif turns == 3:  # noqa: PLR2004  (three quarters)
        xs, ys = ys, height - xs
    return np.stack([xs, ys], axis=-1)


def _describe(found: Found, width: int, height: int) -> Iterator[Face]:
    for box, marks, score in zip(*(part.tolist() for part in found), strict=True):
        left, top = max(0.0, box[0]), max(0.0, box[1])
        right, bottom = min(float(width), box[0] + box[2]), min(float(height), box[1] + box[3])
        if right > left and bottom > top:
            one, two, three, four, five = ((x, y) for x, y in marks)
            yield Face(
                (left, top, right - left, bottom - top), (one, two, three, four, five), score
            )
