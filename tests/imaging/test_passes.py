import math

import cv2
import numpy as np
import pytest

from annotator.imaging.alignment import crop_face
from annotator.imaging.faces import detect_faces
from annotator.imaging.passes import Pass, _cut, _spans, look, scale_to
from annotator.imaging.redaction import overlap
from annotator.imaging.scenes import draw_portrait

PORTRAIT = draw_portrait(7, "happiness", seed=3)


def small() -> np.ndarray:
    return scale_to(PORTRAIT, 0.5)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turn", [0, 30, -30, 90, 180, -90])
def test_what_a_look_finds_comes_back_in_pixels_of_the_picture(
    turn: int, *, mirrored: bool
) -> None:
    face = detect_faces(small())[0]
    # The picture is turned the other way first, so that the look sees it upright again.
    height, width = small().shape[:2]
    size = round(math.hypot(width, height))
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -turn, 1.0)
    matrix[:, 2] += size / 2 - np.array([width, height]) / 2
    turned = cv2.warpAffine(small(), matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)
    found = look(np.asarray(turned), Pass(480, 0.3, turn, mirrored))
    x, y, w, h = found.boxes[0].tolist()
    expected = matrix @ (face.box[0] + face.box[2] / 2, face.box[1] + face.box[3] / 2, 1)
    assert np.hypot(*(np.array([x + w / 2, y + h / 2]) - expected)) < face.box[3] * 0.12
    marks = np.array([matrix @ (*mark, 1) for mark in face.landmarks])
    errors = np.hypot(*(found.landmarks[0] - marks).T)
    assert errors.max() < face.box[3] * 0.15, "landmarks in another order or place"


def test_a_picture_is_enlarged_no_more_than_the_look_allows() -> None:
    assert Pass(1280, 0.1).scale(640, 480) == 2
    assert Pass(1280, 0.1, least=960).scale(640, 480) == 1.5
    assert Pass(1280, 0.1, least=960).scale(1000, 480) == 1
    assert Pass(1280, 0.1, least=960).scale(2560, 100) == 0.5
    assert Pass(1280, 0.1).scale(100, 100) == 3


@pytest.mark.parametrize("length", [900, 1024, 1025, 1920, 2560, 4000])
def test_pieces_cover_a_length_and_every_place_is_in_one_core(length: int) -> None:
    spans = _spans(length)
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    assert len({end - start for start, end, _, _ in spans}) == 1
    for place in range(0, length, 7):
        cores = [(s, e) for s, e, low, high in spans if low <= place < high]
        ((start, end),) = cores
        assert start <= place < end
        # Half of what is shared lies around every face that a piece calls its own.
        assert start == 0 or place - start >= 50
        assert end == length or end - place >= 50


def test_small_faces_in_a_large_photograph_are_found_piece_by_piece() -> None:
    canvas = np.full((1300, 1700, 3), 150, np.uint8)
    tiny = scale_to(crop_face(PORTRAIT, detect_faces(PORTRAIT)[0], 128), 36 / 128)
    places = [(x, y) for x in (30, 400, 830, 1640) for y in (40, 630, 1240)]
    for x, y in places:
        canvas[y : y + 36, x : x + 36] = tiny
    assert len(list(_cut(canvas))) == 4
    found = detect_faces(canvas, purpose="redaction")
    missed = [
        place
        for place in places
        if not any(overlap(face.box, (*place, 36.0, 36.0)) > 0.3 for face in found)
    ]
    assert missed == []
