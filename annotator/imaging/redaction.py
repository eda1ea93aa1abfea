"""Redaction by an allow list: one face stays, everything else is covered.

No detector finds every bystander, so nothing is covered because it was found: everything is covered
unless it was chosen. The cover is one constant colour, for blur and mosaic leave identity readable
to an attacker who learns from blurred faces, and even the mean colour of a face tells something.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from annotator.imaging.decode import UInt8Array
from annotator.imaging.faces import Box

KEPT = 1.3
"""The kept ellipse is this much larger than the face's box."""

COVERED = 1.3
"""Every other detection is covered this much larger than its box."""

SAME = 0.4
"""A detection that overlaps the kept box more (intersection over union) is the kept face itself."""

GREY = (128, 128, 128)


def redact(
    pixels: UInt8Array,
    *,
    keep: Box | None,
    others: Sequence[Box],
    fill: tuple[int, int, int] = GREY,
) -> UInt8Array:
    """Keep one face and cover everything else.

    Args:
        pixels: uint8 (height, width, 3) RGB, upright; left as it is.
        keep: the face's box, or None for a person who was not found: then nothing is kept.
        others: the boxes of every detection; where one reaches into the kept ellipse, it is
            covered too. Boxes that are the kept face itself (``SAME``) are passed over.
        fill: the constant colour, RGB.

    Returns:
        uint8 (height, width, 3) RGB, the same size.
    """
    mask = np.zeros(pixels.shape[:2], np.uint8)
    if keep is not None:
        _draw_ellipse(mask, keep, KEPT, 255)
    for box in others:
        if keep is not None and overlap(box, keep) > SAME:
            continue
        _draw_ellipse(mask, box, COVERED, 0)
    covered = np.full_like(pixels, fill)
    kept = mask > 0
    covered[kept] = pixels[kept]
    return covered


def overlap(one: Box, other: Box) -> float:
    """Give the intersection over union of two boxes, 0 to 1."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(0.0, width) * max(0.0, height)
    either = one[2] * one[3] + other[2] * other[3] - both
    return both / either if either > 0 else 0.0


def _draw_ellipse(mask: UInt8Array, box: Box, factor: float, value: int) -> None:
    x, y, width, height = box
    centre = (x + width / 2, y + height / 2)
    cv2.ellipse(mask, (centre, (width * factor, height * factor), 0.0), value, cv2.FILLED)
