from collections.abc import Callable

import numpy as np
import pytest

from annotator.ml import augmentation
from annotator.ml.augmentation import augment
from annotator.ml.network import standardise
from annotator.ml.training import TrainingSet


@pytest.mark.parametrize("side", [48, 36])
def test_it_is_standardised_seeded_and_leaves_the_crops_alone(
    make_set: Callable[..., TrainingSet], side: int
) -> None:
    crops = make_set(20).images
    before = crops.copy()

    first = augment(crops, np.random.default_rng(1), side=side)
    again = augment(crops, np.random.default_rng(1), side=side)
    other = augment(crops, np.random.default_rng(2), side=side)

    assert first.shape == (20, side, side, 1)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.1
    np.testing.assert_array_equal(crops, before)
    assert abs(first.mean()) < 0.1
    assert first.std() == pytest.approx(1, abs=0.1)


def test_without_any_chance_it_changes_nothing_but_the_side(
    make_set: Callable[..., TrainingSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TURN_DEGREES", "SCALE", "SHIFT", "GAMMA", "CUT_OUT_CHANCE"):
        monkeypatch.setattr(augmentation, name, 0.0)
    crops = make_set(12).images
    plain = standardise(crops)

    result = augment(crops, np.random.default_rng(0))

    for given, changed in zip(plain, result, strict=True):
        gaps = [np.abs(changed - picture).max() for picture in (given, given[:, ::-1])]
        assert min(gaps) < 0.01  # itself or its mirror


def test_top_stays_top(make_set: Callable[..., TrainingSet]) -> None:
    train = make_set(40)
    result = augment(train.images, np.random.default_rng(0))

    brighter = result[:, :24].mean(axis=(1, 2, 3)) > result[:, 24:].mean(axis=(1, 2, 3))

    np.testing.assert_array_equal(brighter, train.targets[:, 1] == 1)


def test_a_flat_crop_becomes_zeros() -> None:
    flat = augment(np.full((3, 48, 48), 200, np.uint8), np.random.default_rng(0))
    np.testing.assert_allclose(flat, 0, atol=1e-3)
