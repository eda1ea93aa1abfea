"""The emotion classifier: crops in, calibrated probabilities and embeddings out."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from annotator.core.errors import InvalidInput
from annotator.ml.arrays import CLASSES, SIDE, FloatArray, UInt8Array, check_crops
from annotator.ml.model_files import FOREIGN, open_model
from annotator.ml.network import EMBEDDING, PROBABILITIES
from annotator.ml.runtime import tf

BUNDLED = Path(__file__).parent / "weights" / "cnn.keras"


class Predictions(NamedTuple):
    """What a classifier says about N faces.

    Attributes:
        probabilities: float32 (N, 8) in the order of ``EMOTION_NAMES``, calibrated; rows sum to 1.
        embeddings: float32 (N, D), the layer before the last.
    """

    probabilities: FloatArray
    embeddings: FloatArray


class Classifier:
    """An opened model.

    Attributes:
        digest: SHA-256 of the model file, hex.
        embedding_size: D.
        network: the Keras model itself, for training to go on from.
    """

    def __init__(self, network: Any, digest: str) -> None:
        self.digest = digest
        self.network = network
        self.embedding_size = int(network.output[EMBEDDING].shape[-1])
        # One graph for every number of faces; Keras's predict would trace two and cost 0.2 s more.
        self._run = tf.function(
            lambda crops: network(tf.cast(crops, tf.float32)[..., None], training=False),
            input_signature=[tf.TensorSpec((None, SIDE, SIDE), tf.uint8)],
            autograph=False,
        )

    def predict(self, crops: UInt8Array, batch_size: int = 256) -> Predictions:
        """Predicts faces.

        Args:
            crops: uint8 grey (N, 48, 48); N may be 0.
            batch_size: faces at once; bounds the memory.

        Raises:
            InvalidInput: crops of another shape or type.
        """
        check_crops(crops)
        probabilities = [np.empty((0, CLASSES), np.float32)]
        embeddings = [np.empty((0, self.embedding_size), np.float32)]
        for first in range(0, len(crops), batch_size):
            result = self._run(crops[first : first + batch_size])
            probabilities.append(result[PROBABILITIES].numpy())
            embeddings.append(result[EMBEDDING].numpy())
        return Predictions(np.concatenate(probabilities), np.concatenate(embeddings))


def load_bundled() -> Classifier:
    """Opens the model that comes with the package."""
    return load_model(BUNDLED)


def load_model(path: Path | bytes) -> Classifier:
    """Opens a model from a file or from its bytes; nothing in it is executed.

    Raises:
        InvalidInput: no such file, or not a model of this kind.
    """
    if isinstance(path, bytes):
        data = path
    else:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InvalidInput("The model file cannot be read.") from error
    network = open_model(data)
    if not _fits(network):
        raise InvalidInput(FOREIGN)
    return Classifier(network, hashlib.sha256(data).hexdigest())


def _fits(network: Any) -> bool:
    """Whether a model takes 48x48 grey and gives eight probabilities and an embedding."""
    outputs = getattr(network, "output", None)
    return (
        getattr(network, "input_shape", None) == (None, SIDE, SIDE, 1)
        and isinstance(outputs, dict)
        and set(outputs) == {PROBABILITIES, EMBEDDING}
        and outputs[PROBABILITIES].shape == (None, CLASSES)
        and outputs[EMBEDDING].shape == (None, outputs[EMBEDDING].shape[-1])
    )
