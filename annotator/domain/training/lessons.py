"""From an export's files to what a training needs. The export was verified before."""

import csv
import io
import zipfile
from collections.abc import Sequence
from typing import BinaryIO

from annotator.core.emotions import EMOTION_NAMES
from annotator.core.errors import Conflict, InvalidInput
from annotator.domain.exports import SPLITS
from annotator.domain.ports import Lesson

MIN_FACES = 16  # in the training split; fewer teach nothing
MIN_CLASSES = 2


def read_lessons(archive: BinaryIO) -> dict[str, Lesson]:
    """Reads crops, vote distributions and weights of every split.

    Args:
        archive: a verified export as a ZIP.

    Raises:
        InvalidInput: labels.csv is not the table of an export.
    """
    crops: dict[str, list[bytes]] = {split: [] for split in SPLITS}
    targets: dict[str, list[list[float]]] = {split: [] for split in SPLITS}
    weights: dict[str, list[float]] = {split: [] for split in SPLITS}
    with zipfile.ZipFile(archive) as opened:
        table = io.StringIO(opened.read("labels.csv").decode())
        try:
            for row in csv.DictReader(table):
                split = row["split"]
                targets[split].append(_target(row))
                weights[split].append(float(row["weight"]))
                crops[split].append(opened.read(row["file"]))
        except (KeyError, ValueError, TypeError) as error:
            raise InvalidInput("labels.csv in this export cannot be understood.") from error
    return {split: Lesson(crops[split], targets[split], weights[split]) for split in SPLITS}


def _target(row: dict[str, str]) -> list[float]:
    """The distribution of the votes for emotions; a reviewer's decision stands alone."""
    label = EMOTION_NAMES.index(row["label"])
    votes = [int(row[name]) for name in EMOTION_NAMES]
    total = sum(votes)
    if row["decided_by"] == "review" or not total:
        return [float(place == label) for place in range(len(votes))]
    return [count / total for count in votes]


def check_lessons(lessons: dict[str, Lesson]) -> None:
    """Refuses what cannot be learned from, in one sentence.

    Raises:
        Conflict: too few faces, one class, or nothing to measure on.
    """
    train = lessons["train"]
    if len(train.crops) < MIN_FACES:
        raise Conflict(
            f"The training split of this export has {_faces(len(train.crops))}; "
            f"at least {MIN_FACES} are needed. Label more and export again."
        )
    if len(_classes(train.targets)) < MIN_CLASSES:
        raise Conflict(
            "All faces of the training split show the same emotion; "
            "a model needs at least two to tell apart."
        )
    for split in ("valid", "test"):
        if not lessons[split].crops:
            raise Conflict(
                f"Nobody is in the split '{split}' of this export: "
                "it takes more people to measure a model fairly."
            )


def _faces(count: int) -> str:
    return "one face" if count == 1 else f"{count} faces"


def _classes(targets: Sequence[Sequence[float]]) -> set[int]:
    return {max(range(len(row)), key=row.__getitem__) for row in targets}
