"""The parent's side of the decoding children: start, ask with a deadline, kill.

Nothing that a child says is believed: the size it announces is checked, exactly that many bytes are
read, and every wait has an end.
"""

import contextlib
import fcntl
import os
import selectors
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("decode_child.py")
REQUEST = struct.Struct("!Q4s")
HEADER = struct.Struct("!4sII")
_START_SECONDS = 60.0
_PIPE_BYTES = 1 << 20
# A child gets none of our environment, where a passphrase may stand, but what finds Pillow.
_PASSED_ON = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "HOME")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one picture may cost.

    Attributes:
        bytes: of the file.
        pixels: width times height.
        side: the longer side, in pixels.
        memory: address space of the child, in bytes.
        cpu_seconds: CPU time of the child for one picture.
        seconds: of waiting for one picture.
    """

    bytes: int = 64 << 20
    pixels: int = 64_000_000
    side: int = 16_384
    memory: int = 1 << 30
    cpu_seconds: int = 20
    seconds: float = 30.0


class ChildDied(Exception):
    """The child ended, or broke the protocol, in the middle of a picture."""


class ChildTimedOut(ChildDied):
    """The child did not answer in time."""


class Child:
    """One warm decoding process.

    Args:
        limits: what a picture may cost.
        script: the program of the child.
    """

    def __init__(self, limits: Limits, script: Path = SCRIPT) -> None:
        self._limits = limits
        self.pictures = 0
        arguments = (limits.memory, limits.cpu_seconds, limits.pixels, limits.side)
        self._process = subprocess.Popen(  # noqa: S603  (our own interpreter and script)
            [sys.executable, "-P", "-B", str(script), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)
        if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux: sixteen times fewer turns between the two
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._from, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._greeted = False

    def ask(self, data: bytes, kind: str) -> tuple[bytes, int, int, bytearray]:
        """Have one file decoded.

        Returns:
            The four-letter status, width, height and, for the status ``OK``, the RGB bytes.

        Raises:
            ChildDied: the child must be killed and not asked again.
        """
        if not self._greeted:
            self._read(HEADER.size, time.monotonic() + _START_SECONDS)
            self._greeted = True
        deadline = time.monotonic() + self._limits.seconds
        self.pictures += 1
        self._write(REQUEST.pack(len(data), kind.encode().ljust(4)), deadline)
        self._write(data, deadline)
        status, width, height = HEADER.unpack(self._read(HEADER.size, deadline))
        if status != b"OK  ":
            return status, 0, 0, bytearray()
        if not (0 < width * height <= self._limits.pixels):
            raise ChildDied
        return status, width, height, self._read(width * height * 3, deadline)

    def _write(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._to, view) :]
            except BlockingIOError:
                self._wait(self._to, selectors.EVENT_WRITE, deadline)
            except OSError as error:
                raise ChildDied from error

    def _read(self, size: int, deadline: float) -> bytearray:
        buffer = bytearray(size)
        view = memoryview(buffer)
        while view:
            try:
                count = os.readv(self._from, [view])
            except BlockingIOError:
                self._wait(self._from, selectors.EVENT_READ, deadline)
                continue
            if count == 0:
                raise ChildDied
            view = view[count:]
        return buffer

    @staticmethod
    def _wait(descriptor: int, event: int, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, event)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise ChildTimedOut

    def kill(self) -> None:
        """End the process and reap it."""
        self._process.kill()
        self._process.wait()
        self.let_go()

    def let_go(self) -> None:
        """Close our ends of the pipes; the child then ends on its own unless others hold them."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
