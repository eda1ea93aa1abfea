"""Put several looks at one picture together so that nothing that may be a face is lost.

Two ideas, both for covering and not for counting. *Agreement*: one look that is half sure proves
little, several that are half sure of the same place prove much; so each may bring faint findings,
and a place counts when the looks together are sure enough. *The hull*: looks differ about where a
face ends, and the usual choice, the box of the surest look, loses what the others saw; covered is
what any of them drew that is nearly as sure.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from annotator.imaging.centerface import Floats, Found

SAME = 0.2
"""Boxes of two looks that overlap more (intersection over union) show the same face. Low, for a
second box on the kept face would cover the subject."""

TRUSTED = 0.5
"""A box counts for the hull if its score is at least this share of the place's best one."""

NARROWEST = 0.8
"""The shorter side of a covered box is at least this share of the longer one: a profile's box is
narrow, but the head behind it identifies too."""

Indexes = npt.NDArray[np.intp]


def agree(parts: Sequence[Found], sure: float) -> Found:
    """Join looks into one finding for each place that they hold for a face.

    Args:
        parts: what each look found, with a low threshold.
        sure: how sure the looks must be together, 0 to 1: one less the product of their doubts.

    Returns:
        The places, surest first: the hull of their boxes, the landmarks of the surest look, and the
        looks' common score.
    """
    looks = np.repeat(np.arange(len(parts)), [len(part.scores) for part in parts])
    joined = Found(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    boxes, marks, scores = [], [], []
    for group in _group(joined):
        score = _believe(joined.scores[group], looks[group])
        if score >= sure:
            trusted = group[joined.scores[group] >= TRUSTED * joined.scores[group[0]]]
            boxes.append(_widen(_hull(joined.boxes[trusted])))
            marks.append(joined.landmarks[group[0]])
            scores.append(score)
    order = np.argsort(-np.asarray(scores), kind="stable")
    return Found(
        np.asarray(boxes, np.float32).reshape(-1, 4)[order],
        np.asarray(marks, np.float32).reshape(-1, 5, 2)[order],
        np.asarray(scores, np.float32)[order],
    )


def _group(found: Found) -> Iterator[Indexes]:
    """Yield the findings of each place, its surest one first."""
    left = np.argsort(-found.scores, kind="stable")
    while left.size:
        same = _overlaps(found.boxes[left[0]], found.boxes[left]) > SAME
        same[0] = True  # a box without a size overlaps nothing, not even itself
        yield left[same]
        left = left[~same]


def _overlaps(one: Floats, others: Floats) -> Floats:
    low = np.maximum(one[:2], others[:, :2])
    high = np.minimum(one[:2] + one[2:], others[:, :2] + others[:, 2:])
    both = np.prod(np.maximum(high - low, 0), axis=1)
    either = np.prod(one[2:]) + np.prod(others[:, 2:], axis=1) - both
    return np.asarray(both / np.maximum(either, 1e-9))


def _believe(scores: Floats, looks: Indexes) -> float:
    """One less the product of the doubts of the looks; a look speaks once for a place."""
    doubt = 1.0
    for number in np.unique(looks):
        doubt *= 1.0 - float(scores[looks == number].max())
    return 1.0 - doubt


def _hull(boxes: Floats) -> Floats:
    low = boxes[:, :2].min(axis=0)
    high = (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    return np.concatenate([low, high - low])


def _widen(box: Floats) -> Floats:
    size = np.maximum(box[2:], box[2:].max() * NARROWEST)
    return np.concatenate([box[:2] - (size - box[2:]) / 2, size])
