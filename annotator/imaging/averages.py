"""Make faces of nobody: averages of at least ten training faces each, for the demo pictures.

    python -m annotator.imaging.averages FERPLUS_FOLDER OUT.npz

For each of 44 invented people and each emotion that has enough sources, a dozen or more faces of
FER+ whose taggers agree are laid over each other: turned onto their landmarks, warped onto their
common mean by dense optical flow, averaged, made symmetric and sharpened. Each source face is used
once, so no two averages share one. FER+ holds many pictures twice and more, and an average of one
picture twelve times is that picture: whatever resembles an earlier face too closely is left out
first. The people differ because each is averaged from faces that resemble each other: everyone
starts from the middle of a cluster, and in each emotion picks the nearest faces that are left. The
file holds the averages and counts, nothing that leads back to a source.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from annotator.core.emotions import EMOTION_NAMES
from annotator.imaging.alignment import align_face
from annotator.imaging.decode import UInt8Array
from annotator.imaging.faces import detect_faces

PEOPLE = 44
SOURCES = 14
FEWER_SOURCES = 12
SIDE = 96
SEED = 20_26
# The most candidates of one emotion; detection takes about 10 ms each.
_CANDIDATES = 1800
_AGREEMENT = 0.5
_FIRM_SCORE = 0.6
_MOST_TURNED = 0.12
# Above this correlation two aligned faces may be the same photograph, or a frame of one film.
_SAME_PICTURE = 0.86
# Hands, text and odd lights make the rest; emotions with few sources keep all.
_TYPICAL = 0.8
# The standard deviation of the middle of every face, in grey levels: gentle, yet clear.
_CONTRAST = 38

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.intp]


class Candidates(NamedTuple):
    """Aligned source faces.

    Attributes:
        faces: uint8 (n, SIDE, SIDE), grey.
        emotions: (n,), index into ``EMOTION_NAMES``.
    """

    faces: UInt8Array
    emotions: Ints


class Average(NamedTuple):
    """One face of nobody: uint8 (SIDE, SIDE) grey, whose, which emotion, of how many sources."""

    face: UInt8Array
    person: int
    emotion: int
    sources: int


def choose_clear(votes: UInt8Array) -> tuple[Ints, Ints]:
    """Choose the faces whose taggers agree best, and by the half at least.

    Args:
        votes: uint8 (n, 10), FER+'s.

    Returns:
        The rows chosen and their emotions.
    """
    shares = votes / votes.sum(axis=1, keepdims=True)
    winners, agreement = shares.argmax(axis=1), shares.max(axis=1)
    best = np.argsort(-agreement, kind="stable")
    best = best[agreement[best] >= _AGREEMENT]
    rows = [best[winners[best] == emotion][:_CANDIDATES] for emotion in range(len(EMOTION_NAMES))]
    chosen = np.concatenate(rows)
    return chosen, winners[chosen]


def align_frontal(images: UInt8Array, emotions: Ints) -> Candidates:
    """Align the faces that look at the camera; leave out the others and those not found firmly.

    Args:
        images: uint8 (n, 48, 48), grey.
        emotions: (n,).
    """
    faces, kept = [], []
    for number, image in enumerate(images):
        pixels = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
        found = detect_faces(pixels)
        if not found or found[0].score < _FIRM_SCORE:
            continue
        left, right, nose = (np.array(point) for point in found[0].landmarks[:3])
        across = right - left
        offset = (nose - (left + right) / 2) @ across / (across @ across)
        if abs(offset) < _MOST_TURNED:
            aligned = align_face(pixels, found[0].landmarks, SIDE)
            faces.append(cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY))
            kept.append(number)
    return Candidates(np.stack(faces), emotions[np.array(kept)])


def drop_copies(candidates: Candidates) -> Candidates:
    """Leave out every face that closely resembles an earlier one, as it is or mirrored."""
    flat = _flatten(candidates.faces)
    mirrored = _flatten(candidates.faces[:, :, ::-1])
    kept: list[int] = []
    for row in range(len(flat)):
        if kept and max((flat[kept] @ flat[row]).max(), (flat[kept] @ mirrored[row]).max()) > (
            _SAME_PICTURE
        ):
            continue
        kept.append(row)
    return Candidates(candidates.faces[kept], candidates.emotions[kept])


def keep_typical(candidates: Candidates) -> Candidates:
    """Leave out faces that a few principal components of their emotion describe worst."""
    flat = _flatten(candidates.faces)
    kept: list[Ints] = []
    for emotion in range(len(EMOTION_NAMES)):
        rows = np.flatnonzero(candidates.emotions == emotion)
        if len(rows) * _TYPICAL >= PEOPLE * SOURCES:
            model = PCA(40, random_state=SEED).fit(flat[rows])
            again = model.inverse_transform(model.transform(flat[rows]))
            residue = np.linalg.norm(flat[rows] - again, axis=1)
            rows = np.sort(rows[np.argsort(residue, kind="stable")[: int(len(rows) * _TYPICAL)]])
        kept.append(rows)
    chosen = np.concatenate(kept)
    return Candidates(candidates.faces[chosen], candidates.emotions[chosen])


def describe_looks(candidates: Candidates) -> Floats:
    """Describe what a face looks like apart from its expression.

    The principal components of the small, evenly lit face, less the mean of its emotion.
    """
    flat = _flatten(candidates.faces)
    for emotion in np.unique(candidates.emotions):
        mine = candidates.emotions == emotion
        flat[mine] -= flat[mine].mean(axis=0)
    return np.asarray(PCA(24, random_state=SEED).fit_transform(flat), np.float32)


def _flatten(faces: UInt8Array) -> Floats:
    """Make unit vectors of mean zero, whose products are correlations: float32 (n, 576)."""
    small = [cv2.resize(face, (24, 24), interpolation=cv2.INTER_AREA) for face in faces]
    flat = np.stack(small).reshape(len(small), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6), np.float32)


def share_out(looks: Floats, emotions: Ints) -> dict[tuple[int, int], Ints]:
    """Give every invented person faces of their own for as many emotions as there are enough.

    Returns:
        (person, emotion) to the rows; no row is given twice.
    """
    anchors = KMeans(PEOPLE, n_init=4, random_state=SEED).fit(looks).cluster_centers_
    shares: dict[tuple[int, int], Ints] = {}
    for emotion in range(len(EMOTION_NAMES)):
        rows = np.flatnonzero(emotions == emotion)
        each = SOURCES if len(rows) >= PEOPLE * SOURCES else FEWER_SOURCES
        people = np.roll(np.arange(PEOPLE), -7 * emotion)[: len(rows) // each]
        distances = np.linalg.norm(looks[rows][None] - anchors[people][:, None], axis=2)
        picks: list[list[int]] = [[] for _ in people]
        for _ in range(each):  # one each in turn, or the first would take the last one's nearest
            for place in range(len(people)):
                best = int(distances[place].argmin())
                picks[place].append(int(rows[best]))
                distances[:, best] = np.inf
        for person, pick in zip(people, picks, strict=True):
            shares[int(person), emotion] = np.array(pick)
    return shares


def average(faces: UInt8Array) -> UInt8Array:
    """Average faces: warp each onto the common mean, twice, then make it symmetric and sharp.

    Args:
        faces: uint8 (n, SIDE, SIDE), aligned on landmarks.

    Returns:
        uint8 (SIDE, SIDE).
    """
    even = [_light_evenly(face) for face in faces]
    both = even + [np.ascontiguousarray(face[:, ::-1]) for face in even]
    mean = np.mean(both, axis=0)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    for _ in range(3):
        target = np.clip(mean, 0, 255).astype(np.uint8)
        mean = np.mean([_warp_onto(target, face, flow) for face in both], axis=0)
    mean = (mean + mean[:, ::-1]) / 2
    sharp = mean + 0.9 * (mean - cv2.GaussianBlur(mean, (0, 0), 2.0))
    return _light_evenly(sharp)


def _light_evenly(face: UInt8Array | Floats) -> UInt8Array:
    centre = face[SIDE // 6 : -SIDE // 6, SIDE // 6 : -SIDE // 6].astype(np.float32)
    scaled = (face - centre.mean()) * (_CONTRAST / (centre.std() + 1)) + 128
    return np.asarray(np.clip(scaled, 0, 255), np.uint8)


def _warp_onto(target: UInt8Array, face: UInt8Array, flow: cv2.DenseOpticalFlow) -> Floats:
    shift = cv2.GaussianBlur(np.asarray(flow.calc(target, face, None)), (0, 0), 2.0)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    warped = cv2.remap(
        face,
        columns + shift[..., 0],
        rows + shift[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(warped, np.float32)


def make_averages(images: UInt8Array, votes: UInt8Array) -> list[Average]:
    """Make all averages.

    Args:
        images: uint8 (n, 48, 48), FER+'s training faces.
        votes: uint8 (n, 10).
    """
    rows, emotions = choose_clear(votes)
    candidates = keep_typical(drop_copies(align_frontal(images[rows], emotions)))
    shares = share_out(describe_looks(candidates), candidates.emotions)
    return [
        Average(average(candidates.faces[mine]), person, emotion, len(mine))
        for (person, emotion), mine in sorted(shares.items())
    ]


def main() -> None:
    """Read FER+, write the asset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds train.npz of FER+")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    with np.load(options.folder / "train.npz") as data:
        made = make_averages(data["images"], data["votes"])
    faces, people, emotions, sources = zip(*made, strict=True)
    np.savez_compressed(
        options.out,
        faces=np.stack(faces),
        people=np.array(people, np.uint8),
        emotions=np.array(emotions, np.uint8),
        sources=np.array(sources, np.uint8),
    )


if __name__ == "__main__":
    main()
