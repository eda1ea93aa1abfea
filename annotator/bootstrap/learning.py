"""The learning port, filled: opens TensorFlow and scikit-learn when a worker first needs them."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotator.core.emotions import EMOTION_NAMES
from annotator.core.errors import Cancelled, InvalidInput
from annotator.domain.ports import Grouping, Guess, Imaging, Lesson

if TYPE_CHECKING:
    from annotator.ml.classifier import Classifier
    from annotator.ml.training import TrainingSet

TSNE_LEAST, TSNE_MOST = 10, 3000  # faces; PCA's plane serves the others, in a moment
KINDS = ("cnn",)
BUNDLED = Path(__file__).resolve().parent.parent / "ml" / "weights" / "cnn.keras"


class LazyLearning:
    """See ``annotator.domain.ports.Learning``."""

    def __init__(self, imaging: Imaging) -> None:
        self._imaging = imaging
        self._loaded: tuple[str, Classifier] | None = None

    def digest(self, weights: bytes | None) -> str:
        """SHA-256 of a model's weights."""
        return hashlib.sha256(BUNDLED.read_bytes() if weights is None else weights).hexdigest()

    def guess(self, weights: bytes | None, crops: Sequence[bytes]) -> list[Guess]:
        """Pre-labels and embeddings of PNG crops."""
        if not crops:
            return []
        pictures = self._imaging.model_inputs(crops)
        probabilities, embeddings = self._classifier(weights).predict(pictures)
        best = probabilities.argmax(axis=1)
        return [
            Guess(
                label=EMOTION_NAMES[top],
                probability=round(float(row[top]), 4),
                probabilities=[round(float(value), 4) for value in row],
                embedding=embedding.astype("<f2").tobytes(),
            )
            for top, row, embedding in zip(best, probabilities, embeddings, strict=True)
        ]

    def group(self, embeddings: Sequence[bytes], *, clusters: int | None, seed: int) -> Grouping:
        """k-means of embeddings, and their places on a plane."""
        import numpy as np  # noqa: PLC0415

        from annotator.ml import clustering  # noqa: PLC0415

        points = np.stack([np.frombuffer(item, "<f2").astype(np.float32) for item in embeddings])
        k = min(clusters or clustering.choose_k(len(points)), len(points))
        found = clustering.cluster_kmeans(points, k=k, seed=seed)
        project = (
            clustering.project_tsne
            if TSNE_LEAST < len(points) <= TSNE_MOST
            else clustering.project_pca
        )
        places = project(points, seed=seed)
        return Grouping(
            clusters=[int(value) for value in found.labels],
            distances=[float(value) for value in found.distances],
            places=[(float(x), float(y)) for x, y in places],
            k=found.k,
            silhouette=None if found.silhouette != found.silhouette else float(found.silhouette),
        )

    def train(
        self,
        kind: str,
        *,
        start: bytes | None,
        train: Lesson,
        valid: Lesson,
        options: dict[str, Any],
        report: Callable[[int, int, dict[str, float]], None],
    ) -> bytes:
        """Trains a model; the weights as the bytes of a Keras file, which never touch a disk.

        ``report`` gets epoch, epochs and figures; when it raises ``Cancelled`` the run ends.
        """
        from annotator.ml import training  # noqa: PLC0415

        if kind not in KINDS:
            raise InvalidInput(f"There is no model kind '{kind}'; there are {', '.join(KINDS)}.")
        stopped: list[Cancelled] = []

        def on_progress(progress: training.Progress) -> None:
            measured = {
                "loss": progress.loss,
                "accuracy": progress.accuracy,
                "valid_loss": progress.valid_loss,
                "valid_accuracy": progress.valid_accuracy,
            }
            known = {name: value for name, value in measured.items() if value is not None}
            try:
                report(progress.epoch, progress.epochs, known)
            except Cancelled as error:
                stopped.append(error)

        weights = training.train_cnn(
            self._as_set(train),
            self._as_set(valid),
            options=training.TrainingOptions(**options),
            start=BUNDLED if start is None else start,
            on_progress=on_progress,
            should_stop=lambda: bool(stopped),
        )
        if stopped:
            raise stopped[0]
        return weights

    def evaluate(
        self, weights: bytes | None, test: Lesson, against: bytes | None, *, seed: int
    ) -> dict[str, Any]:
        """Figures of a model on held-out faces, beside those of another on the same faces."""
        from annotator.ml import metrics  # noqa: PLC0415

        held_out = self._as_set(test)
        mine = self._classifier(weights).predict(held_out.images).probabilities
        theirs = self._classifier(against).predict(held_out.images).probabilities
        return {
            "candidate": metrics.evaluate(mine, held_out.targets),
            "current": metrics.evaluate(theirs, held_out.targets),
            "comparison": metrics.compare(mine, theirs, held_out.targets, seed=seed),
        }

    def _classifier(self, weights: bytes | None) -> "Classifier":
        from annotator.ml.classifier import load_bundled, load_model  # noqa: PLC0415

        digest = "bundled" if weights is None else hashlib.sha256(weights).hexdigest()
        if self._loaded is None or self._loaded[0] != digest:
            model = load_bundled() if weights is None else load_model(weights)
            self._loaded = (digest, model)
        return self._loaded[1]

    def _as_set(self, lesson: Lesson) -> "TrainingSet":
        import numpy as np  # noqa: PLC0415

        from annotator.ml.training import TrainingSet  # noqa: PLC0415

        return TrainingSet(
            images=self._imaging.model_inputs(lesson.crops),
            targets=np.asarray(lesson.targets, np.float32).reshape(-1, len(EMOTION_NAMES)),
            weights=np.asarray(lesson.weights, np.float32),
        )
