"""Trains the CNN that comes with the package, from FER+.

``python -m annotator.ml.bundled DATA_FOLDER --out annotator/ml/weights/cnn.keras``

DATA_FOLDER holds ``train.npz`` and ``valid.npz`` with ``images`` uint8 (N, 48, 48) and ``votes``
(N, 10) in the order of ``LABEL_NAMES``. The network learns the vote distributions, the best epoch
is chosen and the temperature fitted on ``valid.npz``, and a description is written beside the
weights. A run that was ended goes on with ``--resume``.
"""

import argparse
import json
import logging
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from annotator.core.errors import InvalidInput
from annotator.ml.checkpoints import Checkpoint
from annotator.ml.classifier import BUNDLED, load_model
from annotator.ml.metrics import evaluate, soften
from annotator.ml.model_files import write_model
from annotator.ml.network import TEMPERATURE
from annotator.ml.runtime import keras, tf
from annotator.ml.training import Progress, TrainingOptions, TrainingSet, train_cnn

log = logging.getLogger(__name__)

PROTOCOL = (
    "FER+ majority on the validation split: a single vote for a class is removed, the top class "
    "must hold more than half of the votes left and be one of the eight emotions. The epoch was "
    "chosen and the temperature fitted on the same faces, so the figures are a little kind."
)
PROVENANCE = (
    "Faces of FER2013 (Goodfellow et al., 2013), found by web search without the consent of those "
    "pictured; votes of FER+ (Barsoum et al., ICMI 2016, MIT licence)."
)


def load_ferplus(path: Path) -> TrainingSet:
    """Reads one split.

    Raises:
        InvalidInput: the file is missing or is not such a split.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            images, votes = data["images"], data["votes"]
    except (OSError, ValueError, KeyError) as error:
        raise InvalidInput(f"'{path}' is not a split of FER+ with images and votes.") from error
    return TrainingSet(images, soften(votes), np.ones(len(images), np.float32))


def describe(model: Path, valid: TrainingSet, **provenance: Any) -> dict[str, Any]:
    """Measures a saved model and says where it comes from."""
    classifier = load_model(model)
    network = classifier.network
    return {
        "digest": classifier.digest,
        "bytes": model.stat().st_size,
        "parameters": network.count_params(),
        "temperature": 1 / network.get_layer(TEMPERATURE).scale,
        "figures": evaluate(classifier.predict(valid.images).probabilities, valid.targets),
        "protocol": PROTOCOL,
        "provenance": PROVENANCE,
        "versions": {"keras": keras.__version__, "tensorflow": tf.__version__},
        **provenance,
    }


def train_bundled(
    data: Path, out: Path, *, options: TrainingOptions, checkpoint: Path, resume: bool
) -> dict[str, Any]:
    """Trains, saves to ``out`` and writes the description to ``out`` with ``.json``."""
    if not resume:
        shutil.rmtree(checkpoint, ignore_errors=True)
    train, valid = load_ferplus(data / "train.npz"), load_ferplus(data / "valid.npz")
    weights = train_cnn(
        train,
        valid,
        options=options,
        start=None,
        on_progress=_report,
        checkpoint=checkpoint,
    )
    write_model(weights, out)
    state = Checkpoint.load(checkpoint)
    assert state is not None
    description = describe(
        out,
        valid,
        training_faces=len(train),
        epochs=state.epoch,
        chosen_epoch=state.best_epoch,
        hours=round(state.seconds / 3600, 2),
        seed=options.seed,
        options=asdict(options),
    )
    out.with_suffix(".json").write_text(json.dumps(description, indent=1) + "\n")
    return description


def _report(progress: Progress) -> None:
    if progress.valid_loss is not None:
        log.info(
            "epoch %d: training loss %.4f, validation loss %.4f, accuracy %.4f",
            progress.epoch,
            progress.loss,
            progress.valid_loss,
            progress.valid_accuracy,
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path, help="folder with train.npz and valid.npz")
    parser.add_argument("--out", type=Path, default=BUNDLED)
    parser.add_argument("--checkpoint", type=Path, default=Path("artifacts/cnn"))
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--hours", type=float, help="end after this time, whatever the epoch")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--policy", default="float32", help="or mixed_bfloat16 where it is quicker")
    parser.add_argument("--small-share", type=float, default=0.72)
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options = TrainingOptions(
        epochs=chosen.epochs,
        hours=chosen.hours,
        seed=chosen.seed,
        policy=chosen.policy,
        small_share=chosen.small_share,
        patience=0,
    )
    description = train_bundled(
        chosen.data,
        chosen.out,
        options=options,
        checkpoint=chosen.checkpoint,
        resume=chosen.resume,
    )
    log.info("accuracy %.4f on %d faces", *map(description["figures"].get, ("accuracy", "n")))


if __name__ == "__main__":
    main()
