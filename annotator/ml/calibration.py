"""Temperature scaling: one number that makes a confidence mean what it says.

Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
"""

import numpy as np

from annotator.ml.arrays import FloatArray
from annotator.ml.metrics import majority_of

CANDIDATES = np.exp(np.linspace(np.log(0.2), np.log(5), 401))
"""Temperatures that are tried; neighbours differ by 0.8 %."""


def softmax(logits: FloatArray) -> FloatArray:
    """Turns logits (N, 8) into probabilities (N, 8)."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: FloatArray = raised / raised.sum(axis=1, keepdims=True)
    return result


def fit_temperature(logits: FloatArray, targets: FloatArray) -> float:
    """Finds the temperature that makes the logits likeliest.

    Against the majority label where there are any, because a confidence is read as "how likely
    is this label the one that people will agree on"; else against the vote distribution.

    Args:
        logits: (N, 8), of faces that were not trained on.
        targets: vote distributions (N, 8).

    Returns:
        A number from 0.2 to 5; below 1 the logits were too timid, above 1 too bold.
    """
    labels = majority_of(targets)
    counted = labels >= 0
    if counted.any():
        logits, targets = (
            logits[counted],
            np.eye(targets.shape[1], dtype=np.float32)[labels[counted]],
        )
    losses = [cross_entropy(logits / t, targets) for t in CANDIDATES]
    return float(CANDIDATES[int(np.argmin(losses))])


def cross_entropy(logits: FloatArray, targets: FloatArray) -> float:
    """Mean cross-entropy in nats of logits (N, 8) against targets (N, 8)."""
    top = logits.max(axis=1, keepdims=True)
    log_sum = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
    per_face = targets.sum(axis=1) * log_sum - (targets * logits).sum(axis=1)
    return float(per_face.mean())
