"""Face detectors behind one port: CenterFace, Haar cascades, and a YuNet that the user supplies.

Only a detector that is ``private`` may say what is covered. Haar is not: it is here because every
tutorial uses it, and misses two faces in three.
"""

from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import cv2
import numpy as np

from annotator.core.errors import InvalidInput
from annotator.imaging.decode import UInt8Array, to_grey
from annotator.imaging.faces import Face, Point, Purpose, detect_faces
from annotator.imaging.passes import scale_to

DETECTORS = ("centerface", "haar", "yunet")

_SIDE = 1280
_HAAR_STEP = 1.1
_HAAR_NEIGHBOURS = 5
_YUNET_SCORES: dict[Purpose, float] = {"subject": 0.6, "redaction": 0.3}
_YUNET_OVERLAP = 0.3
_YUNET_MOST = 5000
_YUNET_STRIDE = 32


class Detector(Protocol):
    """Finds faces.

    Attributes:
        private: whether it is good enough to say what must be covered.
    """

    private: bool

    def detect(self, pixels: UInt8Array, purpose: Purpose) -> list[Face]:
        """Find faces, best first.

        Args:
            pixels: uint8 (height, width, 3) RGB, upright.
            purpose: see ``annotator.imaging.faces``.

        Raises:
            InvalidInput: asked for a redaction, and not ``private``.
        """


class CenterFace:
    """The default; see ``annotator.imaging.faces``."""

    private = True

    def detect(self, pixels: UInt8Array, purpose: Purpose) -> list[Face]:
        """Find faces, best first, each with five landmarks."""
        return detect_faces(pixels, purpose=purpose)


class Haar:
    """OpenCV's frontal cascade (Viola and Jones, CVPR 2001), with the settings of the tutorials.

    It tells no landmarks; its scores are levels of the cascade, brought to 0 to 1 for order only.
    """

    private = False

    def __init__(self) -> None:
        cascade = Path(cv2.__file__).with_name("data") / "haarcascade_frontalface_default.xml"
        self._cascade = cv2.CascadeClassifier(str(cascade))
        self._lock = Lock()

    def detect(self, pixels: UInt8Array, purpose: Purpose) -> list[Face]:
        """Find frontal faces, best first, without landmarks."""
        if purpose == "redaction":
            raise InvalidInput(
                "The Haar detector misses too many faces to decide what is covered; "
                "use centerface or yunet."
            )
        height, width = pixels.shape[:2]
        ratio = min(1.0, _SIDE / max(height, width))
        grey = cv2.equalizeHist(to_grey(scale_to(pixels, ratio)))
        with self._lock:
            boxes, _, weights = self._cascade.detectMultiScale3(
                grey, _HAAR_STEP, _HAAR_NEIGHBOURS, outputRejectLevels=True
            )
        faces = [
            _cut(
                np.asarray(box, float) / ratio, (), float(1 / (1 + np.exp(-weight))), width, height
            )
            for box, weight in zip(np.asarray(boxes), np.ravel(weights), strict=True)
        ]
        return sorted(faces, key=lambda face: -face.score)


class YuNet:
    """OpenCV's YuNet (Wu and others, Machine Intelligence Research 20, 2023), from the user's file.

    Args:
        weights: an ONNX file as ``cv2.FaceDetectorYN`` reads it, 2022 or later.

    Raises:
        InvalidInput: no such file, or no YuNet in it.
    """

    private = True

    def __init__(self, weights: Path) -> None:
        try:
            model = np.frombuffer(weights.read_bytes(), np.uint8)
        except OSError as error:
            raise InvalidInput(f"The detector's weights cannot be read: {weights}.") from error
        self._model = model
        self._weights = weights
        self._lock = Lock()
        # A trial, so that a wrong file is told at the start and not at the first picture.
        self._run(np.zeros((_YUNET_STRIDE * 4, _YUNET_STRIDE * 4, 3), np.uint8), 0.9)

    def detect(self, pixels: UInt8Array, purpose: Purpose) -> list[Face]:
        """Find faces, best first, each with five landmarks."""
        height, width = pixels.shape[:2]
        ratio = min(1.0, _SIDE / max(height, width))
        rows = self._run(scale_to(pixels, ratio), _YUNET_SCORES[purpose])
        faces = [_read_yunet(row, ratio, width, height) for row in rows]
        return sorted(faces, key=lambda face: -face.score)

    def _run(self, pixels: UInt8Array, threshold: float) -> Any:
        """Give OpenCV's rows: box, five points, score. YuNet wants BGR and sides of 32."""
        height, width = pixels.shape[:2]
        canvas = cv2.copyMakeBorder(
            cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR),
            *(0, -height % _YUNET_STRIDE, 0, -width % _YUNET_STRIDE),
            cv2.BORDER_CONSTANT,
        )
        try:
            with self._lock:
                # A net of its own for each picture: see ADR 3 on nets that see a second shape.
                net = cv2.FaceDetectorYN.create(
                    *("onnx", self._model, np.empty(0, np.uint8), canvas.shape[1::-1]),
                    *(threshold, _YUNET_OVERLAP, _YUNET_MOST),
                )
                _, rows = net.detect(canvas)
        except cv2.error as error:
            raise InvalidInput(
                f"The file {self._weights.name} holds no YuNet detector that this OpenCV reads."
            ) from error
        return np.empty((0, 15), np.float32) if rows is None else rows


def _read_yunet(row: Any, ratio: float, width: int, height: int) -> Face:
    """Read one of OpenCV's rows; its first eye is the person's right one, at the picture's left."""
    numbers = [float(number) / ratio for number in row[:14]]
    points = tuple(zip(numbers[4::2], numbers[5::2], strict=True))
    return _cut(np.asarray(numbers[:4]), points, float(row[14]), width, height)


def _cut(box: Any, points: tuple[Point, ...], score: float, width: int, height: int) -> Face:
    """Cut a box to the picture."""
    left, right = np.clip([box[0], box[0] + box[2]], 0.0, width).tolist()
    top, bottom = np.clip([box[1], box[1] + box[3]], 0.0, height).tolist()
    return Face((left, top, right - left, bottom - top), points, score)


@cache
def open_detector(name: str = "centerface", weights: Path | None = None) -> Detector:
    """Open a detector, once for each process.

    Args:
        name: one of ``DETECTORS``.
        weights: YuNet's file; the others bring their own.

    Raises:
        InvalidInput: an unknown name, or weights missing, unreadable or not wanted.
    """
    if name == "yunet":
        if weights is None:
            raise InvalidInput("The detector yunet needs the path of its weights (an ONNX file).")
        return YuNet(weights)
    if weights is not None:
        raise InvalidInput(f"The detector {name} brings its own weights; leave the path out.")
    if name == "haar":
        return Haar()
    if name == "centerface":
        return CenterFace()
    raise InvalidInput(f"There is no detector '{name}'; choose one of {', '.join(DETECTORS)}.")
