"""The imaging port, filled: opens OpenCV and Pillow when a pixel is first touched."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from annotator.domain.ports import Box, Detection, Pixels
from annotator.imaging.sniff import sniff

if TYPE_CHECKING:
    from annotator.imaging.faces import Face

CROP_SIDE = 224  # pixels


class LazyImaging:
    """See ``annotator.domain.ports.Imaging``.

    Args:
        detector: which one finds faces; see ``annotator.imaging.detectors``.
        weights: the file of a detector that brings none.
    """

    def __init__(self, detector: str = "centerface", weights: Path | None = None) -> None:
        self._detector, self._weights = detector, weights

    def sniff(self, head: bytes) -> str:
        """The format that the first bytes tell."""
        return sniff(head)

    def decode(self, data: bytes) -> Pixels:
        """RGB pixels of an upload, decoded in a limited child."""
        from annotator.imaging.decode import decode  # noqa: PLC0415

        return decode(data).pixels

    def read(self, path: Path) -> bytes:
        """An upload from a file, no more of it than may be decoded."""
        from annotator.imaging.decode import read_upload  # noqa: PLC0415

        return read_upload(path)

    def size(self, pixels: Pixels) -> tuple[int, int]:
        """Width and height."""
        return int(pixels.shape[1]), int(pixels.shape[0])

    def detect(self, pixels: Pixels, purpose: Literal["subject", "redaction"]) -> list[Detection]:
        """Faces, best first."""
        from annotator.imaging.detectors import open_detector  # noqa: PLC0415

        found = open_detector(self._detector, self._weights).detect(pixels, purpose)
        return [Detection(face.box, face.landmarks, face.score) for face in found]

    def redact(self, pixels: Pixels, keep: Box, others: Sequence[Box]) -> Pixels:
        """The allow list."""
        from annotator.imaging.redaction import redact  # noqa: PLC0415

        return redact(pixels, keep=keep, others=others)

    def crop(self, pixels: Pixels, face: Detection) -> Pixels:
        """The face in the frame that the classifier knows, RGB, 224 pixels wide."""
        from annotator.imaging.alignment import crop_face  # noqa: PLC0415

        return crop_face(pixels, _as_face(face), CROP_SIDE)

    def encode(self, pixels: Pixels) -> bytes:
        """PNG of the pixels alone."""
        from annotator.imaging.decode import encode_png  # noqa: PLC0415

        return encode_png(pixels)

    def measure(self, crop: Pixels) -> dict[str, Any]:
        """Size, blur, exposure, contrast."""
        from annotator.imaging.quality import measure  # noqa: PLC0415

        return dict(measure(crop))

    def describe(self, pixels: Pixels, face: Detection) -> dict[str, Any]:
        """The measures of a face's crop, at the size that the face has, and how it is held."""
        from annotator.imaging.alignment import crop_face  # noqa: PLC0415
        from annotator.imaging.quality import estimate_pose, measure  # noqa: PLC0415

        side = max(1, round(max(face.box[2:])))
        crop = crop_face(pixels, _as_face(face), side)
        return {**measure(crop), "pose": estimate_pose(face.landmarks)}

    def model_inputs(self, crops: Sequence[bytes]) -> Any:
        """What the classifier takes, (N, 48, 48) uint8 grey, of PNGs that we made ourselves."""
        from annotator.imaging.alignment import load_model_inputs  # noqa: PLC0415

        return load_model_inputs(crops)


def _as_face(detection: Detection) -> "Face":
    from annotator.imaging.faces import Face  # noqa: PLC0415

    x, y, width, height = detection.box
    # A box drawn by hand has no landmarks; the frame of a crop depends on the box alone.
    middle = (x + width / 2, y + height / 2)
    points = detection.landmarks or (middle,) * 5
    first, second, nose, left, right = points
    return Face(detection.box, (first, second, nose, left, right), detection.score)
