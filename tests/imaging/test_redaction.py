import numpy as np
import pytest

from annotator.imaging.decode import UInt8Array
from annotator.imaging.redaction import overlap, redact

FILL = np.array([128, 128, 128])


def noise() -> UInt8Array:
    """Never as bright as the fill, so that what is covered can be told."""
    return np.random.default_rng(0).integers(0, 120, (300, 400, 3), dtype=np.uint8)


def kept(pixels: UInt8Array) -> np.ndarray:
    return (pixels != FILL).any(axis=-1)


def test_keeps_an_ellipse_around_the_face_and_nothing_else() -> None:
    picture = noise()
    before = picture.copy()
    covered = redact(picture, keep=(100, 80, 80, 100), others=[])
    assert np.array_equal(picture, before)
    rows, columns = np.mgrid[0:300, 0:400]
    distance = np.hypot((columns - 140) / (40 * 1.3), (rows - 130) / (50 * 1.3))
    assert np.array_equal(covered[distance < 0.97], picture[distance < 0.97])
    assert not kept(covered)[distance > 1.03].any()


def test_a_person_who_was_not_found_keeps_nothing() -> None:
    assert not kept(redact(noise(), keep=None, others=[(10, 10, 50, 50)])).any()


def test_a_bystander_who_reaches_into_the_ellipse_is_covered() -> None:
    covered = redact(noise(), keep=(100, 80, 80, 100), others=[(175, 90, 60, 80)])
    assert not kept(covered)[90:170, 180:230].any()
    assert kept(covered)[130, 120]


def test_the_kept_face_among_the_others_changes_nothing() -> None:
    alone = redact(noise(), keep=(100, 80, 80, 100), others=[])
    again = redact(noise(), keep=(100, 80, 80, 100), others=[(104, 78, 76, 104)])
    assert np.array_equal(alone, again)


def test_what_is_covered_tells_nothing_of_what_was_there() -> None:
    one, other = noise(), noise()
    outside = ~kept(redact(one, keep=(100, 80, 80, 100), others=[]))
    other[outside] = 255 - other[outside]
    first = redact(one, keep=(100, 80, 80, 100), others=[])
    assert np.array_equal(first, redact(other, keep=(100, 80, 80, 100), others=[]))


def test_the_fill_can_be_chosen() -> None:
    covered = redact(noise(), keep=None, others=[], fill=(1, 2, 3))
    assert (covered == [1, 2, 3]).all()


@pytest.mark.parametrize(
    ("other", "expected"), [((0, 0, 10, 10), 1.0), ((20, 0, 5, 5), 0.0), ((5, 0, 10, 10), 1 / 3)]
)
def test_overlap(other: tuple[float, float, float, float], expected: float) -> None:
    assert overlap((0, 0, 10, 10), other) == pytest.approx(expected)
