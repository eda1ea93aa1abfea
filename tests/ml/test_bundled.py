import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from annotator.core.errors import InvalidInput
from annotator.ml import bundled
from annotator.ml.classifier import load_model
from annotator.ml.training import TrainingOptions, TrainingSet


@pytest.fixture
def folder(tmp_path: Path, make_set: Callable[..., TrainingSet]) -> Path:
    """FER+ in small: ten votes a face, some of them for none of the eight."""
    for name, n in (("train", 40), ("valid", 24)):
        faces = make_set(n)
        votes = np.zeros((n, 10), np.uint8)
        votes[:, :8] = faces.targets * 8
        votes[:, 8] = 2
        np.savez(tmp_path / f"{name}.npz", images=faces.images, votes=votes)
    return tmp_path


def test_the_script_writes_weights_and_what_they_are_worth(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tiny_options: TrainingOptions
) -> None:
    out = folder / "out" / "cnn.keras"
    arguments = [str(folder), "--out", str(out), "--epochs", "1", "--seed", "5"]
    arguments += ["--checkpoint", str(folder / "checkpoint")]
    monkeypatch.setattr(sys, "argv", ["bundled", *arguments])

    monkeypatch.setattr(
        bundled, "TrainingOptions", partial(TrainingOptions, shape=tiny_options.shape)
    )

    bundled.main()

    described = json.loads(out.with_suffix(".json").read_text())
    assert described["digest"] == load_model(out).digest
    assert described["figures"]["n"] == 24
    assert (described["seed"], described["epochs"], described["training_faces"]) == (5, 1, 40)
    assert 0.2 <= described["temperature"] <= 5


def test_a_folder_without_the_data_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"train\.npz' is not a split of FER\+"):
        bundled.load_ferplus(tmp_path / "train.npz")
    (tmp_path / "train.npz").write_bytes(b"nonsense")
    with pytest.raises(InvalidInput, match="not a split"):
        bundled.load_ferplus(tmp_path / "train.npz")
