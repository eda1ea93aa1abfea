"""The classical methods that the CNN is held against: SVM, nearest neighbours, decision tree.

Each learns from the principal components of the pixels or from the embeddings of a classifier.
They see hard labels and their probabilities are not calibrated. They live in memory only: they are
fitted again in seconds, so nothing is pickled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from annotator.core.errors import InvalidInput
from annotator.ml.arrays import CLASSES, FEWEST_CLASSES, FloatArray, UInt8Array, check_crops
from annotator.ml.calibration import softmax
from annotator.ml.classifier import Classifier
from annotator.ml.metrics import majority_of
from annotator.ml.network import standardise
from annotator.ml.training import TrainingSet

Kind = Literal["svm", "knn", "tree"]
COMPONENTS = 100
NEIGHBOURS = 15


@dataclass(frozen=True)
class Baseline:
    """A fitted method.

    Attributes:
        kind: which.
        features: from crops (N, 48, 48) to what the method sees, (N, F).
        model: scikit-learn's estimator.
    """

    kind: Kind
    features: Callable[[UInt8Array], FloatArray]
    model: Any

    def predict_proba(self, crops: UInt8Array) -> FloatArray:
        """Predicts faces.

        Args:
            crops: uint8 (N, 48, 48).

        Returns:
            float32 (N, 8) in the order of ``EMOTION_NAMES``; 0 for classes that it never saw.
        """
        seen = self.features(check_crops(crops))
        if self.kind == "svm":
            values = self.model.decision_function(seen)
            if values.ndim == 1:  # scikit-learn gives one column for two classes
                values = np.column_stack([-values, values])
            values = softmax(values)
        else:
            values = self.model.predict_proba(seen)
        result = np.zeros((len(crops), CLASSES), np.float32)
        result[:, self.model.classes_] = values
        return result


def fit_baseline(
    kind: Kind, train: TrainingSet, *, seed: int, classifier: Classifier | None = None
) -> Baseline:
    """Fits a method to the faces that have a majority label.

    Args:
        kind: ``svm``, ``knn`` or ``tree``.
        train: the faces; their weights count for the SVM and the tree.
        seed: fixes the principal components and the tree.
        classifier: use its embeddings; without one, the pixels.

    Raises:
        InvalidInput: an unknown kind, or fewer than two classes.
    """
    labels = majority_of(train.targets)
    kept = labels >= 0
    if len(np.unique(labels[kept])) < FEWEST_CLASSES:
        raise InvalidInput("Training needs faces of at least two different emotions.")
    features = _embed(classifier) if classifier else _pixels
    x = features(train.images[kept])
    model = _build(kind, x.shape, pixels=classifier is None, seed=seed)
    weighted = (
        {} if kind == "knn" else {f"{model.steps[-1][0]}__sample_weight": train.weights[kept]}
    )
    model.fit(x, labels[kept], **weighted)
    return Baseline(kind, features, model)


def _build(kind: Kind, shape: tuple[int, ...], *, pixels: bool, seed: int) -> Any:
    methods: dict[str, Callable[[], Any]] = {
        "svm": lambda: SVC(C=5.0),
        "knn": lambda: KNeighborsClassifier(min(NEIGHBOURS, shape[0]), weights="distance"),
        "tree": lambda: DecisionTreeClassifier(max_depth=12, min_samples_leaf=5, random_state=seed),
    }
    if kind not in methods:
        raise InvalidInput(f"There is no method '{kind}'; there are {', '.join(methods)}.")
    parts = min(COMPONENTS, *shape)
    steps = [PCA(parts, random_state=seed)] if pixels else []
    return make_pipeline(*steps, methods[kind]())


def _pixels(crops: UInt8Array) -> FloatArray:
    return standardise(crops).reshape(len(crops), -1)


def _embed(classifier: Classifier) -> Callable[[UInt8Array], FloatArray]:
    return lambda crops: classifier.predict(crops).embeddings
