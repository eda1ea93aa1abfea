"""The way in that lies elsewhere: a command that has a key management service wrap and unwrap.

The command is a program of the operator's choice, called as ``COMMAND wrap`` or ``COMMAND unwrap``,
without a shell. It is given one line of Base64 (RFC 4648) on its standard input, the key or what
it once made of it, and answers with Base64 on its standard output and the exit code 0. Blanks and
line breaks in the answer are passed over. What it says on standard error is thrown away: a program
in its debugging mode may print what it was given.

No key is ever an argument or a variable of the environment, and no message here says more than
that the command failed and how.
"""

import base64
import binascii
import os
import selectors
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from annotator.core.errors import InvalidInput, Locked

SECONDS = 20.0  # a service in another continent answers in two
MOST_BYTES = 64 * 1024  # of an answer, Base64 and blanks included
_PIECE = 4096
# Ours may hold the passphrase; the program needs its own (``AWS_PROFILE``, ``HOME``, ``PATH``).
_PRIVATE = "ANNOTATOR_"


@dataclass(frozen=True, slots=True)
class KmsCommand:
    """A command that wraps and unwraps; see the module.

    Attributes:
        words: the program and its own arguments; ``wrap`` or ``unwrap`` is added.
        seconds: how long one call may take.
    """

    words: tuple[str, ...]
    seconds: float = SECONDS

    @classmethod
    def parse(cls, line: str) -> "KmsCommand":
        """Reads a command line as a shell would split it; nothing in it is expanded.

        Raises:
            InvalidInput: it is empty, or a quotation does not end.
        """
        with suppress(ValueError):
            words = tuple(shlex.split(line))
            if words:
                return cls(words)
        raise InvalidInput("The KMS command cannot be read: name a program and its arguments.")

    def wrap(self, secret: bytes) -> bytes:
        """What the service makes of a secret; opaque, at most 48 KiB.

        Raises:
            Locked: the command failed, or gave the secret back as it was.
        """
        wrapped = self._call("wrap", secret)
        if secret in wrapped or secret.hex().encode() in wrapped.lower():
            raise Locked("The KMS command does not wrap: its answer holds the key itself.")
        return wrapped

    def unwrap(self, wrapped: bytes) -> bytes:
        """The secret that was wrapped.

        Raises:
            Locked: the command failed.
        """
        return self._call("unwrap", wrapped)

    def _call(self, verb: str, data: bytes) -> bytes:
        name = f"The KMS command ('{verb}')"
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator's own program, no shell
                [*self.words, verb],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={key: text for key, text in os.environ.items() if not key.startswith(_PRIVATE)},
                start_new_session=True,  # so that what it starts ends with it
            )
        except (OSError, ValueError):
            raise Locked(
                f"{name} cannot be started: is the program there, and may it be run?"
            ) from None
        with process:
            try:
                answer = _converse(process, base64.b64encode(data) + b"\n", self.seconds)
            except TimeoutError:
                raise Locked(f"{name} did not answer within {self.seconds:.0f} seconds.") from None
            finally:
                _end(process)
        if answer is None:
            raise Locked(f"{name} answered more than {MOST_BYTES // 1024} KiB.")
        if process.returncode != 0:
            raise Locked(
                f"{name} failed with exit code {process.returncode}; run it by hand to see why."
            )
        with suppress(binascii.Error, ValueError):
            if found := base64.b64decode(b"".join(answer.split()), validate=True):
                return found
        raise Locked(f"{name} answered something else than Base64.")


def _converse(process: subprocess.Popen[bytes], line: bytes, seconds: float) -> bytes | None:
    """Writes the line, reads to the end; nothing when the answer is too long.

    Raises:
        TimeoutError: it took too long.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    deadline, answer = time.monotonic() + seconds, bytearray()
    with selectors.DefaultSelector() as waiting:
        for pipe, event in (
            (process.stdin, selectors.EVENT_WRITE),
            (process.stdout, selectors.EVENT_READ),
        ):
            os.set_blocking(pipe.fileno(), False)
            waiting.register(pipe, event)
        while waiting.get_map():
            ready = waiting.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, event in ready:
                if event == selectors.EVENT_WRITE:
                    line = line[_write(process.stdin, line) :]
                    if not line:
                        waiting.unregister(process.stdin)
                        _close(process.stdin)
                    continue
                piece = os.read(key.fd, _PIECE)
                answer += piece
                if len(answer) > MOST_BYTES:
                    return None
                if not piece:
                    waiting.unregister(process.stdout)
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return bytes(answer)


def _write(pipe: IO[bytes], line: bytes) -> int:
    """Writes some; all of it counts as written when the program does not want to read."""
    try:
        return os.write(pipe.fileno(), line)
    except BlockingIOError:
        return 0
    except BrokenPipeError:
        return len(line)


def _close(pipe: IO[bytes]) -> None:
    with suppress(BrokenPipeError):
        pipe.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a program that was not waited for, and what it started."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdin is not None:
        _close(process.stdin)
