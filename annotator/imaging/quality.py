"""How good is a crop for labelling?"""

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


_SIDE = 48


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
