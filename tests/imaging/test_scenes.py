import numpy as np
import pytest

from annotator.core.emotions import EMOTION_NAMES
from annotator.core.errors import InvalidInput, NotFound
from annotator.imaging.figures import load_people
from annotator.imaging.scenes import count_people, draw_portrait, draw_scene, list_emotions


def test_there_are_forty_people_and_more_with_the_common_emotions() -> None:
    assert count_people() >= 40
    shown = [list_emotions(person) for person in range(count_people())]
    assert all({"neutral", "happiness", "sadness", "anger"} <= set(names) for names in shown)
    assert set().union(*shown) == set(EMOTION_NAMES)


def test_no_two_people_share_a_face() -> None:
    faces = [face for looks in load_people() for face in looks.faces.values()]
    assert len({face.tobytes() for face in faces}) == len(faces)


def test_a_portrait_depends_on_its_seed_alone() -> None:
    first = draw_portrait(3, "happiness", seed=1)
    assert first.shape == (800, 640, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, draw_portrait(3, "happiness", seed=1))
    assert not np.array_equal(first, draw_portrait(3, "happiness", seed=2))


def test_a_scene_tells_where_its_faces_are() -> None:
    people = [(0, "neutral"), (1, "happiness"), (2, "anger")]
    pixels, boxes = draw_scene(people, seed=5, size=(960, 720))
    assert pixels.shape == (720, 960, 3)
    assert len(boxes) == 3
    assert np.array_equal(pixels, draw_scene(people, seed=5, size=(960, 720))[0])
    for x, y, width, height in boxes:
        assert 0 <= x < x + width <= 960
        assert 0 <= y < y + height <= 720


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(NotFound):
        draw_portrait(10_000, "neutral", seed=0)
    with pytest.raises(NotFound):
        draw_portrait(0, "boredom", seed=0)
    with pytest.raises(InvalidInput, match="8 people"):
        draw_scene([(0, "neutral")] * 9, seed=0)
    with pytest.raises(InvalidInput):
        draw_scene([], seed=0)
