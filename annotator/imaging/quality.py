"""How good is a crop for labelling?"""

from collections.abc import Sequence
from typing import TypedDict

import cv2
import numpy as np

from annotator.imaging.decode import UInt8Array, to_grey


class Quality(TypedDict):
    """Measures of one crop.

    Attributes:
        size: the shorter side, in pixels.
        blur: the variance of the Laplacian of the crop at 48 pixels (Pech-Pacheco and others, ICPR
            2000); small means blurred.
        exposure: the mean brightness, 0 (black) to 1 (white).
        contrast: the standard deviation of the brightness, 0 to 0.5.
    """

    size: int
    blur: float
    exposure: float
    contrast: float


class Pose(TypedDict):
    """How a face is held, as five landmarks tell.

    Attributes:
        roll: degrees by which the eyes' line is tilted, anticlockwise; 0 is upright.
        yaw: how far the nose is from the line between the middles of eyes and mouth, across that
            line and as a share of the distance of the eyes: 0 is frontal, beyond about 0.25 is half
            a profile; above 0 the nose points to the picture's right.
    """

    roll: float
    yaw: float


_SIDE = 48
_LANDMARKS = 5


def measure(crop: UInt8Array) -> Quality:
    """Measure a crop of a face.

    Args:
        crop: uint8, RGB (height, width, 3) or grey (height, width).
    """
    grey = to_grey(crop)
    # At one size for all, or the measure would mostly tell the size.
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return Quality(
        size=min(grey.shape),
        blur=float(cv2.Laplacian(small, cv2.CV_64F).var()),
        exposure=float(np.mean(grey)) / 255,
        contrast=float(np.std(grey)) / 255,
    )


def estimate_pose(landmarks: Sequence[tuple[float, float]]) -> Pose | None:
    """Estimate how a face is held.

    Args:
        landmarks: those of ``annotator.imaging.faces.Face``.

    Returns:
        The pose; None without five landmarks, or where the eyes lie on one spot.
    """
    if len(landmarks) != _LANDMARKS:
        return None
    left, right, nose, mouth_left, mouth_right = np.asarray(landmarks, float)
    eyes = right - left
    distance = float(np.hypot(*eyes))
    if distance == 0:
        return None
    along = eyes / distance
    down = np.array([-along[1], along[0]])
    brow, mouth = (left + right) / 2, (mouth_left + mouth_right) / 2
    depth = float((mouth - brow) @ down)
    # Where the line between the two middles is at the nose's height: a tilted mouth moves it.
    share = float((nose - brow) @ down) / depth if depth > 0 else 0.0
    offset = float((nose - brow - share * (mouth - brow)) @ along)
    return Pose(roll=float(np.degrees(np.arctan2(-eyes[1], eyes[0]))), yaw=offset / distance)
