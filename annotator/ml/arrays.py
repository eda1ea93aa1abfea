"""The array types of this floor and the few checks that every entrance makes."""

from typing import Any

import numpy as np
import numpy.typing as npt

from annotator.core.emotions import EMOTION_NAMES
from annotator.core.errors import InvalidInput

FloatArray = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.int32]

SIDE = 48
"""Width and height of a face crop, in pixels."""

CLASSES = len(EMOTION_NAMES)
FEWEST_CLASSES = 2
"""Classes below which there is nothing to tell apart."""


def check_crops(crops: npt.NDArray[Any]) -> UInt8Array:
    """Returns the crops when they are uint8 of shape (N, 48, 48).

    Raises:
        InvalidInput: the shape or the type is another.
    """
    if crops.dtype != np.uint8 or crops.shape[1:] != (SIDE, SIDE):
        raise InvalidInput(
            f"Face crops must be 8-bit grey, {SIDE} x {SIDE} pixels; "
            f"these are {crops.dtype} of shape {crops.shape}."
        )
    return crops


def check_probabilities(values: npt.NDArray[Any], what: str) -> FloatArray:
    """Returns float32 (N, 8) when the values are finite, not negative and of that shape.

    Raises:
        InvalidInput: anything else; ``what`` names the array in the sentence.
    """
    if values.shape[1:] != (CLASSES,):
        raise InvalidInput(f"The {what} must have {CLASSES} columns, one for each emotion.")
    result = values.astype(np.float32, copy=False)
    if not np.isfinite(result).all() or (result < 0).any():
        raise InvalidInput(f"The {what} must be numbers from 0 to 1.")
    return result
