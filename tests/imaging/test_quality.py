import cv2
import numpy as np
import pytest

from annotator.imaging.faces import detect_faces
from annotator.imaging.quality import estimate_pose, measure
from annotator.imaging.scenes import draw_portrait

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


FRONTAL = ((30.0, 40.0), (70.0, 40.0), (50.0, 60.0), (36.0, 80.0), (64.0, 80.0))


def turned(degrees: float) -> list[tuple[float, float]]:
    """The frontal landmarks, turned anticlockwise as one sees it in a picture."""
    factor = np.exp(-1j * np.radians(degrees))
    points = [(x + 1j * y) * factor for x, y in FRONTAL]
    return [(float(point.real), float(point.imag)) for point in points]


@pytest.mark.parametrize("degrees", [-60, -10, 0, 25, 90, 170])
def test_roll_is_the_tilt_of_the_eyes_and_leaves_yaw_alone(degrees: float) -> None:
    pose = estimate_pose(turned(degrees))
    assert pose is not None
    assert pose["roll"] == pytest.approx(degrees)
    assert pose["yaw"] == pytest.approx(0, abs=1e-9)


def test_yaw_follows_the_nose_and_changes_sides_in_a_mirror() -> None:
    moved = [*FRONTAL[:2], (60.0, 60.0), *FRONTAL[3:]]
    pose = estimate_pose(moved)
    assert pose is not None
    assert pose["yaw"] == pytest.approx(0.25)
    mirrored = [(100 - x, y) for x, y in (moved[i] for i in (1, 0, 2, 4, 3))]
    pose = estimate_pose(mirrored)
    assert pose is not None
    assert pose["yaw"] == pytest.approx(-0.25)


def test_a_drawn_face_that_is_turned_by_known_angles_is_measured_so() -> None:
    portrait = draw_portrait(7, "neutral", seed=3)
    height, width = portrait.shape[:2]
    rolls = []
    for degrees in (-20, 0, 20):
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
        picture = cv2.warpAffine(portrait, matrix, (width, height), borderMode=1)
        pose = estimate_pose(detect_faces(np.asarray(picture))[0].landmarks)
        assert pose is not None
        rolls.append(pose["roll"])
    assert rolls[2] - rolls[1] == pytest.approx(20, abs=6)
    assert rolls[1] - rolls[0] == pytest.approx(20, abs=6)


def test_no_pose_without_landmarks() -> None:
    assert estimate_pose(()) is None
    assert estimate_pose([(5.0, 5.0)] * 5) is None
