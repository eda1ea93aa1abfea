"""Keeps a training resumable: every variable, the averages, the counters. Numbers only."""

import json
from dataclasses import asdict, dataclass, fields
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from annotator.core.errors import InvalidInput
from annotator.ml.arrays import FloatArray
from annotator.ml.model_files import save_model

BEST = "best.keras"
STATE = "state.json"
ARRAYS = "arrays.npz"
GROUPS = ("average", "best", "variables")


@dataclass
class Checkpoint:
    """Where a run is.

    Attributes:
        average: running average of all weights.
        best: the average at the best epoch.
        variables: of network and optimiser, filled when it is saved.
        best_loss: validation loss at the best epoch, in nats.
        best_epoch: 0 before the first epoch has ended.
        temperature: fitted there.
        epoch: the last epoch that has ended.
        steps: steps in all.
        seconds: time spent in all.
    """

    average: list[FloatArray]
    best: list[FloatArray]
    variables: list[FloatArray]
    best_loss: float = inf
    best_epoch: int = 0
    temperature: float = 1.0
    epoch: int = 0
    steps: int = 0
    seconds: float = 0.0

    def save(self, folder: Path, network: Any, *, best: Any, last: Any) -> None:
        """Writes everything in place of the checkpoint before; the counters come last.

        Args:
            folder: made when it is missing.
            network: compiled, with an optimiser that is built.
            best: the best classifier so far, saved beside for whoever cannot wait.
            last: a dataclass with what was measured last.
        """
        folder.mkdir(parents=True, exist_ok=True)
        save_model(best, folder / BEST)
        self.variables = [variable.numpy() for variable in _variables(network)]
        arrays = {
            f"{group}{i:04}": array
            for group in GROUPS
            for i, array in enumerate(getattr(self, group))
        }
        # The epoch is in the name, so that counters and arrays of two epochs never meet.
        np.savez(folder / f"{self.epoch}-{ARRAYS}", allow_pickle=False, **arrays)
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in GROUPS}
        partial = folder / f"partial-{STATE}"
        partial.write_text(json.dumps(plain | {"last": asdict(last)}, indent=1) + "\n")
        partial.replace(folder / STATE)
        for old in folder.glob(f"*-{ARRAYS}"):
            if old.name != f"{self.epoch}-{ARRAYS}":
                old.unlink()

    @classmethod
    def load(cls, folder: Path) -> "Checkpoint | None":
        """Opens a checkpoint, or returns None when there is none."""
        if not (folder / STATE).exists():
            return None
        plain = json.loads((folder / STATE).read_text())
        plain.pop("last")
        with np.load(folder / f"{plain['epoch']}-{ARRAYS}", allow_pickle=False) as arrays:
            groups: dict[str, Any] = {
                group: [arrays[name] for name in sorted(arrays) if name.startswith(group)]
                for group in GROUPS
            }
        return cls(**(groups | plain))

    def restore(self, network: Any) -> None:
        """Sets every variable of a network of the same make and of its optimiser.

        Raises:
            InvalidInput: the checkpoint is of another network.
        """
        variables = _variables(network)
        if [v.shape for v in variables] != [array.shape for array in self.variables]:
            raise InvalidInput("The checkpoint is of another network; start anew.")
        for variable, array in zip(variables, self.variables, strict=True):
            variable.assign(array)


def _variables(network: Any) -> list[Any]:
    """Weights, the state of the dropout's chance, and the optimiser's memory."""
    layers = [variable for layer in network.layers for variable in layer.variables]
    return [*layers, *network.optimizer.variables]
