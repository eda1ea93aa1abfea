from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from annotator.core.errors import InvalidInput
from annotator.ml.baselines import fit_baseline
from annotator.ml.classifier import load_model
from annotator.ml.training import TrainingSet

MakeSet = Callable[..., TrainingSet]


@pytest.mark.parametrize("kind", ["svm", "knn", "tree"])
@pytest.mark.parametrize("embedded", [False, True])
def test_every_method_learns(
    kind: str, make_set: MakeSet, trained: Path, *, embedded: bool
) -> None:
    classifier = load_model(trained) if embedded else None
    test = make_set(30, seed=2)

    model = fit_baseline(kind, make_set(60), seed=0, classifier=classifier)
    probabilities = model.predict_proba(test.images)

    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert not probabilities[:, [0, 2, 4, 5, 6, 7]].any()
    assert (probabilities.argmax(axis=1) == test.targets.argmax(axis=1)).mean() > 0.9


def test_three_classes_and_faces_without_majority(make_set: MakeSet) -> None:
    train = make_set(60)
    targets = train.targets.copy()
    targets[:20] = np.eye(8)[6]
    targets[20:26] = 0.125

    model = fit_baseline("svm", replace(train, targets=targets), seed=0)

    assert model.predict_proba(train.images).any(axis=0).nonzero()[0].tolist() == [1, 3, 6]


def test_bad_input_is_refused(make_set: MakeSet) -> None:
    train = make_set(20)
    one = replace(train, targets=np.tile(train.targets[:1], (20, 1)))
    with pytest.raises(InvalidInput, match="two different emotions"):
        fit_baseline("svm", one, seed=0)
    with pytest.raises(InvalidInput, match="no method 'forest'"):
        fit_baseline("forest", train, seed=0)
    with pytest.raises(InvalidInput, match="48 x 48"):
        fit_baseline("tree", train, seed=0).predict_proba(np.zeros((1, 9, 9), np.uint8))
