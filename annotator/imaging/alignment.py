"""Cut faces out: upright on five landmarks, or framed as the classifier's training faces were."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from annotator.imaging.decode import UInt8Array, to_grey
from annotator.imaging.faces import Face, Point

CANONICAL: tuple[Point, ...] = ((0.31, 0.40), (0.69, 0.40), (0.5, 0.60), (0.36, 0.75), (0.66, 0.75))
"""Eyes, nose and mouth corners in an aligned crop of side 1: the median of what the detector finds
in FER+ faces, made symmetric."""

MODEL_SIDE = 48
"""The side of the classifier's input, in pixels."""

# In FER+ the detector's box is 46 of the 48 pixels high and sits in the middle.
_FRAME_OF_HEIGHT = 48 / 46
# Profiles and tilted faces have flat boxes; the frame must hold the width too.
_FRAME_OF_WIDTH = 48 / 44


def align_face(
    pixels: UInt8Array, landmarks: tuple[Point, ...] | npt.NDArray[np.float32], size: int
) -> UInt8Array:
    """Turn, scale and move a face so that its landmarks come to rest on ``CANONICAL``.

    The similarity is the least-squares one (Umeyama, IEEE TPAMI 13(4), 1991). What lies outside the
    picture repeats its edge.

    Args:
        pixels: uint8 (height, width, 3) RGB.
        landmarks: five points (x, y) in the order of ``Face.landmarks``.
        size: the side of the crop, in pixels.

    Returns:
        uint8 (size, size, 3) RGB.
    """
    source = np.asarray(landmarks, np.float64)
    return _warp(pixels, fit_similarity(source, np.asarray(CANONICAL) * size), size)


def crop_face(pixels: UInt8Array, face: Face, size: int) -> UInt8Array:
    """Cut out a face in the loose square frame of FER+, hairline to chin, not turned.

    Args:
        pixels: uint8 (height, width, 3) RGB.
        face: a face detected in ``pixels``.
        size: the side of the crop, in pixels.

    Returns:
        uint8 (size, size, 3) RGB; what lies outside the picture repeats its edge.
    """
    x, y, width, height = face.box
    side = max(height * _FRAME_OF_HEIGHT, width * _FRAME_OF_WIDTH)
    left, top = x + (width - side) / 2, y + (height - side) / 2
    scale = size / side
    # Pixel centres lie at halves: without the shift the crop would slip by half a source pixel.
    matrix = np.array(
        [
            [scale, 0.0, (0.5 - left) * scale - 0.5],
            [0.0, scale, (0.5 - top) * scale - 0.5],
        ]
    )
    return _warp(pixels, matrix, size)


def to_model_input(crop: UInt8Array) -> UInt8Array:
    """Make the classifier's input of a face crop.

    Args:
        crop: uint8, RGB (height, width, 3) or grey (height, width), of any size.

    Returns:
        uint8 (48, 48), grey.
    """
    grey = to_grey(crop)
    if grey.shape == (MODEL_SIDE, MODEL_SIDE):
        return grey
    method = cv2.INTER_AREA if min(grey.shape) > MODEL_SIDE else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(grey, (MODEL_SIDE, MODEL_SIDE), interpolation=method))


def load_model_inputs(crops: Sequence[bytes]) -> UInt8Array:
    """Make the classifier's inputs of stored crops.

    Args:
        crops: PNGs that ``encode_png`` made; uploads go through ``decode``, never here.

    Returns:
        uint8 (n, 48, 48), grey.
    """
    inputs = np.empty((len(crops), MODEL_SIDE, MODEL_SIDE), np.uint8)
    for place, crop in zip(inputs, crops, strict=True):
        pixels = cv2.imdecode(np.frombuffer(crop, np.uint8), cv2.IMREAD_COLOR_RGB)
        place[:] = to_model_input(np.asarray(pixels))
    return inputs


def fit_similarity(
    source: npt.NDArray[np.float64], target: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Fit the similarity (turn, scale, move; no mirror) that takes one point set to another.

    Args:
        source: float64 (n, 2), not all the same point.
        target: float64 (n, 2).

    Returns:
        float64 (2, 3), as OpenCV wants it.
    """
    middle, aim = source.mean(axis=0), target.mean(axis=0)
    # As complex numbers a turn with a scale is one factor, and least squares gives it at once.
    moved = (source - middle) @ (1, 1j)
    aimed = (target - aim) @ (1, 1j)
    factor = np.vdot(moved, aimed) / np.vdot(moved, moved).real
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([turn, aim - turn @ middle])


def _warp(pixels: UInt8Array, matrix: npt.NDArray[np.float64], size: int) -> UInt8Array:
    """Warp to a square; shrinks the picture first where plain sampling would skip pixels."""
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.5:  # noqa: PLR2004  (below half, bilinear sampling misses pixels)
        height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
        ratio = np.array([pixels.shape[1] / width, pixels.shape[0] / height])
        pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA))
        shift = matrix[:, :2] @ ((ratio - 1) / 2)
        matrix = np.column_stack([matrix[:, :2] * ratio, matrix[:, 2] + shift])
    warped = cv2.warpAffine(
        pixels, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(warped)
