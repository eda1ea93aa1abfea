"""Measures of a classifier and of the difference between two.

Targets are vote distributions. A row may sum to less than 1: what is missing went to labels that
are no emotion (unknown, not a face). The majority rule is that of FER+ (Barsoum et al., ICMI
2016): a class counts as a face's label when it holds more than half of the votes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from annotator.core.emotions import EMOTION_NAMES
from annotator.core.errors import InvalidInput
from annotator.ml.arrays import CLASSES, FloatArray, IntArray, check_probabilities

BINS = 15
EPSILON = 1e-7
FEWEST_COMPARED = 20
"""Faces below which no model counts as better than another."""


def soften(votes: npt.NDArray[Any]) -> FloatArray:
    """Turns FER+ votes into targets: single votes removed, then the share of each emotion.

    Args:
        votes: counts (N, 10) in the order of ``LABEL_NAMES``.

    Returns:
        float32 (N, 8); a row sums to 1 less the share of unknown and not-a-face.
    """
    kept = np.where(votes > 1, votes, 0).astype(np.float32)
    total = np.maximum(kept.sum(axis=1, keepdims=True), 1)
    shares: FloatArray = (kept / total)[:, :CLASSES]
    return shares


def majority(votes: npt.NDArray[Any]) -> IntArray:
    """Gives the majority emotion of FER+ votes.

    A single vote for a class is removed as an outlier; the top class must then hold more than
    half of the votes left and be one of the eight emotions.

    Args:
        votes: counts (N, 10) in the order of ``LABEL_NAMES``.

    Returns:
        int32 (N,), -1 where there is no majority.
    """
    return majority_of(soften(votes))


def majority_of(targets: npt.NDArray[Any]) -> IntArray:
    """Gives the class with more than half of each row of targets (N, 8), else -1; int32 (N,)."""
    # A little more than half, for shares that were rounded to float32.
    counted = targets.max(axis=1, initial=0) > 0.5 + 1e-6
    return np.where(counted, targets.argmax(axis=1), -1).astype(np.int32)


def evaluate(probabilities: npt.NDArray[Any], targets: npt.NDArray[Any]) -> dict[str, Any]:
    """Measures a classifier by the FER+ majority protocol.

    Args:
        probabilities: (N, 8).
        targets: vote distributions (N, 8).

    Returns:
        Plain numbers, fit for JSON. Over the ``n`` faces that have a majority label:
        ``accuracy``; ``macro_f1``, the mean F1 of the classes that occur; ``ece``, the expected
        calibration error in 15 equal bins (Guo et al., ICML 2017); ``confusion``, counts with the
        true class in rows; ``per_class`` with recall, precision and support (None where nothing
        can be divided). Over all faces with a vote for an emotion: ``kl``, the mean divergence
        of the prediction from the votes in nats. All are 0 when there is no face to measure.

    Raises:
        InvalidInput: arrays that do not fit each other.
    """
    probabilities, targets, labels = _check(probabilities, targets)
    counted = labels >= 0
    confusion = np.zeros((CLASSES, CLASSES), np.int64)
    np.add.at(confusion, (labels[counted], probabilities.argmax(axis=1)[counted]), 1)
    hits, support, claimed = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    seen = support + claimed > 0
    f1 = 2 * hits[seen] / (support + claimed)[seen]
    return {
        "n": int(counted.sum()),
        "accuracy": float(hits.sum() / max(counted.sum(), 1)),
        "macro_f1": float(f1.mean()) if seen.any() else 0.0,
        "ece": calibration_error(probabilities[counted], labels[counted]),
        "kl": divergence(probabilities, targets),
        "per_class": {
            name: {
                "recall": _share(hits[i], support[i]),
                "precision": _share(hits[i], claimed[i]),
                "support": int(support[i]),
            }
            for i, name in enumerate(EMOTION_NAMES)
        },
        "confusion": confusion.tolist(),
    }


def calibration_error(probabilities: FloatArray, labels: IntArray) -> float:
    """Expected calibration error: mean gap of confidence and accuracy over 15 equal bins."""
    if not len(labels):
        return 0.0
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))


def divergence(probabilities: FloatArray, targets: FloatArray) -> float:
    """Mean Kullback-Leibler divergence of predictions from votes, in nats."""
    voted = targets.sum(axis=1) > 0
    if not voted.any():
        return 0.0
    p = targets[voted].astype(np.float64)
    p /= p.sum(axis=1, keepdims=True)
    q = np.maximum(probabilities[voted], EPSILON)
    return float((p * (np.log(np.maximum(p, EPSILON)) - np.log(q))).sum(axis=1).mean())


def compare(
    probs_a: npt.NDArray[Any],
    probs_b: npt.NDArray[Any],
    targets: npt.NDArray[Any],
    *,
    seed: int,
    rounds: int = 2000,
) -> dict[str, Any]:
    """Tells whether a is better than b on the same faces, by a paired bootstrap.

    Each round draws as many faces with replacement and takes the difference of the accuracies
    (Efron and Tibshirani, 1993). A face can only speak for a, for b or for neither, so a draw of
    faces is a multinomial draw of those three.

    Args:
        probs_a: of the candidate, (N, 8).
        probs_b: of the other model, (N, 8).
        targets: vote distributions (N, 8).
        seed: fixes the draws.
        rounds: how many draws.

    Returns:
        ``n`` faces with a majority label, ``difference`` of accuracy (a less b), its 95 %
        ``interval`` as a list of two, ``probability`` that a beats b (ties count half), and
        ``better``: the whole interval is above 0 and there were at least 20 faces, because on
        fewer a bootstrap knows nothing of the faces that it did not see.

    Raises:
        InvalidInput: arrays that do not fit each other.
    """
    probs_a, targets, labels = _check(probs_a, targets)
    probs_b, _, _ = _check(probs_b, targets)
    counted = labels >= 0
    n = int(counted.sum())
    if not n:
        return {
            "n": 0,
            "difference": 0.0,
            "interval": [0.0, 0.0],
            "probability": 0.5,
            "better": False,
        }
    right_a = (probs_a.argmax(axis=1) == labels)[counted]
    right_b = (probs_b.argmax(axis=1) == labels)[counted]
    shares = [np.mean(right_a & ~right_b), np.mean(right_b & ~right_a)]
    draws = np.random.default_rng(seed).multinomial(n, [*shares, 1 - sum(shares)], size=rounds)
    differences = (draws[:, 0] - draws[:, 1]) / n
    low, high = np.quantile(differences, [0.025, 0.975])
    return {
        "n": n,
        "difference": float(shares[0] - shares[1]),
        "interval": [float(low), float(high)],
        "probability": float(np.mean((differences > 0) + 0.5 * (differences == 0))),
        "better": bool(low > 0 and n >= FEWEST_COMPARED),
    }


def _check(
    probabilities: npt.NDArray[Any], targets: npt.NDArray[Any]
) -> tuple[FloatArray, FloatArray, IntArray]:
    probabilities = check_probabilities(probabilities, "probabilities")
    targets = check_probabilities(targets, "targets")
    if len(probabilities) != len(targets):
        raise InvalidInput("There must be as many targets as predictions.")
    return probabilities, targets, majority_of(targets)


def _share(part: np.int64, whole: np.int64) -> float | None:
    return float(part / whole) if whole else None
