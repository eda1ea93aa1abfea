"""Small changes to face crops that leave the emotion as it is: the training sees more faces.

Mirror, rotation, scale, shift, gamma and cut-out (DeVries and Taylor, arXiv:1708.04552). All in
one warp per crop, so that it costs about a hundredth of the training step.
"""

import cv2
import numpy as np

from annotator.ml.arrays import SIDE, FloatArray, UInt8Array
from annotator.ml.network import standardise

TURN_DEGREES = 12.0
SCALE = 0.12
SHIFT = 0.08
GAMMA = 0.35
CUT_OUT = 0.25
CUT_OUT_CHANCE = 0.5


def augment(crops: UInt8Array, rng: np.random.Generator, *, side: int = SIDE) -> FloatArray:
    """Changes each crop a little and standardises it.

    Args:
        crops: uint8 (N, 48, 48).
        rng: the only source of chance.
        side: width and height of the result in pixels; smaller is quicker to train on.

    Returns:
        float32 (N, side, side, 1), mean 0 and standard deviation 1 before the cut-out.
    """
    warped = np.empty((len(crops), side, side), np.float32)
    gammas = np.exp(rng.normal(0, GAMMA, len(crops)).clip(-0.8, 0.8))
    tables = (255 * np.linspace(0, 1, 256) ** gammas[:, None]).astype(np.float32)
    for i, matrix in enumerate(_random_affines(rng, len(crops), side)):
        cv2.warpAffine(
            tables[i][crops[i]],
            matrix,
            (side, side),
            dst=warped[i],
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    return _cut_out(standardise(warped), rng)


def _random_affines(rng: np.random.Generator, n: int, side: int) -> FloatArray:
    """Matrices (n, 2, 3) from a crop's pixels to the result's, about both centres."""
    angles = np.deg2rad(rng.uniform(-TURN_DEGREES, TURN_DEGREES, n))
    zooms = side / SIDE * np.exp(rng.uniform(-SCALE, SCALE, (n, 2)))
    zooms[:, 0] *= rng.choice([-1, 1], n)
    sines, cosines = np.sin(angles), np.cos(angles)
    turns = np.stack([np.stack([cosines, -sines], 1), np.stack([sines, cosines], 1)], 1)
    linear = turns * zooms[:, None, :]
    targets = (side - 1) / 2 + rng.uniform(-SHIFT, SHIFT, (n, 2)) * side
    offsets = targets - linear.sum(axis=2) * (SIDE - 1) / 2
    result: FloatArray = np.concatenate([linear, offsets[..., None]], axis=2).astype(np.float32)
    return result


def _cut_out(x: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Blanks one square of half of the crops, in place."""
    side = x.shape[1]
    size = max(1, round(side * CUT_OUT))
    rows, columns = rng.integers(0, side - size + 1, (2, len(x)))
    for i in np.flatnonzero(rng.random(len(x)) < CUT_OUT_CHANCE):
        x[i, rows[i] : rows[i] + size, columns[i] : columns[i] + size] = 0
    return x
