import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from annotator.ml.model_files import write_model
from annotator.ml.network import Shape
from annotator.ml.training import TrainingOptions, TrainingSet, train_cnn

TINY = Shape(widths=(8,), blocks=(1,), dropout=0.1)
"""Enough network to tell a bright top from a bright bottom."""

MakeSet = Callable[..., TrainingSet]


def bright_halves(n: int, *, seed: int = 0) -> TrainingSet:
    """Pictures that are bright at the top or at the bottom: happiness or sadness."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 100, (n, 48, 48)).astype(np.uint8)
    labels = np.where(np.arange(n) % 2, 1, 3)
    for image, label in zip(images, labels, strict=True):
        (image[:24] if label == 1 else image[24:])[...] += 120
    return TrainingSet(images, np.eye(8, dtype=np.float32)[labels], np.ones(n, np.float32))


@pytest.fixture(scope="session")
def make_set() -> MakeSet:
    return bright_halves


@pytest.fixture(scope="session")
def tiny_options() -> TrainingOptions:
    return TrainingOptions(epochs=2, batch_size=16, shape=TINY, seed=3)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that tells the two halves apart."""
    out: Path = tmp_path_factory.mktemp("trained") / "model.keras"
    options = TrainingOptions(epochs=12, batch_size=16, shape=TINY, seed=3, augment=False)
    weights = train_cnn(
        bright_halves(64),
        bright_halves(32, seed=1),
        options=options,
        start=None,
        on_progress=lambda _: None,
    )
    write_model(weights, out)
    return out


@pytest.fixture(scope="session")
def ferplus() -> Path:
    folder = os.environ.get("ANNOTATOR_TEST_DATA")
    if not folder:
        pytest.skip("ANNOTATOR_TEST_DATA names no folder with FER+")
    return Path(folder, "ferplus")
