"""Keeps a training resumable: the network with its optimiser, the averages, the counters."""

import json
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from annotator.ml.arrays import FloatArray
from annotator.ml.model_files import save_model
from annotator.ml.runtime import keras

NETWORK = "network.keras"
BEST = "best.keras"
STATE = "state.json"
ARRAYS = "arrays.npz"


@dataclass
class Checkpoint:
    """Where a run is, apart from the network and its optimiser.

    Attributes:
        average: running average of all weights.
        best: the average at the best epoch.
        best_loss: validation loss there, in nats.
        best_epoch: 0 before the first epoch has ended.
        temperature: fitted there.
        epoch: the last epoch that has ended.
        steps: steps in all.
        seconds: time spent in all.
    """

    average: list[FloatArray]
    best: list[FloatArray]
    best_loss: float = inf
    best_epoch: int = 0
    temperature: float = 1.0
    epoch: int = 0
    steps: int = 0
    seconds: float = 0.0

    def save(self, folder: Path, network: Any, *, best: Any, last: Any) -> None:
        """Writes everything; the state last, so that it never speaks of files yet to come."""
        folder.mkdir(parents=True, exist_ok=True)
        save_model(network, folder / NETWORK)
        save_model(best, folder / BEST)
        arrays = {f"average{i:04}": a for i, a in enumerate(self.average)}
        arrays |= {f"best{i:04}": a for i, a in enumerate(self.best)}
        partial = folder / f"partial-{ARRAYS}"
        np.savez(partial, allow_pickle=False, **arrays)
        partial.replace(folder / ARRAYS)
        plain = {k: v for k, v in vars(self).items() if k not in {"average", "best"}}
        partial = folder / f"partial-{STATE}"
        partial.write_text(json.dumps(plain | {"last": asdict(last)}, indent=1) + "\n")
        partial.replace(folder / STATE)

    @classmethod
    def load(cls, folder: Path) -> "tuple[Checkpoint, Any] | None":
        """Opens a checkpoint with its network, or returns None when there is none."""
        if not (folder / STATE).exists():
            return None
        plain = json.loads((folder / STATE).read_text())
        plain.pop("last")
        with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
            average = [arrays[name] for name in sorted(arrays) if name.startswith("average")]
            best = [arrays[name] for name in sorted(arrays) if name.startswith("best")]
        network = keras.saving.load_model(folder / NETWORK, safe_mode=True)
        return cls(average=average, best=best, **plain), network
