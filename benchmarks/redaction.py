"""How many faces do the detector's two purposes cover, and what does it cost?

Looks at the photographs under ``$ANNOTATOR_TEST_DATA/scenes`` (every face boxed in ``faces.json``)
and prints one JSON object a line: for each purpose the share of faces covered by their height, the
boxes on no face per picture, and the CPU time. A face is covered when 80 % of its box lies inside
one detection enlarged 1.3 times.

    python benchmarks/redaction.py [--pictures N] [--purpose subject|redaction]
"""

import argparse
import json
import os
import resource
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from annotator.imaging.decode import decode
from annotator.imaging.faces import Box, Purpose, detect_faces

ENLARGED = 1.3
COVERED = 0.8
TOUCHED = 0.3
LEAK_HEIGHT = 40
BANDS = {"20-40": (20, 40), "40-80": (40, 80), "80+": (80, 10**9)}
PURPOSES: tuple[Purpose, ...] = ("subject", "redaction")


def enlarge(box: Box, factor: float) -> Box:
    """Enlarge a box about its centre."""
    x, y, w, h = box
    return x - w * (factor - 1) / 2, y - h * (factor - 1) / 2, w * factor, h * factor


def share_inside(face: Box, box: Box) -> float:
    """Give the share of ``face`` that lies inside ``box``."""
    width = min(face[0] + face[2], box[0] + box[2]) - max(face[0], box[0])
    height = min(face[1] + face[3], box[1] + box[3]) - max(face[1], box[1])
    return max(0.0, width) * max(0.0, height) / (face[2] * face[3])


class Tally:
    """What was counted over the pictures of one purpose."""

    def __init__(self) -> None:
        self.covered: dict[str, list[bool]] = defaultdict(list)
        self.false_boxes: list[int] = []
        self.leaks: list[bool] = []
        self.cpu: list[float] = []

    def add(self, faces: list[dict[str, Any]], found: list[Box], cpu: float) -> None:
        """Count one picture: its true faces, the boxes found, the CPU seconds."""
        wide = [enlarge(box, ENLARGED) for box in found]
        every = [(f["x"], f["y"], f["w"], f["h"]) for f in faces if f["w"] and f["h"]]
        valid = [(f["x"], f["y"], f["w"], f["h"]) for f in faces if not f["invalid"] and f["w"]]
        leak = False
        for face in valid:
            is_covered = any(share_inside(face, box) >= COVERED for box in wide)
            leak |= face[3] >= LEAK_HEIGHT and not is_covered
            for name, (low, high) in BANDS.items():
                if low <= face[3] < high:
                    self.covered[name].append(is_covered)
        self.leaks.append(leak)
        hits = [any(share_inside(face, box) > TOUCHED for face in every) for box in wide]
        self.false_boxes.append(hits.count(False))
        self.cpu.append(cpu)


def measure(files: list[Path], truth: dict[str, list[dict[str, Any]]], purpose: Purpose) -> None:
    """Detect in every picture and print what came out."""
    tally = Tally()
    for file in files:
        pixels = decode(file.read_bytes()).pixels
        start = time.process_time()
        found = [face.box for face in detect_faces(pixels, purpose=purpose)]
        tally.add(truth[file.name], found, time.process_time() - start)
    everything = [ok for band in tally.covered.values() for ok in band]
    report(
        purpose=purpose,
        pictures=len(files),
        faces=len(everything),
        covered=share(everything),
        by_height={name: share(tally.covered[name]) for name in BANDS},
        pictures_leaking_40px=share(tally.leaks),
        false_boxes_mean=round(statistics.mean(tally.false_boxes), 2),
        false_boxes_median=statistics.median(tally.false_boxes),
        cpu_ms_median=round(statistics.median(tally.cpu) * 1000),
        peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    )


def share(values: list[bool]) -> float | None:
    """Give the share that is true, or nothing for no values."""
    return round(sum(values) / len(values), 4) if values else None


def report(**figures: object) -> None:
    """Print one line."""
    print(json.dumps(figures), flush=True)


def main() -> None:
    """Run for the purposes asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, help="only the first N pictures")
    parser.add_argument("--purpose", choices=PURPOSES, help="only this purpose")
    options = parser.parse_args()
    folder = Path(os.environ["ANNOTATOR_TEST_DATA"]) / "scenes"
    truth = json.loads((folder / "faces.json").read_text())
    files = sorted(folder / name for name in truth)[: options.pictures]
    for purpose in [options.purpose] if options.purpose else PURPOSES:
        measure(files, truth, purpose)


if __name__ == "__main__":
    main()
