import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

from annotator.core.emotions import EMOTION_NAMES
from annotator.core.errors import InvalidInput
from annotator.ml.metrics import compare, evaluate, majority, soften

EYE = np.eye(8, dtype=np.float32)


def votes(**named: int) -> list[int]:
    names = [*EMOTION_NAMES, "unknown", "not_a_face"]
    return [named.get(name, 0) for name in names]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (votes(happiness=10), 1),
        (votes(happiness=6, neutral=4), 1),
        (votes(happiness=5, neutral=5), -1),  # half is not more than half
        (votes(happiness=5, neutral=4, fear=1), 1),  # the single vote goes, 5 of 9 are left
        (votes(happiness=4, neutral=3, fear=2, anger=1), -1),
        (votes(neutral=3, unknown=7), -1),  # the top class is no emotion
        (votes(neutral=5, unknown=4, contempt=1), 0),
        (votes(not_a_face=10), -1),
        (votes(neutral=1, happiness=1, fear=1), -1),  # nothing is left
        (votes(), -1),
    ],
)
def test_majority_follows_the_protocol(row: list[int], expected: int) -> None:
    assert majority(np.array([row], np.uint8)).tolist() == [expected]


def test_soft_targets_leave_out_single_votes_and_what_is_no_emotion() -> None:
    targets = soften(np.array([votes(happiness=5, fear=1, unknown=4)]))

    assert targets.shape == (1, 8)
    assert targets[0, 1] == pytest.approx(5 / 9)
    assert targets.sum() == pytest.approx(5 / 9)


@given(st.lists(st.lists(st.integers(0, 10), min_size=10, max_size=10), max_size=20))
def test_majority_is_an_emotion_that_most_chose_or_none(rows: list[list[int]]) -> None:
    given_votes = np.array(rows).reshape(-1, 10)
    for row, label in zip(given_votes, majority(given_votes), strict=True):
        if label >= 0:
            assert 2 * row[label] > sum(vote for vote in row if vote > 1)


def test_figures_equal_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 6, 300)  # two classes never occur
    probabilities = rng.dirichlet(np.ones(8), 300) + EYE[truth] * 0.3
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    said = probabilities.argmax(axis=1)

    figures = evaluate(probabilities, EYE[truth])

    assert figures["n"] == 300
    assert figures["accuracy"] == pytest.approx(accuracy_score(truth, said))
    assert figures["macro_f1"] == pytest.approx(f1_score(truth, said, average="macro"))
    assert figures["confusion"] == confusion_matrix(truth, said, labels=range(8)).tolist()
    recalls = recall_score(truth, said, average=None, labels=range(6))
    precisions = precision_score(truth, said, average=None, labels=range(6))
    for i in range(6):
        measured = figures["per_class"][EMOTION_NAMES[i]]
        assert measured["recall"] == pytest.approx(recalls[i])
        assert measured["precision"] == pytest.approx(precisions[i])
        assert measured["support"] == int((truth == i).sum())
    assert figures["per_class"]["contempt"]["recall"] is None
    json.dumps(figures, allow_nan=False)


def test_calibration_error_and_divergence_by_hand() -> None:
    # Two faces with confidence 0.9, one right: a gap of 0.4. Two with 0.6, both right: 0.4 too.
    probabilities = np.zeros((4, 8))
    probabilities[:2, 0], probabilities[:2, 1] = 0.9, 0.1
    probabilities[2:, 0], probabilities[2:, 1] = 0.6, 0.4
    targets = EYE[[0, 1, 0, 0]]

    figures = evaluate(probabilities, targets)

    assert figures["ece"] == pytest.approx(0.4)
    expected = -(np.log(0.9) + np.log(0.1) + 2 * np.log(0.6)) / 4
    assert figures["kl"] == pytest.approx(expected)


def test_only_faces_with_a_majority_count_but_all_votes_do() -> None:
    targets = np.zeros((3, 8), np.float32)
    targets[0, 0] = 1
    targets[1, :2] = 0.5
    targets[2, 0] = 0.4  # the rest went to unknown

    figures = evaluate(EYE[[0, 0, 0]], targets)

    assert (figures["n"], figures["accuracy"]) == (1, 1)
    assert figures["kl"] > 1


def test_nothing_to_measure_gives_zeros() -> None:
    figures = evaluate(np.full((2, 8), 0.125), np.full((2, 8), 0.125))

    assert (figures["n"], figures["accuracy"], figures["macro_f1"], figures["ece"]) == (0, 0, 0, 0)
    assert figures["kl"] == pytest.approx(0, abs=1e-6)
    assert compare(EYE[:2], EYE[:2], np.zeros((2, 8)), seed=0)["better"] is False


def test_a_clearly_better_model_is_better_and_not_the_other_way() -> None:
    truth = EYE[np.arange(200) % 8]
    worse = truth.copy()
    worse[:30] = np.roll(truth[:30], 1, axis=1)

    forward = compare(truth, worse, truth, seed=1)
    backward = compare(worse, truth, truth, seed=1)

    assert forward["difference"] == pytest.approx(0.15)
    assert forward["interval"][0] < 0.15 < forward["interval"][1]
    assert forward["better"] is True
    assert forward["probability"] == 1
    assert backward["better"] is False
    assert backward["probability"] == 0


def test_the_interval_is_that_of_drawing_faces() -> None:
    rng = np.random.default_rng(5)
    truth = EYE[rng.integers(0, 8, 150)]
    a, b = EYE[rng.integers(0, 3, 150)], EYE[rng.integers(0, 3, 150)]
    right_a = (a * truth).sum(axis=1)
    right_b = (b * truth).sum(axis=1)
    draws = rng.integers(0, 150, (4000, 150))
    expected = np.quantile((right_a - right_b)[draws].mean(axis=1), [0.025, 0.975])

    found = compare(a, b, truth, seed=2, rounds=4000)

    np.testing.assert_allclose(found["interval"], expected, atol=0.02)
    assert found == compare(a, b, truth, seed=2, rounds=4000)
    assert found["interval"] != compare(a, b, truth, seed=3, rounds=400)["interval"]


def test_the_same_model_twice_is_no_better() -> None:
    truth = EYE[np.arange(100) % 8]
    found = compare(truth, truth, truth, seed=0)

    assert (found["difference"], found["interval"]) == (0, [0, 0])
    assert (found["probability"], found["better"]) == (0.5, False)


def test_a_handful_of_faces_proves_nothing() -> None:
    truth = EYE[np.zeros(19, int)]
    found = compare(truth, np.roll(truth, 1, axis=1), truth, seed=0)

    assert found["interval"] == [1, 1]
    assert found["better"] is False


@pytest.mark.parametrize(
    ("probabilities", "targets"),
    [
        (np.ones((2, 7)), np.ones((2, 8))),
        (np.ones((2, 8)), np.ones((3, 8))),
        (np.full((2, 8), np.nan), np.ones((2, 8))),
        (np.ones((2, 8)), -np.ones((2, 8))),
    ],
)
def test_arrays_that_do_not_fit_are_refused(probabilities: np.ndarray, targets: np.ndarray) -> None:
    with pytest.raises(InvalidInput):
        evaluate(probabilities, targets)
