import cv2
import numpy as np

from annotator.imaging.quality import measure

SHARP = np.random.default_rng(3).integers(60, 200, (96, 120, 3), dtype=np.uint8)


def test_tells_the_shorter_side() -> None:
    assert measure(SHARP)["size"] == 96


def test_a_blurred_crop_measures_lower() -> None:
    assert measure(cv2.GaussianBlur(SHARP, (0, 0), 4))["blur"] < measure(SHARP)["blur"] / 4


def test_exposure_and_contrast_follow_the_light() -> None:
    dark, flat = SHARP // 4, np.full((48, 48), 128, np.uint8)
    assert measure(dark)["exposure"] < measure(SHARP)["exposure"]
    assert measure(dark)["contrast"] < measure(SHARP)["contrast"]
    assert measure(flat)["contrast"] == 0
    assert abs(measure(flat)["exposure"] - 128 / 255) < 1e-6
