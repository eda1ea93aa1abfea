"""Decode uploads to plain pixels, in a child process that may die without harm.

Pillow meets the hostile bytes in a child with limits on memory, CPU time, files and waiting; what
comes back is RGB rows of the upright picture and nothing else: no EXIF, GPS, XMP, colour profile,
comment, thumbnail or trailing bytes. Raw uploads never reach OpenCV.
"""

import atexit
import os
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, cast

import cv2
import numpy as np
import numpy.typing as npt

from annotator.core.errors import InvalidInput, TooLarge, UnsupportedImage
from annotator.imaging.child import SCRIPT, Child, ChildDied, ChildTimedOut, Limits
from annotator.imaging.sniff import HEAD_BYTES, sniff

__all__ = [
    "Decoded",
    "Decoder",
    "Limits",
    "UInt8Array",
    "decode",
    "encode_jpeg",
    "encode_png",
    "read_upload",
    "sniff",
    "to_grey",
]

UInt8Array = npt.NDArray[np.uint8]

_GREY_DIMENSIONS = 2


class Decoded(NamedTuple):
    """A decoded picture.

    Attributes:
        pixels: uint8 (height, width, 3), RGB, upright, without metadata.
        format: "JPEG", "PNG" or "WEBP", what the file was.
    """

    pixels: UInt8Array
    format: str


class Decoder:
    """A pool of warm decoding children, safe to use from several threads.

    A child is replaced after ``pictures_per_child`` pictures, and after any failure. Children are
    started when first needed.

    Args:
        children: how many may decode at the same time.
        pictures_per_child: how many pictures one child decodes.
        limits: what one picture may cost.
        script: the program of a child.
    """

    def __init__(
        self,
        *,
        children: int = 2,
        pictures_per_child: int = 1000,
        limits: Limits | None = None,
        script: Path = SCRIPT,
    ) -> None:
        self._limits = limits or Limits()
        self._script = script
        self._pictures_per_child = pictures_per_child
        self._places = threading.BoundedSemaphore(children)
        self._idle: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the idle children."""
        while self._idle:
            self._idle.pop().kill()

    def abandon(self) -> None:
        """Forget the children without ending them: after a fork they belong to the parent."""
        while self._idle:
            self._idle.pop().let_go()

    def decode(self, data: bytes) -> Decoded:
        """Decode one picture.

        Args:
            data: the whole file.

        Raises:
            UnsupportedImage: no JPEG, PNG or WebP, damaged, animated, or the child that decoded it
                crashed, hung, or ran out of memory.
            TooLarge: the file or the picture is over a limit.
        """
        kind = sniff(data[:HEAD_BYTES])
        if len(data) > self._limits.bytes:
            raise TooLarge(f"The file is larger than {self._limits.bytes >> 20} MiB.")
        with self._places:
            status, width, height, rows = self._ask(data, kind)
        if status != b"OK  ":
            raise self._explain(status)
        pixels = np.frombuffer(rows, np.uint8).reshape(height, width, 3)
        return Decoded(pixels, kind)

    def _ask(self, data: bytes, kind: str) -> tuple[bytes, int, int, bytearray]:
        try:
            child = self._idle.pop()
        except IndexError:
            child = Child(self._limits, self._script)
        try:
            answer = child.ask(data, kind)
        except ChildTimedOut:
            child.kill()
            raise UnsupportedImage(
                f"The picture took more than {self._limits.seconds:g} seconds to decode and "
                "was given up."
            ) from None
        except ChildDied:
            child.kill()
            raise UnsupportedImage(
                "The picture could not be decoded: the decoder failed on it."
            ) from None
        except BaseException:
            child.kill()  # interrupted in the middle of an answer: never ask it again
            raise
        if answer[0] == b"MEMO" or child.pictures >= self._pictures_per_child:
            child.kill()
        else:
            self._idle.append(child)
        return answer

    def _explain(self, status: bytes) -> InvalidInput:
        millions = self._limits.pixels // 1_000_000
        return {
            b"ANIM": UnsupportedImage(
                "The file is animated; only pictures with a single frame are taken."
            ),
            b"CUT ": UnsupportedImage("The picture is cut off: the file ends too early."),
            b"MEMO": UnsupportedImage("The picture needs too much memory to decode."),
            b"BOMB": TooLarge(f"The picture has more than {millions} million pixels."),
            b"SIDE": TooLarge(f"The picture is longer than {self._limits.side:,} pixels."),
        }.get(status, UnsupportedImage("The picture is damaged and cannot be decoded."))


_shared: dict[str, Decoder] = {}
_sharing = threading.Lock()


def decode(data: bytes) -> Decoded:
    """Decode one picture with this process's own pool of children.

    Args:
        data: the whole file.

    Raises:
        UnsupportedImage: see ``Decoder.decode``.
        TooLarge: the file or the picture is over a limit.
    """
    with _sharing:
        decoder = _shared.setdefault("decoder", Decoder())
    return decoder.decode(data)


def read_upload(path: Path) -> bytes:
    """Read a file that shall be decoded, and no more of it than may be.

    Args:
        path: of a file; may be endless, or a terabyte of nothing.

    Raises:
        UnsupportedImage: its first bytes are no picture's.
        TooLarge: it is larger than ``decode`` takes.
        InvalidInput: it cannot be read.
    """
    most = Limits().bytes
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            sniff(head)
            rest = file.read(most + 1 - len(head))
    except OSError as error:
        raise InvalidInput(f"The file {path.name} cannot be read: {error.strerror}.") from error
    if len(head) + len(rest) > most:
        raise TooLarge(f"The file is larger than {most >> 20} MiB.")
    return head + rest


@atexit.register
def _close_shared() -> None:
    """Ends the children with the process."""
    if (decoder := _shared.pop("decoder", None)) is not None:
        decoder.close()


def _forget_shared() -> None:
    """Drop what a fork copied: two processes must not talk to one child."""
    global _sharing  # noqa: PLW0603  (a lock that another thread held at the fork stays locked)
    _sharing = threading.Lock()
    if (decoder := _shared.pop("decoder", None)) is not None:
        decoder.abandon()


with suppress(AttributeError):  # only Unix forks
    os.register_at_fork(after_in_child=_forget_shared)


def encode_png(pixels: UInt8Array) -> bytes:
    """Encode pixels as PNG: nothing but the pixels.

    Args:
        pixels: uint8, RGB (height, width, 3) or grey (height, width).
    """
    return _encode(".png", pixels, [])


def encode_jpeg(pixels: UInt8Array, quality: int = 92) -> bytes:
    """Encode pixels as JPEG: nothing but the pixels.

    Args:
        pixels: uint8, RGB (height, width, 3) or grey (height, width).
        quality: 0 to 100.
    """
    return _encode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _encode(suffix: str, pixels: UInt8Array, options: list[int]) -> bytes:
    grey = pixels.ndim == _GREY_DIMENSIONS
    ordered = pixels if grey else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, buffer = cv2.imencode(suffix, ordered, options)
    if not done:  # pragma: no cover  (OpenCV raises for what it cannot encode)
        raise InvalidInput("The picture could not be encoded.")
    return bytes(buffer.tobytes())


def to_grey(pixels: UInt8Array) -> UInt8Array:
    """Convert to grey, by luminance (ITU-R BT.601).

    Args:
        pixels: uint8, RGB (height, width, 3), or grey already (height, width).

    Returns:
        uint8 (height, width).
    """
    if pixels.ndim == _GREY_DIMENSIONS:
        return pixels
    return cast("UInt8Array", cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
