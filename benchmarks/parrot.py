"""Can an attacker who learns from redacted pictures tell who a covered person is?

The parrot attack (Newton, Sweeney and Malin, IEEE TKDE 17(2), 2005): the attacker knows half of
each person's pictures, redacts them in the same way, learns, and names the people in the other
half. Three attackers try (nearest neighbour on pixels, eigenfaces with a linear discriminant, and
ridge regression) and the best of them counts. An attack says something only if the same attackers
name 90 % of the clear pictures (``valid``).

Every person of ``$ANNOTATOR_TEST_DATA/people/orl`` is put as a bystander beside a drawn subject, at
a place that tells nothing. Looked at are:

* ``rendition``: what intake stores, everything but the subject; the whole of it, and the part where
  the bystander stands. Also with the bystander so near that he reaches into the subject's ellipse.
* ``subject outside``: the person is the subject, and what is looked at is all but the kept ellipse.
* ``covered``: the face alone covered by a constant, with and without margin (a deny list).
* for comparison: the face's mean colour, blur, and mosaic, which are offered nowhere as protection.

One JSON object a line; ``limit`` is chance plus two standard deviations, ``passed`` compares.

    python benchmarks/parrot.py [--seeds 3]
"""

import argparse
import json
import math
import os
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from annotator.imaging.decode import UInt8Array
from annotator.imaging.redaction import COVERED, Box, redact
from annotator.imaging.scenes import draw_portrait

Look = Callable[[UInt8Array, np.random.Generator], UInt8Array]
VALID = 0.9
GREY = 128
FACE: Box = (10.0, 16.0, 72.0, 88.0)
"""Where the face is in a picture of ORL (92 x 112), forehead to chin."""

SCENE = (176, 320)


def read_people(folder: Path) -> tuple[list[UInt8Array], npt.NDArray[np.int64]]:
    """Read all pictures, grey, and whose they are."""
    pictures, names = [], []
    for number, person in enumerate(sorted(folder.glob("s*"))):
        for file in sorted(person.glob("*.pgm"), key=lambda path: int(path.stem)):
            pictures.append(np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)))
            names.append(number)
    return pictures, np.array(names)


def stand_beside(
    picture: UInt8Array, subject: UInt8Array, rng: np.random.Generator, gap: int
) -> tuple[UInt8Array, Box, Box, tuple[int, int]]:
    """Put a person beside the subject; give the scene, both faces, and the person's corner."""
    scene = np.full((*SCENE, 3), 90, np.uint8)
    height, width = subject.shape[:2]
    top = int(rng.integers(0, SCENE[0] - height + 1))
    scene[top : top + height, 4 : 4 + width] = subject
    left, high = 4 + width + gap, int(rng.integers(0, SCENE[0] - picture.shape[0] + 1))
    left += int(rng.integers(0, SCENE[1] - left - picture.shape[1] + 1)) if gap > 0 else 0
    scene[high : high + picture.shape[0], left : left + picture.shape[1]] = picture[..., None]
    keep = (4 + width * 0.2, top + height * 0.2, width * 0.6, height * 0.6)
    face = (left + FACE[0], high + FACE[1], FACE[2], FACE[3])
    return scene, keep, face, (left, high)


def see_rendition(subjects: list[UInt8Array], gap: int, *, near: bool) -> Look:
    """What a rendition shows, all of it, or only there where the bystander stands."""

    def look(picture: UInt8Array, rng: np.random.Generator) -> UInt8Array:
        subject = subjects[int(rng.integers(len(subjects)))]
        scene, keep, face, (left, top) = stand_beside(picture, subject, rng, gap)
        shown = redact(scene, keep=keep, others=[face])
        height, width = picture.shape
        part = shown[top : top + height, left : left + width] if near else shown[::2, ::2]
        return np.asarray(part[..., 0])

    return look


def see_outside(picture: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """What a rendition shows of its own subject outside the ellipse that is kept.

    The person stands anywhere at any size, so that the ellipse's own place tells nothing.
    """
    size = rng.uniform(0.6, 1.2)
    person = cv2.resize(picture, None, fx=size, fy=size)
    scene = np.full((*SCENE, 3), 90, np.uint8)
    top = int(rng.integers(0, SCENE[0] - person.shape[0] + 1))
    left = int(rng.integers(0, SCENE[1] - person.shape[1] + 1))
    scene[top : top + person.shape[0], left : left + person.shape[1]] = person[..., None]
    x, y, width, height = (length * size for length in FACE)
    keep = (left + x, top + y, width, height)
    shown = redact(scene, keep=keep, others=[])
    # The attacker reads the face itself elsewhere; here it is taken away, with the ellipse's rim.
    mask = np.zeros(SCENE, np.uint8)
    ellipse = ((keep[0] + width / 2, keep[1] + height / 2), (width * 1.36, height * 1.36), 0.0)
    cv2.ellipse(mask, ellipse, 1, cv2.FILLED)
    shown[mask > 0] = GREY
    return np.asarray(shown[::2, ::2, 0])


def cover(margin: float) -> Look:
    """A deny list: one constant over the face, so much larger than its box."""

    def look(picture: UInt8Array, _: np.random.Generator) -> UInt8Array:
        x, y, width, height = FACE
        shown = picture.copy()
        ellipse = ((x + width / 2, y + height / 2), (width * margin, height * margin), 0.0)
        cv2.ellipse(shown, ellipse, GREY, cv2.FILLED)
        return shown

    return look


def fill_with_mean(picture: UInt8Array, _: np.random.Generator) -> UInt8Array:
    """All of the picture in its face's mean colour."""
    x, y, width, height = map(int, FACE)
    return np.full_like(picture, round(float(picture[y : y + height, x : x + width].mean())))


def blur(share: float) -> Look:
    """A Gaussian whose deviation is that share of the face's width."""
    return lambda picture, _: np.asarray(cv2.GaussianBlur(picture, (0, 0), FACE[2] * share))


def mosaic(cells: int) -> Look:
    """So many cells across the face."""

    def look(picture: UInt8Array, _: np.random.Generator) -> UInt8Array:
        across = round(cells * picture.shape[1] / FACE[2])
        down = round(cells * picture.shape[0] / FACE[2])
        small = cv2.resize(picture, (across, down), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, picture.shape[::-1], interpolation=cv2.INTER_NEAREST))

    return look


def attack(seen: npt.NDArray[np.float32], names: npt.NDArray[np.int64], *, odd: bool) -> float:
    """Learn from one half of everybody's pictures, name the other; the best attacker's share."""
    half = np.arange(len(names)) % 2 == odd
    flat = seen.reshape(len(seen), -1) / 255 - 0.5
    flat += np.random.default_rng(0).normal(0, 1e-4, flat.shape)  # constants break the algebra
    attackers = (
        KNeighborsClassifier(1),
        make_pipeline(
            PCA(60, random_state=0), LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
        ),
        RidgeClassifier(alpha=10.0),
    )
    return max(
        float((attacker.fit(flat[half], names[half]).predict(flat[~half]) == names[~half]).mean())
        for attacker in attackers
    )


def list_looks() -> Iterator[tuple[str, Look]]:
    """Every way of redacting, by name."""
    subjects = [
        np.asarray(cv2.resize(draw_portrait(number, "neutral", seed=number), (100, 125)))
        for number in range(0, 24, 2)
    ]
    yield "clear", lambda picture, _: picture
    yield "rendition", see_rendition(subjects, 30, near=False)
    yield "rendition, where the bystander stands", see_rendition(subjects, 30, near=True)
    yield "rendition, bystander near", see_rendition(subjects, -24, near=False)
    yield "subject outside", see_outside
    yield "covered, whole picture", cover(9.0)
    yield "covered, no margin", cover(1.0)
    yield f"covered, margin {COVERED}", cover(COVERED)
    yield "covered, margin 1.6", cover(1.6)
    yield "mean colour", fill_with_mean
    yield "blur, a tenth of the face", blur(0.1)
    yield "blur, a fifth of the face", blur(0.2)
    yield "mosaic, 8 cells", mosaic(8)
    yield "mosaic, 4 cells", mosaic(4)


def main() -> None:
    """Run every attack and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="places and halves that are tried")
    options = parser.parse_args()
    pictures, names = read_people(Path(os.environ["ANNOTATOR_TEST_DATA"]) / "people/orl")
    chance = 1 / len(set(names.tolist()))
    tried = len(names) / 2
    limit = chance + 2 * math.sqrt(chance * (1 - chance) / tried)
    valid = False
    for name, look in list_looks():
        shares = []
        for seed in range(options.seeds):
            rng = np.random.default_rng(seed)
            seen = np.stack([look(picture, rng) for picture in pictures]).astype(np.float32)
            shares.append(attack(seen, names, odd=bool(seed % 2)))
        rank1 = statistics.mean(shares)
        valid |= name == "clear" and rank1 >= VALID
        row = {"seen": name, "rank1": round(rank1, 4), "worst": round(max(shares), 4)}
        row |= {"chance": chance, "limit": round(limit, 4), "passed": rank1 <= limit}
        print(json.dumps(row | {"valid": valid}), flush=True)


if __name__ == "__main__":
    main()
