"""One look of the network at a picture: enlarged or shrunk, turned, mirrored, or piece by piece.

What a look finds comes back in pixels of the picture as it came, whatever the look did to it.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from annotator.imaging.centerface import STRIDE, Found, find_faces, join
from annotator.imaging.decode import UInt8Array

Matrix = npt.NDArray[np.float64]
"""float64 (2, 3): takes points of the picture to points of the canvas, as OpenCV wants it."""


# Enlarging beyond this finds nothing new.
_MOST_ENLARGED = 3.0


class Pass(NamedTuple):
    """One look.

    Attributes:
        side: the longer side of the turned picture, in pixels of the network's input.
        threshold: the lowest score that counts, 0 to 1.
        turn: degrees, anticlockwise.
        mirrored: left and right are changed over after the turn.
        least: a picture is enlarged to no more than this side; None stands for ``side``.
        above: only pictures whose longer side is more than this are worth this look.
    """

    side: int
    threshold: float
    turn: int = 0
    mirrored: bool = False
    least: int | None = None
    above: int = 0

    def scale(self, width: float, height: float) -> float:
        """Give the factor by which a picture of this size, turned already, is scaled."""
        longer = max(width, height)
        least = self.side if self.least is None else self.least
        return min(self.side / longer, max(1.0, least / longer), _MOST_ENLARGED)


# A piece of a large picture, and what two neighbours share: a face that the cut goes through is
# whole in one of them up to that size, and larger ones are found by the looks at the whole picture.
_PIECE = 1024
_SHARED = 128
# A canvas of no more pixels stays whole; a net holds about 200 bytes for each.
_WHOLE = 900_000
_QUARTER = 90
_GREY = (127, 127, 127)


def look(pixels: UInt8Array, run: Pass) -> Found:
    """Look at a picture once.

    Args:
        pixels: uint8 (height, width, 3) RGB.
        run: how.

    Returns:
        Boxes and landmarks in pixels of the picture. The box of a face in a picture that was turned
        by less than a quarter has its middle and its sides, but stands upright.
    """
    height, width = pixels.shape[:2]
    turned_width, turned_height = _extent(width, height, run.turn)
    ratio = run.scale(turned_width, turned_height)
    matrix = _aim(width, height, run, ratio)
    shape = (max(1, round(turned_height * ratio)), max(1, round(turned_width * ratio)))
    canvas = _draw(pixels, run, ratio, shape)
    parts = [
        _shift(find_faces(pad(piece, min(run.side, _PIECE)), run.threshold), left, top, core)
        for piece, left, top, core in _cut(canvas)
    ]
    return _take_back(join(parts) if len(parts) > 1 else parts[0], matrix, run, ratio)


def scale_to(pixels: UInt8Array, ratio: float) -> UInt8Array:
    """Resize by a factor, at least to one pixel."""
    height, width = (max(1, round(length * ratio)) for length in pixels.shape[:2])
    method = cv2.INTER_AREA if ratio < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=method))


def _extent(width: int, height: int, turn: int) -> tuple[float, float]:
    """Width and height of the upright frame that holds the turned picture."""
    across, down = abs(_cos(turn)), abs(_sin(turn))
    return width * across + height * down, width * down + height * across


def _cos(turn: int) -> float:
    return round(math.cos(math.radians(turn)), 12)


def _sin(turn: int) -> float:
    return round(math.sin(math.radians(turn)), 12)


def _aim(width: int, height: int, run: Pass, ratio: float) -> Matrix:
    """Take the picture's points to the canvas: turn about the middle, mirror, scale."""
    turned_width, turned_height = _extent(width, height, run.turn)
    turn = np.array([[_cos(run.turn), _sin(run.turn)], [-_sin(run.turn), _cos(run.turn)]])
    if run.mirrored:
        turn = np.diag([-1.0, 1.0]) @ turn
    turn *= ratio
    middle = np.array([turned_width, turned_height]) * ratio / 2
    return np.column_stack([turn, middle - turn @ (width / 2, height / 2)])


def _draw(pixels: UInt8Array, run: Pass, ratio: float, shape: tuple[int, int]) -> UInt8Array:
    """Make the canvas; scales first, so that turning has few pixels to move."""
    scaled = scale_to(pixels, ratio)
    if run.turn % _QUARTER == 0:
        canvas = np.rot90(scaled, run.turn // _QUARTER)
    else:
        # What is left is the turn, and OpenCV's pixel centres lie at whole numbers, ours at halves.
        height, width = scaled.shape[:2]
        turn = np.array([[_cos(run.turn), _sin(run.turn)], [-_sin(run.turn), _cos(run.turn)]])
        middle = np.array([shape[1] - 1, shape[0] - 1]) / 2
        rest = np.column_stack([turn, middle - turn @ ((width - 1) / 2, (height - 1) / 2)])
        canvas = np.asarray(cv2.warpAffine(scaled, rest, shape[::-1], borderValue=_GREY))
    return np.ascontiguousarray(canvas[:, ::-1] if run.mirrored else canvas)


class _Core(NamedTuple):
    """The part of a piece whose faces are its own: from and to, across and down."""

    left: float
    right: float
    top: float
    bottom: float


def _cut(canvas: UInt8Array) -> Iterator[tuple[UInt8Array, int, int, _Core]]:
    """Yield the canvas, or equal pieces of it that share a margin, if it is large."""
    height, width = canvas.shape[:2]
    if height * width <= _WHOLE:
        yield canvas, 0, 0, _Core(-math.inf, math.inf, -math.inf, math.inf)
        return
    for top, bottom, up, down in _spans(height):
        for left, right, before, behind in _spans(width):
            piece = np.ascontiguousarray(canvas[top:bottom, left:right])
            yield piece, left, top, _Core(before, behind, up, down)


def _spans(length: int) -> list[tuple[int, int, float, float]]:
    """Cut a length into equal spans: start, end, and between which marks a face is this span's."""
    count = max(1, math.ceil((length - _SHARED) / (_PIECE - _SHARED)))
    size = math.ceil((length + (count - 1) * _SHARED) / count)
    starts = [min(number * (size - _SHARED), length - size) for number in range(count)]
    marks = [-math.inf, *((a + b + size) / 2 for a, b in pairwise(starts))]
    ends = [*marks[1:], math.inf]
    return [(s, s + size, a, b) for s, a, b in zip(starts, marks, ends, strict=True)]


def pad(pixels: UInt8Array, side: int) -> UInt8Array:
    """Pad at the right and at the bottom to one of few shapes.

    Every shape costs a net of its own, so the sides go up in eighths of ``side``.
    """
    height, width = pixels.shape[:2]
    step = -(-side // 8 // STRIDE) * STRIDE
    return np.asarray(
        cv2.copyMakeBorder(
            pixels, 0, -height % step, 0, -width % step, cv2.BORDER_CONSTANT, value=_GREY
        )
    )


def _shift(found: Found, left: int, top: int, core: _Core) -> Found:
    """Move a piece's findings to their place in the canvas, and keep those that are its own."""
    move = np.array([left, top], np.float32)
    boxes = found.boxes.copy()
    boxes[:, :2] += move
    middles = boxes[:, :2] + boxes[:, 2:] / 2
    own = (middles[:, 0] >= core.left) & (middles[:, 0] < core.right)
    own &= (middles[:, 1] >= core.top) & (middles[:, 1] < core.bottom)
    return Found(boxes[own], found.landmarks[own] + move, found.scores[own])


def _take_back(found: Found, matrix: Matrix, run: Pass, ratio: float) -> Found:
    """Bring findings from the canvas to the picture."""
    back = np.asarray(cv2.invertAffineTransform(matrix))
    middles = (found.boxes[:, :2] + found.boxes[:, 2:] / 2) @ back[:, :2].T + back[:, 2]
    sizes = found.boxes[:, 2:] / ratio
    if run.turn % (2 * _QUARTER) == _QUARTER:
        sizes = sizes[:, ::-1]
    boxes = np.concatenate([middles - sizes / 2, sizes], axis=1).astype(np.float32)
    marks = found.landmarks @ back[:, :2].T + back[:, 2]
    if run.mirrored:  # the eye at the mirror's left is the eye at the picture's right
        marks = marks[:, [1, 0, 2, 4, 3]]
    return Found(boxes, marks.astype(np.float32), found.scores)
