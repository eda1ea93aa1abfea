"""Trains the CNN on vote distributions.

Soft labels as in Barsoum et al. (ICMI 2016); AdamW (Loshchilov and Hutter, ICLR 2019) with cosine
decay; a running average of the weights (Polyak and Juditsky, 1992) is what is judged and saved;
the first part of a run may use smaller pictures (progressive resizing), which is quicker.
For one seed, one machine and float32 the result is the same to the bit, unless ``hours`` ends it.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np

from annotator.core.errors import Cancelled, InvalidInput
from annotator.ml.arrays import (
    FEWEST_CLASSES,
    SIDE,
    FloatArray,
    UInt8Array,
    check_crops,
    check_probabilities,
)
from annotator.ml.augmentation import augment
from annotator.ml.calibration import cross_entropy, fit_temperature
from annotator.ml.checkpoints import Checkpoint
from annotator.ml.classifier import load_model
from annotator.ml.metrics import majority_of
from annotator.ml.model_files import pack_model
from annotator.ml.network import (
    Shape,
    build_classifier,
    build_network,
    copy_weights,
    open_core,
    standardise,
)
from annotator.ml.runtime import keras

FEWEST_FACES = 16
WARM_UP = 0.03
"""Share of the run in which the learning rate rises to its full value."""
REPORT_EVERY = 8
"""Steps between two reports of progress."""
VALID_BATCH = 256
SMALL_SIDE = 36
"""Side in pixels while the run is in its quick first part."""


@dataclass(frozen=True)
class TrainingSet:
    """Faces with the votes they got.

    Attributes:
        images: uint8 (N, 48, 48).
        targets: float32 (N, 8), the share of votes for each emotion; a row may sum to less than
            1 when some votes went to no emotion, and counts the less in training.
        weights: float32 (N,), how much each face counts, 1 for a usual one.
    """

    images: UInt8Array
    targets: FloatArray
    weights: FloatArray

    def __post_init__(self) -> None:
        """Refuses arrays that do not fit each other."""
        check_crops(self.images)
        check_probabilities(self.targets, "targets")
        if not len(self.images) == len(self.targets) == len(self.weights):
            raise InvalidInput("There must be as many targets and weights as faces.")

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class TrainingOptions:
    """How to train.

    Attributes:
        epochs: passes over the faces, at most.
        batch_size: faces in a step.
        learning_rate: at its highest; for fine-tuning a fifth of it is used.
        seed: fixes first weights, order, augmentation and dropout.
        augment: show each face a little changed every time.
        fine_tune: go on from the given model instead of from chance.
        patience: epochs without a better validation loss before the run ends early; 0 is never.
        weight_decay: of AdamW, relative to the learning rate.
        averaging: share of the old average that is kept in each step.
        small_share: share of the run that uses pictures of 36 instead of 48 pixels.
        hours: ends the run after this time and spreads the learning rate over it; None is never.
        shape: widths and depths of a new network.
        policy: Keras dtype policy of the training; the saved model is always float32.
    """

    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 2e-3
    seed: int = 0
    augment: bool = True
    fine_tune: bool = False
    patience: int = 8
    weight_decay: float = 0.05
    averaging: float = 0.998
    small_share: float = 0.0
    hours: float | None = None
    shape: Shape = field(default_factory=Shape)
    policy: str = "float32"


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        epoch: the present epoch, from 1.
        epochs: the most there will be.
        step: steps done in this epoch.
        steps: steps in an epoch.
        loss: mean training loss of this epoch so far, in nats.
        accuracy: share of this epoch's faces whose top class was right, so far.
        valid_loss: at the end of an epoch, the loss on the validation faces.
        valid_accuracy: at the end of an epoch, the accuracy there by majority label.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    valid_loss: float | None = None
    valid_accuracy: float | None = None


def train_cnn(
    train: TrainingSet,
    valid: TrainingSet,
    *,
    options: TrainingOptions,
    start: Path | bytes | None,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool] = lambda: False,
    checkpoint: Path | None = None,
) -> bytes:
    """Trains, chooses the best epoch by validation loss and calibrates there.

    Without a checkpoint nothing touches a disk: weights tell who was in the training set.

    Args:
        train: faces to learn from.
        valid: other people's faces, to choose and to calibrate.
        options: how to train.
        start: the model to go on from, a file or its bytes; used only with ``options.fine_tune``.
        on_progress: called every few steps and at the end of every epoch.
        should_stop: asked before every step.
        checkpoint: a folder for a resumable state, in the clear; a run that finds one there goes
            on from it.

    Returns:
        The bytes of a ``.keras`` file.

    Raises:
        InvalidInput: fewer than two classes, fewer than 16 faces, no validation face, or
            fine-tuning without a model.
        Cancelled: ``should_stop`` said so; the checkpoint, if any, stays.
    """
    _check_enough(train, valid)
    run = _Run.begin(train, valid, options, start, checkpoint)
    for epoch in range(run.state.epoch + 1, options.epochs + 1):
        if run.is_over():
            break
        for progress in run.learn_epoch(epoch):
            on_progress(progress)
            if should_stop():
                raise Cancelled
        on_progress(run.judge_epoch(epoch))
    return pack_model(run.best_classifier())


def _check_enough(train: TrainingSet, valid: TrainingSet) -> None:
    if len(train) < FEWEST_FACES:
        raise InvalidInput(
            f"Training needs at least {FEWEST_FACES} faces; there are only {len(train)}."
        )
    if len(np.unique(train.targets.argmax(axis=1)[train.targets.any(axis=1)])) < FEWEST_CLASSES:
        raise InvalidInput("Training needs faces of at least two different emotions.")
    if not valid.targets.any():
        raise InvalidInput("Training needs at least one labelled face to validate on.")


class _Run:
    """One training: the network that learns, the average that is judged, the best so far."""

    def __init__(
        self, train: TrainingSet, valid: TrainingSet, options: TrainingOptions, network: Any
    ) -> None:
        strength = train.weights * train.targets.sum(axis=1)
        used = np.flatnonzero(strength > 0)
        self.images = train.images[used]
        self.targets = train.targets[used] / train.targets[used].sum(axis=1, keepdims=True)
        self.strength = strength[used]
        self.valid = valid
        self.valid_x = standardise(valid.images)
        self.options = options
        self.network = network
        self.judge = build_network(options.shape, seed=options.seed)
        self.state = Checkpoint(network.get_weights(), network.get_weights(), [])
        self.folder: Path | None = None
        self.clock = time.monotonic()
        self.steps = max(1, round(len(used) / options.batch_size))
        self.sums = np.zeros(3)  # of this epoch: loss and hits times faces, and faces

    @classmethod
    def begin(
        cls,
        train: TrainingSet,
        valid: TrainingSet,
        options: TrainingOptions,
        start: Path | bytes | None,
        folder: Path | None,
    ) -> "_Run":
        """Starts anew, from a model, or from where a checkpoint ended."""
        if options.fine_tune:
            network, options = _open_start(start, options)
        else:
            network = build_network(options.shape, seed=options.seed, policy=options.policy)
        _compile(network, options)
        run = cls(train, valid, options, network)
        run.folder = folder
        resumed = Checkpoint.load(folder) if folder else None
        if resumed:
            resumed.restore(network)
            run.state = resumed
            run.clock -= resumed.seconds
        return run

    def learn_epoch(self, epoch: int) -> Iterator[Progress]:
        """Shows every face once; yields after every few steps."""
        options = self.options
        rng = np.random.default_rng([options.seed, epoch])
        order = rng.permutation(len(self.images))
        self.sums = np.zeros(3)
        # Batches of equal size: a last one of a few faces would shake the weights.
        for step, chosen in enumerate(np.array_split(order, self.steps), start=1):
            done = self.done(epoch, step)
            self.network.optimizer.learning_rate = self.rate(done)
            logs = self.network.train_on_batch(
                self.prepare(self.images[chosen], rng, done),
                self.targets[chosen],
                sample_weight=self.strength[chosen],
                return_dict=True,
            )
            self.average()
            self.sums += np.array([logs["loss"], logs["accuracy"], 1.0]) * len(chosen)
            if step % REPORT_EVERY == 0 or step == self.steps:
                loss, accuracy, _ = map(float, self.sums / self.sums[2])
                yield Progress(epoch, options.epochs, step, self.steps, loss, accuracy)

    def prepare(self, images: UInt8Array, rng: np.random.Generator, done: float) -> FloatArray:
        if not self.options.augment:
            return standardise(images)
        side = SMALL_SIDE if done < self.options.small_share else SIDE
        return augment(images, rng, side=side)

    def done(self, epoch: int, step: int) -> float:
        """Share of the run that is behind us, by the clock when it has an end by the clock."""
        if self.options.hours:
            return (time.monotonic() - self.clock) / 3600 / self.options.hours
        return ((epoch - 1) * self.steps + step) / (self.options.epochs * self.steps)

    def rate(self, done: float) -> float:
        highest = self.options.learning_rate * (0.2 if self.options.fine_tune else 1)
        return highest * min(1.0, done / WARM_UP) * (1 + cos(pi * min(done, 1.0))) / 2 + 1e-7

    def average(self) -> None:
        """Moves the running average; quicker at first, so that short runs have one too."""
        state = self.state
        state.steps += 1
        kept = min(self.options.averaging, (1 + state.steps) / (10 + state.steps))
        for mean, now in zip(state.average, self.network.get_weights(), strict=True):
            mean[...] += (1 - kept) * (now - mean)

    def judge_epoch(self, epoch: int) -> Progress:
        """Measures the average on the validation faces and keeps it when it is the best."""
        state = self.state
        self.judge.set_weights(state.average)
        logits = np.concatenate(
            [
                self.judge(self.valid_x[first : first + VALID_BATCH], training=False).numpy()
                for first in range(0, len(self.valid_x), VALID_BATCH)
            ]
        )
        loss = cross_entropy(logits, self.valid.targets)
        if loss < state.best_loss:
            state.best_loss, state.best_epoch = loss, epoch
            state.best = [mean.copy() for mean in state.average]
            state.temperature = fit_temperature(logits, self.valid.targets)
        state.epoch = epoch
        state.seconds = time.monotonic() - self.clock
        training_loss, training_accuracy, _ = map(float, self.sums / self.sums[2])
        progress = Progress(
            epoch,
            self.options.epochs,
            self.steps,
            self.steps,
            training_loss,
            training_accuracy,
            valid_loss=loss,
            valid_accuracy=_accuracy(logits, self.valid.targets),
        )
        if self.folder:
            state.save(self.folder, self.network, best=self.best_classifier(), last=progress)
        return progress

    def is_over(self) -> bool:
        """Whether the time is up or the validation loss has not fallen for long enough."""
        options, state = self.options, self.state
        if options.hours and self.done(0, 0) >= 1:
            return True
        return bool(options.patience) and state.epoch - state.best_epoch >= options.patience

    def best_classifier(self) -> Any:
        return build_classifier(
            self.options.shape, self.state.best, temperature=self.state.temperature
        )


def _open_start(
    start: Path | bytes | None, options: TrainingOptions
) -> tuple[Any, TrainingOptions]:
    """Opens the core of a saved model and takes over its shape."""
    if start is None:
        raise InvalidInput("Fine-tuning needs a model to start from.")
    shape, core = open_core(load_model(start).network)
    network = build_network(shape, seed=options.seed, policy=options.policy)
    copy_weights(core, network)
    return network, replace(options, shape=shape)


def _compile(network: Any, options: TrainingOptions) -> None:
    optimizer = keras.optimizers.AdamW(
        options.learning_rate, weight_decay=options.weight_decay, clipnorm=1.0
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    network.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        # XLA was half as quick as oneDNN's own kernels on the CPU that we measured.
        jit_compile=False,
    )
    optimizer.build(network.trainable_variables)


def _accuracy(logits: FloatArray, targets: FloatArray) -> float:
    labels = majority_of(targets)
    counted = labels >= 0
    if not counted.any():
        return 0.0
    return float((logits.argmax(axis=1) == labels)[counted].mean())
