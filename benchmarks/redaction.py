"""How many faces does each detector cover, what does it cost, and what stays visible in the end?

Looks at the photographs under ``$ANNOTATOR_TEST_DATA/scenes`` (every face boxed in ``faces.json``)
and prints one JSON object a line, for each setting and each turn of the pictures:

* ``covered``: share of the faces of 20 pixels and more, of 40 and more, and by height. A face is
  covered when 80 % of its box lies inside one detection enlarged 1.3 times. ``halves`` tells both
  for every second photograph: a setting tuned too finely differs between them.
* ``false_boxes``: boxes on no face per picture; the CPU time; the peak memory of a process that
  does nothing else.
* ``allow_list`` and ``deny_list``: what stays visible of bystanders of 20 pixels and more when the
  subject alone is kept, as intake does, or when the detections alone are covered. ``half`` and
  ``fifth`` are the shares of renditions with a bystander who is more than so much visible; a
  rendition is one photograph with one findable subject.

    python benchmarks/redaction.py [--setting NAME ...] [--turn 0 30 90 180] [--every N]
                                   [--yunet FILE]
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from annotator.imaging.agreement import agree
from annotator.imaging.centerface import join
from annotator.imaging.decode import UInt8Array, decode
from annotator.imaging.detectors import Haar, YuNet
from annotator.imaging.faces import Box, detect_faces
from annotator.imaging.passes import Pass, look
from annotator.imaging.redaction import COVERED, GREY, SAME, overlap, redact

ENLARGED = 1.3
INSIDE = 0.8
TOUCHED = 0.3
HALF, FIFTH, MOST = 0.5, 0.2, 0.8
BANDS = {"20-40": (20, 40), "40-80": (40, 80), "80+": (80, 10**9)}
TURNS = (0, 30, 90, 180)
Find = Callable[[UInt8Array], list[Box]]


class Truth(NamedTuple):
    """One face that is there: its box as the picture stands, its height before it was turned."""

    box: Box
    height: int
    counts: bool


def settings(yunet: Path | None) -> dict[str, Find]:
    """Every setting by name; the last is what intake uses."""
    large, small = Pass(1280, 0.1), Pass(640, 0.1)

    def plain(*runs: Pass) -> Find:
        return lambda pixels: as_boxes(join([look(pixels, run) for run in runs]))

    haar = Haar()
    found: dict[str, Find] = {
        "haar": lambda pixels: [face.box for face in haar.detect(pixels, "subject")],
        "subject": lambda pixels: [face.box for face in detect_faces(pixels)],
        "640 at 0.5": plain(Pass(640, 0.5)),
        "1280 at 0.2": plain(Pass(1280, 0.2)),
        "640 + 1280 at 0.1": plain(small, large),
        "640 + 1280 agreeing": lambda pixels: as_boxes(
            agree([look(pixels, Pass(side, 0.06)) for side in (640, 1280)], 0.15)
        ),
        "redaction": lambda pixels: [
            face.box for face in detect_faces(pixels, purpose="redaction")
        ],
    }
    if yunet:
        net = YuNet(yunet)
        found["yunet"] = lambda pixels: [face.box for face in net.detect(pixels, "redaction")]
    return found


def as_boxes(found: object) -> list[Box]:
    """Give a look's boxes as tuples."""
    return [tuple(box) for box in found.boxes.tolist()]  # type: ignore[attr-defined]


def turn_picture(pixels: UInt8Array, degrees: int) -> tuple[UInt8Array, np.ndarray]:
    """Turn a picture anticlockwise on a larger black one; also give where its points went."""
    height, width = pixels.shape[:2]
    across, down = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    size = (
        round(width * abs(across) + height * abs(down)),
        round(width * abs(down) + height * abs(across)),
    )
    turn = np.array([[across, down], [-down, across]])
    matrix = np.column_stack([turn, np.array(size) / 2 - turn @ (width / 2, height / 2)])
    if degrees == 0:
        return pixels, matrix
    return np.asarray(cv2.warpAffine(pixels, matrix, size)), matrix


def read_truth(rows: list[dict[str, int]], matrix: np.ndarray) -> list[Truth]:
    """Read the faces; a turned face's box is that of its turned ellipse."""
    turn = np.abs(matrix[:, :2])
    faces = []
    for row in rows:
        if not (row["w"] and row["h"]):
            continue
        half = np.array([row["w"], row["h"]]) / 2
        middle = matrix[:, :2] @ (np.array([row["x"], row["y"]]) + half) + matrix[:, 2]
        reach = np.hypot(*(turn * half).T)
        box = (*(middle - reach).tolist(), *(2 * reach).tolist())
        faces.append(Truth(box, row["h"], not row["invalid"]))
    return faces


def enlarge(box: Box, factor: float) -> Box:
    """Enlarge a box about its centre."""
    x, y, w, h = box
    return x - w * (factor - 1) / 2, y - h * (factor - 1) / 2, w * factor, h * factor


def share_inside(face: Box, box: Box) -> float:
    """Give the share of ``face`` that lies inside ``box``."""
    width = min(face[0] + face[2], box[0] + box[2]) - max(face[0], box[0])
    height = min(face[1] + face[3], box[1] + box[3]) - max(face[1], box[1])
    return max(0.0, width) * max(0.0, height) / (face[2] * face[3])


class Coverage:
    """What was counted over the pictures of one setting."""

    def __init__(self) -> None:
        self.bands: dict[str, list[bool]] = defaultdict(list)
        self.halves: dict[int, list[bool]] = defaultdict(list)
        self.false_boxes: list[int] = []
        self.leaks: list[bool] = []
        self.cpu: list[float] = []

    def add(self, number: int, faces: list[Truth], found: list[Box], cpu: float) -> None:
        """Count one picture."""
        wide = [enlarge(box, ENLARGED) for box in found]
        leak = False
        for face in (face for face in faces if face.counts):
            covered = any(share_inside(face.box, box) >= INSIDE for box in wide)
            leak |= face.height >= BANDS["40-80"][0] and not covered
            for name, (low, high) in BANDS.items():
                if low <= face.height < high:
                    self.bands[name].append(covered)
                    self.halves[number % 2].append(covered)
        self.leaks.append(leak)
        hits = [any(share_inside(face.box, box) > TOUCHED for face in faces) for box in wide]
        self.false_boxes.append(hits.count(False))
        self.cpu.append(cpu)

    def figures(self) -> dict[str, object]:
        """What came out."""
        larger = self.bands["40-80"] + self.bands["80+"]
        return {
            "faces": len(self.bands["20-40"] + larger),
            "covered": share(self.bands["20-40"] + larger),
            "covered_40": share(larger),
            "by_height": {name: share(self.bands[name]) for name in BANDS},
            "halves": [share(self.halves[half]) for half in (0, 1)],
            "pictures_leaking_40": share(self.leaks),
            "false_boxes_mean": round(statistics.mean(self.false_boxes), 2),
            "false_boxes_median": statistics.median(self.false_boxes),
            "cpu_ms_median": round(statistics.median(self.cpu) * 1000),
        }


class Renditions:
    """What stays visible of bystanders and of the subject."""

    def __init__(self) -> None:
        self.bystanders: dict[str, list[float]] = defaultdict(list)
        self.pictures: dict[str, list[float]] = defaultdict(list)
        self.subjects: list[float] = []

    def add(
        self, pixels: UInt8Array, truth: list[Truth], faces: list[Box], found: list[Box]
    ) -> None:
        """Make every rendition of one photograph, both ways."""
        small = BANDS["20-40"][0]
        people = [face for face in truth if face.counts and face.height >= small]
        others = [box for box in found if all(overlap(box, face) < SAME for face in faces)]
        worst: dict[str, list[float]] = defaultdict(list)
        for person in people:
            keep = max(faces, key=lambda face: overlap(face, person.box), default=None)
            if keep is None or overlap(keep, person.box) < SAME or len(people) == 1:
                continue
            rest = [face for face in faces if face != keep] + others
            white = np.full((*pixels.shape[:2], 3), 255, np.uint8)
            shown = {
                "allow_list": redact(white, keep=keep, others=rest)[..., 0] != GREY[0],
                "deny_list": cover(white, [box for box in rest if overlap(box, keep) <= SAME]),
            }
            for way, mask in shown.items():
                seen = [visible(mask, other.box) for other in people if other is not person]
                worst[way].append(max(seen))
            self.subjects.append(visible(shown["allow_list"], person.box))
        for way, values in worst.items():
            self.bystanders[way] += values
            self.pictures[way].append(max(values))

    def figures(self) -> dict[str, object]:
        """What came out."""
        told: dict[str, object] = {
            way: {
                "renditions": len(values),
                "half": share([value > HALF for value in values]),
                "fifth": share([value > FIFTH for value in values]),
                "pictures": len(self.pictures[way]),
                "pictures_half": share([value > HALF for value in self.pictures[way]]),
                "pictures_fifth": share([value > FIFTH for value in self.pictures[way]]),
            }
            for way, values in self.bystanders.items()
        }
        return told | {"subjects_less_than_80_visible": share([v < MOST for v in self.subjects])}


def cover(white: UInt8Array, boxes: list[Box]) -> UInt8Array:
    """Cover detections alone, as a deny list does, and give what is left."""
    mask = white[..., 0].copy()
    for x, y, width, height in boxes:
        ellipse = ((x + width / 2, y + height / 2), (width * COVERED, height * COVERED), 0.0)
        cv2.ellipse(mask, ellipse, 0, cv2.FILLED)
    return np.asarray(mask > 0)


def visible(mask: UInt8Array, box: Box) -> float:
    """Give the share of a face's ellipse that the mask shows."""
    x, y, width, height = box
    ellipse = np.zeros(mask.shape, np.uint8)
    cv2.ellipse(ellipse, ((x + width / 2, y + height / 2), (width, height), 0.0), 1, cv2.FILLED)
    return float(mask[ellipse > 0].mean()) if ellipse.any() else 0.0


def measure(name: str, find: Find, turn: int, part: slice) -> None:
    """Detect in every picture and print what came out."""
    folder = Path(os.environ["ANNOTATOR_TEST_DATA"]) / "scenes"
    truth = json.loads((folder / "faces.json").read_text())
    coverage, renditions = Coverage(), Renditions()
    for number, file in enumerate(sorted(truth)[part]):
        plain = decode((folder / file).read_bytes()).pixels
        pixels, matrix = turn_picture(plain, turn)
        faces = read_truth(truth[file], matrix)
        start = time.process_time()
        found = find(pixels)
        coverage.add(number, faces, found, time.process_time() - start)
        if turn == 0 and name == "redaction":
            subjects = [face.box for face in detect_faces(pixels)]
            renditions.add(pixels, faces, subjects, found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    report = {"setting": name, "turn": turn, "pictures": len(coverage.leaks)}
    report |= coverage.figures() | {"peak_rss_mb": peak}
    report |= renditions.figures() if renditions.subjects else {}
    print(json.dumps(report), flush=True)


def share(values: list[bool]) -> float | None:
    """Give the share that is true, or nothing for no values."""
    return round(sum(values) / len(values), 4) if values else None


def main() -> None:
    """Measure each setting in a process of its own, for its memory's sake."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setting", nargs="*", default=[], help="only these")
    parser.add_argument("--turn", nargs="*", type=int, default=TURNS, help="degrees")
    parser.add_argument("--every", type=int, default=1, help="only every Nth picture")
    parser.add_argument("--first", type=int, default=0, help="from this picture on")
    parser.add_argument("--yunet", type=Path, help="an ONNX file of YuNet")
    options = parser.parse_args()
    chosen = {
        name: find
        for name, find in settings(options.yunet).items()
        if not options.setting or name in options.setting
    }
    if len(chosen) == 1 and len(options.turn) == 1:
        ((name, find),) = chosen.items()
        measure(name, find, options.turn[0], slice(options.first, None, options.every))
        return
    for name in chosen:
        for turn in options.turn if name == "redaction" else options.turn[:1]:
            command = [sys.executable, __file__, "--setting", name, "--turn", str(turn)]
            command += ["--every", str(options.every), "--first", str(options.first)]
            command += ["--yunet", str(options.yunet)] if options.yunet else []
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
