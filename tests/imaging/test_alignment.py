import cv2
import numpy as np
import pytest

from annotator.imaging.alignment import (
    CANONICAL,
    align_face,
    crop_face,
    fit_similarity,
    to_model_input,
)
from annotator.imaging.decode import UInt8Array, to_grey
from annotator.imaging.faces import Face, detect_faces
from annotator.imaging.scenes import draw_portrait

POINTS = ((1.0, 1.0),) * 5


def smooth_noise(height: int = 200, width: int = 240) -> UInt8Array:
    rough = np.random.default_rng(2).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC))


@pytest.mark.parametrize("angle", [0, 17, -40, 180])
def test_a_known_similarity_is_found(angle: float) -> None:
    source = np.random.default_rng(angle % 7).uniform(0, 100, (5, 2))
    matrix = cv2.getRotationMatrix2D((30, 40), angle, 1.7)
    target = source @ matrix[:, :2].T + matrix[:, 2]
    assert np.allclose(fit_similarity(source, target), matrix)


def test_landmarks_come_to_rest_on_the_canonical_points() -> None:
    picture = draw_portrait(2, "neutral", seed=0)
    centre = (picture.shape[1] / 2, picture.shape[0] / 2)
    for angle in (-25, 0, 25):
        matrix = cv2.getRotationMatrix2D(centre, angle, 1.0)
        turned = cv2.warpAffine(picture, matrix, picture.shape[1::-1], borderValue=(90, 90, 90))
        found = detect_faces(turned)[0]
        again = detect_faces(align_face(turned, found.landmarks, 224))[0]
        error = np.abs(np.array(again.landmarks) / 224 - CANONICAL)
        assert error.mean() < 0.05


def test_a_crop_at_full_size_is_a_cut() -> None:
    picture = smooth_noise()
    face = Face((68.0, 42.0, 80.0, 92.0), POINTS, 1.0)
    crop = crop_face(picture, face, 96)
    assert crop.shape == (96, 96, 3)
    assert np.array_equal(crop, picture[40:136, 60:156])


def test_a_small_crop_averages_instead_of_skipping() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[::2] = 200
    crop = crop_face(stripes, Face((50, 50, 300, 300), POINTS, 1.0), 48)
    assert np.abs(crop.astype(int) - 100).max() <= 12


def test_a_crop_reaches_over_the_edge() -> None:
    crop = crop_face(np.full((50, 50, 3), 77, np.uint8), Face((0, 0, 50, 50), POINTS, 1.0), 64)
    assert (crop == 77).all()


@pytest.mark.parametrize("shape", [(224, 224, 3), (96, 96), (20, 30, 3), (48, 48)])
def test_model_input_is_grey_of_48(shape: tuple[int, ...]) -> None:
    crop = np.full(shape, 60, np.uint8)
    made = to_model_input(crop)
    assert made.shape == (48, 48)
    assert made.dtype == np.uint8
    assert (made == 60).all()


def test_a_crop_that_fits_is_left_as_it_is() -> None:
    small = to_grey(smooth_noise(48, 48))
    assert np.array_equal(to_model_input(small), small)
