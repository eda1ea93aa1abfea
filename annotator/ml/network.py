"""The network: a small residual CNN with squeeze-and-excitation for 48x48 grey faces.

Residual blocks: He et al., CVPR 2016. Squeeze-and-excitation: Hu et al., CVPR 2018. Temperature
scaling: Guo et al., ICML 2017. Only Keras's own layers are used, so that a saved model opens in
Keras's safe mode.
"""

import re
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from annotator.core.errors import InvalidInput
from annotator.ml.arrays import CLASSES, SIDE, FloatArray, UInt8Array
from annotator.ml.runtime import keras

PROBABILITIES = "probabilities"
EMBEDDING = "embedding"
STANDARDISE = "standardise"
TEMPERATURE = "temperature"
CORE = "core"
BLOCK = re.compile(r"stage(\d+)_block(\d+)_b_conv")
FLATNESS = 1.0
"""Added to a crop's variance (in grey levels squared), so that a flat crop becomes zeros."""


@dataclass(frozen=True)
class Shape:
    """What is free in the network.

    Attributes:
        widths: channels of each stage; a stage halves the resolution of the one before.
        blocks: residual blocks in each stage.
        dropout: share of the embedding that is dropped in training.
    """

    widths: tuple[int, ...] = (32, 64, 128)
    blocks: tuple[int, ...] = (2, 2, 2)
    dropout: float = 0.3


@dataclass
class _Builder:
    """Layers with fixed names and seeds; no global random state is touched."""

    policy: str
    seed: int
    numbers: Any = field(default_factory=count)

    def init(self) -> Any:
        return keras.initializers.HeNormal(seed=self.seed * 1000 + next(self.numbers))

    def conv(self, x: Any, channels: int, size: int, name: str, strides: int = 1) -> Any:
        x = keras.layers.Conv2D(
            channels,
            size,
            strides=strides,
            padding="same",
            use_bias=False,
            kernel_initializer=self.init(),
            dtype=self.policy,
            name=f"{name}_conv",
        )(x)
        return keras.layers.BatchNormalization(
            momentum=0.95, dtype=self.policy, name=f"{name}_norm"
        )(x)

    def relu(self, x: Any, name: str) -> Any:
        return keras.layers.ReLU(dtype=self.policy, name=f"{name}_relu")(x)

    def dense(self, x: Any, units: int, activation: str | None, name: str) -> Any:
        return keras.layers.Dense(
            units,
            activation=activation,
            kernel_initializer=self.init(),
            dtype=self.policy,
            name=name,
        )(x)

    def gate(self, x: Any, name: str) -> Any:
        """Squeeze-and-excitation: each channel times a factor from the means of all."""
        channels = x.shape[-1]
        g = keras.layers.GlobalAveragePooling2D(
            keepdims=True, dtype=self.policy, name=f"{name}_squeeze"
        )(x)
        g = self.dense(g, max(channels // 8, 4), "relu", f"{name}_reduce")
        g = self.dense(g, channels, "sigmoid", f"{name}_excite")
        return keras.layers.Multiply(dtype=self.policy, name=f"{name}_scale")([x, g])

    def block(self, x: Any, channels: int, strides: int, name: str) -> Any:
        y = self.relu(self.conv(x, channels, 3, f"{name}_a", strides), f"{name}_a")
        y = self.gate(self.conv(y, channels, 3, f"{name}_b"), name)
        if strides != 1:
            x = keras.layers.AveragePooling2D(
                strides, padding="same", dtype=self.policy, name=f"{name}_pool"
            )(x)
        if x.shape[-1] != channels:
            x = self.conv(x, channels, 1, f"{name}_skip")
        x = keras.layers.Add(dtype=self.policy, name=f"{name}_add")([x, y])
        return self.relu(x, name)


def build_network(shape: Shape, *, seed: int, policy: str = "float32") -> Any:
    """Builds the network that is trained: standardised crops of any size to logits.

    Args:
        shape: widths and depths.
        seed: fixes the first weights and the dropout.
        policy: a Keras dtype policy; ``mixed_bfloat16`` is quicker where the CPU has bfloat16.

    Returns:
        A Keras model, float32 (N, S, S, 1) to float32 logits (N, 8).
    """
    make = _Builder(policy=policy, seed=seed)
    inputs = keras.Input((None, None, 1), name="standardised")
    x = make.relu(make.conv(inputs, shape.widths[0], 5, "stem", 2), "stem")
    for stage, (width, blocks) in enumerate(zip(shape.widths, shape.blocks, strict=True)):
        for number in range(blocks):
            strides = 2 if stage and number == 0 else 1
            x = make.block(x, width, strides, f"stage{stage}_block{number}")
    x = keras.layers.GlobalAveragePooling2D(dtype="float32", name=EMBEDDING)(x)
    x = keras.layers.Dropout(shape.dropout, seed=seed, dtype="float32", name="dropout")(x)
    logits = keras.layers.Dense(
        CLASSES,
        kernel_initializer=keras.initializers.GlorotUniform(seed=seed * 1000 + 999),
        dtype="float32",
        name="logits",
    )(x)
    return keras.Model(inputs, logits, name="annotator_core")


def build_classifier(shape: Shape, weights: list[FloatArray], *, temperature: float) -> Any:
    """Builds the float32 model that is saved: raw crops to probabilities and embedding.

    Args:
        shape: the shape of the trained network.
        weights: what ``get_weights()`` of the trained network gave, in its order.
        temperature: divides the logits, above 0.

    Returns:
        A Keras model, grey levels (N, 48, 48, 1) to ``{"probabilities", "embedding"}``.
    """
    core = build_network(shape, seed=0)
    core.set_weights(weights)
    body = keras.Model(core.inputs, [core.output, core.get_layer(EMBEDDING).output], name=CORE)
    inputs = keras.Input((SIDE, SIDE, 1), name="grey")
    x = keras.layers.LayerNormalization(
        axis=(1, 2, 3), epsilon=FLATNESS, center=False, scale=False, name=STANDARDISE
    )(inputs)
    logits, embedding = body(x)
    logits = keras.layers.Rescaling(1 / temperature, name=TEMPERATURE)(logits)
    probabilities = keras.layers.Softmax(name=PROBABILITIES)(logits)
    return keras.Model(
        inputs, {PROBABILITIES: probabilities, EMBEDDING: embedding}, name="annotator_cnn"
    )


def standardise(crops: UInt8Array | FloatArray) -> FloatArray:
    """Gives every crop mean 0 and standard deviation 1, as the saved model's first layer does.

    Args:
        crops: grey levels 0 to 255, (N, S, S).

    Returns:
        float32 (N, S, S, 1).
    """
    x = crops.astype("float32")
    x -= x.mean(axis=(1, 2), keepdims=True)
    x /= (x.var(axis=(1, 2), keepdims=True) + FLATNESS) ** 0.5
    return x[..., None]


def open_core(classifier: Any) -> tuple[Shape, Any]:
    """Takes the trainable part out of a saved model.

    Args:
        classifier: what ``build_classifier`` made, perhaps saved and opened since.

    Returns:
        Its shape, and the part from standardised crops to logits and embedding.

    Raises:
        InvalidInput: it is a model of another make.
    """
    try:
        core = classifier.get_layer(CORE)
        filters = {
            (int(match[1]), int(match[2])): layer.filters
            for layer in core.layers
            if (match := BLOCK.fullmatch(layer.name))
        }
        stages = range(max(stage for stage, _ in filters) + 1)
        shape = Shape(
            widths=tuple(filters[stage, 0] for stage in stages),
            blocks=tuple(sum(key[0] == stage for key in filters) for stage in stages),
            dropout=core.get_layer("dropout").rate,
        )
    except (ValueError, KeyError, AttributeError) as error:
        raise InvalidInput("This model cannot be trained further; train a new one.") from error
    return shape, core


def copy_weights(source: Any, target: Any) -> None:
    """Copies the weights layer by layer, by name, for two models may order them differently."""
    for layer in target.layers:
        layer.set_weights(source.get_layer(layer.name).get_weights())
