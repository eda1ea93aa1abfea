import numpy as np
import pytest

from annotator.ml.calibration import cross_entropy, fit_temperature, softmax
from annotator.ml.metrics import evaluate


@pytest.mark.parametrize("wrong_by", [0.4, 1.0, 3.0])
def test_it_finds_the_temperature_that_was_put_in(wrong_by: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 8))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)  # drawn from the softmax
    targets = np.eye(8, dtype=np.float32)[labels]

    found = fit_temperature(logits * wrong_by, targets)

    assert found == pytest.approx(wrong_by, rel=0.05)
    assert evaluate(softmax(logits * wrong_by / found), targets)["ece"] < 0.02


def test_without_any_majority_the_votes_decide() -> None:
    targets = np.zeros((4, 8), np.float32)
    targets[:, :2] = 0.5
    logits = np.tile([3.0, 2.0, -5, -5, -5, -5, -5, -5], (4, 1))

    tempered = softmax(logits / fit_temperature(logits, targets))

    assert tempered[0, 0] < softmax(logits)[0, 0]


def test_cross_entropy_is_that_of_the_softmax() -> None:
    rng = np.random.default_rng(1)
    logits, targets = rng.normal(size=(5, 8)), rng.dirichlet(np.ones(8), 5)

    expected = -(targets * np.log(softmax(logits))).sum(axis=1).mean()

    assert cross_entropy(logits, targets) == pytest.approx(expected)
    assert np.isfinite(cross_entropy(logits * 1e4, targets))
