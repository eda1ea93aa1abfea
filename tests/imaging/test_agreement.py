import numpy as np
import pytest

from annotator.imaging.agreement import NARROWEST, agree
from annotator.imaging.centerface import Found


def found(*rows: tuple[float, float, float, float, float]) -> Found:
    boxes = np.asarray([row[:4] for row in rows], np.float32).reshape(-1, 4)
    marks = np.repeat(boxes[:, None, :2], 5, axis=1)
    return Found(boxes, marks, np.asarray([row[4] for row in rows], np.float32))


def test_two_faint_looks_at_one_place_are_enough_and_one_is_not() -> None:
    faint = found((10, 10, 40, 40, 0.3))
    assert len(agree([faint, found()], 0.5).scores) == 0
    together = agree([faint, found((11, 9, 40, 42, 0.3))], 0.5)
    assert together.scores.tolist() == pytest.approx([1 - 0.7 * 0.7])


def test_a_look_speaks_once_for_a_place() -> None:
    twice = found((10, 10, 40, 40, 0.3), (12, 12, 40, 40, 0.3))
    assert len(agree([twice, found()], 0.5).scores) == 0


def test_what_any_sure_look_drew_is_covered() -> None:
    joined = agree([found((10, 10, 40, 40, 0.9)), found((4, 14, 44, 44, 0.6))], 0.35)
    assert joined.boxes.tolist() == [[4, 10, 46, 48]]
    assert joined.landmarks[0, 0].tolist() == [10, 10]  # the surest look's


def test_a_faint_look_does_not_widen_what_a_sure_one_drew() -> None:
    joined = agree([found((10, 10, 40, 40, 0.9)), found((0, 0, 60, 60, 0.2))], 0.35)
    assert joined.boxes.tolist() == [[10, 10, 40, 40]]


def test_faces_apart_stay_apart_and_the_surest_comes_first() -> None:
    one = found((0, 0, 20, 20, 0.5), (50, 0, 20, 20, 0.4))
    other = found((51, 0, 20, 20, 0.6), (100, 0, 20, 20, 0.2))
    joined = agree([one, other], 0.35)
    assert joined.boxes[:, 0].tolist() == [50, 0]
    assert joined.scores.tolist() == pytest.approx([0.76, 0.5])


def test_a_narrow_box_is_widened_about_its_middle() -> None:
    (box,) = agree([found((100, 100, 20, 100, 0.9))], 0.35).boxes.tolist()
    assert box == pytest.approx([110 - 50 * NARROWEST, 100, 100 * NARROWEST, 100])
    (box,) = agree([found((100, 100, 100, 20, 0.9))], 0.35).boxes.tolist()
    assert box == pytest.approx([100, 110 - 50 * NARROWEST, 100, 100 * NARROWEST])


def test_nothing_seen_is_nothing_found() -> None:
    joined = agree([found(), found()], 0.35)
    assert joined.boxes.shape == (0, 4)
    assert joined.landmarks.shape == (0, 5, 2)
