"""The child process that decodes pictures: hostile bytes in, plain pixels out.

Run by ``annotator.imaging.decode`` as a script of its own. It imports Pillow and the standard
library alone, limits itself (memory, CPU time, file size, open files, no core dump, which would
hold faces), and then answers requests on standard input until that is closed.

Request: 8 bytes of length, 4 bytes of format, the file. Answer: ``HEADER`` (status, width, height),
then for the status ``OK`` width * height * 3 bytes of RGB rows of the upright picture.
"""

import contextlib
import ctypes
import io
import math
import resource
import struct
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import BinaryIO

from PIL import Image, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin

REQUEST = struct.Struct("!Q4s")
HEADER = struct.Struct("!4sII")
FORMATS = {b"JPEG": "JPEG", b"PNG ": "PNG", b"WEBP": "WEBP"}
STRIP_BYTES = 1 << 20
ORIENTATION_TAG = 0x0112
PR_SET_DUMPABLE = 4  # linux/prctl.h
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Named so that they are loaded before the limit on open files: ``Image.open`` imports plugins late.
PLUGINS = (JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin)

Decode = Callable[[bytes, str], Image.Image]


class Refused(Exception):
    """A picture that is not taken; carries the four-letter status of the answer."""

    def __init__(self, status: bytes) -> None:
        super().__init__(status.decode())
        self.status = status


def decode_picture(data: bytes, kind: str, *, max_pixels: int, max_side: int) -> Image.Image:
    """Decode one picture to an upright RGB image without metadata.

    Args:
        data: the whole file.
        kind: the only format that Pillow may try: "JPEG", "PNG" or "WEBP".
        max_pixels: the most pixels that are taken.
        max_side: the longest side that is taken, in pixels.

    Returns:
        An image of mode RGB.

    Raises:
        Refused: over a limit, or animated.
        Exception: whatever Pillow raises for a damaged file.
    """
    Image.MAX_IMAGE_PIXELS = max_pixels
    with Image.open(io.BytesIO(data), formats=[kind]) as picture:
        if max(picture.size) > max_side:
            raise Refused(b"SIDE")
        # An MPO is a JPEG with further pictures (depth, gain map) behind it: the first is the one.
        if kind != "JPEG" and getattr(picture, "n_frames", 1) > 1:
            raise Refused(b"ANIM")
        picture.load()
        upright = TRANSPOSITIONS.get(_read_orientation(picture))
        flat = _flatten(picture)
    return flat if upright is None else flat.transpose(upright)


def _read_orientation(picture: Image.Image) -> int:
    """Read the EXIF orientation; broken EXIF means that the picture stands as it is."""
    try:
        return int(picture.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001  (the parser meets hostile bytes and raises many things)
        return 1


def _flatten(picture: Image.Image) -> Image.Image:
    """Convert any mode to RGB; what is transparent becomes white.

    No colour profile is applied: that would hand hostile bytes to one more C library.
    """
    if picture.mode.startswith("I"):  # 16-bit grey; a plain convert would clip instead of scaling
        wide = picture.convert("I")
        return wide.point(lambda value: value * (1 / 257)).convert("L").convert("RGB")
    if picture.has_transparency_data:
        layered = picture.convert("RGBA")
        white = Image.new("RGB", picture.size, (255, 255, 255))
        white.paste(layered, mask=layered.getchannel("A"))
        return white
    return picture.convert("RGB")


def iterate_strips(picture: Image.Image) -> Iterator[bytes]:
    """Yield the rows in strips, so that the whole picture is never held a second time."""
    width, height = picture.size
    rows = max(1, STRIP_BYTES // (width * 3))
    for top in range(0, height, rows):
        yield picture.crop((0, top, width, min(top + rows, height))).tobytes()


def limit(memory: int) -> None:
    """Take away from this process what decoding does not need, for good.

    Args:
        memory: address space in bytes.
    """
    for what, amount in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 3),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        lowest = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        # Some Unixes refuse a limit on address space; the parent's clock still ends the child.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (lowest, lowest))
    if sys.platform == "linux":  # a system that pipes dumps to a program does not ask the limit
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _allow_cpu(seconds: int) -> None:
    """Let the next picture have that much CPU time; past it the kernel ends this process."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    until = math.ceil(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))


def _answer(decode: Decode, data: bytes, kind: str, sink: BinaryIO) -> bool:
    """Decode one file and write the answer; say whether this process may go on living."""
    try:
        picture = decode(data, kind)
    except Refused as refusal:
        sink.write(HEADER.pack(refusal.status, 0, 0))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        sink.write(HEADER.pack(b"BOMB", 0, 0))
    except MemoryError:
        sink.write(HEADER.pack(b"MEMO", 0, 0))
        return False
    except Exception as error:  # noqa: BLE001  (a decoder of hostile bytes may raise anything)
        cut = b"CUT " if "truncated" in str(error).lower() else b"BAD "
        sink.write(HEADER.pack(cut, 0, 0))
    else:
        sink.write(HEADER.pack(b"OK  ", *picture.size))
        sink.writelines(iterate_strips(picture))
    return True


def serve(decode: Decode, *, memory: int, cpu_seconds: int) -> None:
    """Limit this process, then answer requests until standard input ends.

    Args:
        decode: turns a file and its format into an upright RGB image.
        memory: address space in bytes.
        cpu_seconds: CPU time for one picture.
    """
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.preinit()
    limit(memory)
    sink.write(HEADER.pack(b"UP  ", 0, 0))
    sink.flush()
    alive = True
    while alive and (head := source.read(REQUEST.size)):
        length, kind = REQUEST.unpack(head)
        _allow_cpu(cpu_seconds)
        alive = _answer(decode, source.read(length), FORMATS[kind], sink)
        sink.flush()


def main(arguments: list[str]) -> None:
    """Serve with the limits that the parent names: memory, CPU seconds, pixels, side."""
    memory, cpu_seconds, max_pixels, max_side = (int(argument) for argument in arguments)

    def decode(data: bytes, kind: str) -> Image.Image:
        return decode_picture(data, kind, max_pixels=max_pixels, max_side=max_side)

    serve(decode, memory=memory, cpu_seconds=cpu_seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
