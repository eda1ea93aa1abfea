"""Child processes of ``run`` and ``demo``: kept alive, and ended together."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from annotator.core.errors import AnnotatorError

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.1
START_SECONDS = 60
STOP_SECONDS = 10
STEADY_SECONDS = 10  # a child that lived this long may be started again at once
GIVE_UP = 5  # starts in a row that ended early


class StartFailed(AnnotatorError):
    """A child process ended before it served."""

    code = "start_failed"
    title = "The server could not be started; see above."


class Child:
    """One process that is started again when it dies.

    Its standard input is a pipe from us: when we are gone, however that came, it reads the end of
    the pipe and stops, so that nothing is left behind.
    """

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        self._arguments, self._environ = list(arguments), dict(environ)
        self._failures = 0
        self._start()

    def _start(self) -> None:
        path = os.pathsep.join(filter(None, [str(PACKAGE_PARENT), os.environ.get("PYTHONPATH")]))
        self._started = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "annotator", *self._arguments, "--supervised"],
            # Many threads share few heaps: glibc would keep one or two for each.
            env={"MALLOC_ARENA_MAX": "2", **self._environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=sys.stderr,  # stdout belongs to the command that was typed
            start_new_session=True,  # Ctrl-C reaches us alone; we end the children in order
        )

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process.poll() is None

    def keep_alive(self) -> None:
        """Starts it again when it died.

        Raises:
            StartFailed: it dies every time.
        """
        if self.running:
            return
        steady = time.monotonic() - self._started >= STEADY_SECONDS
        self._failures = 1 if steady else self._failures + 1
        if self._failures >= GIVE_UP:
            raise StartFailed(f"'{self._arguments[0]}' ends whenever it is started; see above.")
        self._start()

    def stop(self) -> None:
        """Asks it to end, then makes it end."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


def wait_until_served(child: Child, host: str, port: int) -> None:
    """Returns when somebody listens there.

    Raises:
        StartFailed: the child ended, or took too long.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if not child.running:
            raise StartFailed
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
            return
        time.sleep(POLL_SECONDS)
    raise StartFailed(f"The web server does not answer on {host}:{port}.")


def supervise(children: Sequence[Child]) -> None:
    """Keeps children alive until this process is asked to stop; then ends them all."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    try:
        while not stopping.wait(1):
            for child in children:
                child.keep_alive()
    finally:
        for child in children:
            child.stop()


def end_with_parent() -> None:
    """In a child: stops this process when the parent is gone."""

    def watch() -> None:
        # The bare descriptor: a buffered read would hold a lock that Python wants at exit.
        with contextlib.suppress(OSError):
            while os.read(0, 1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


supervised = click.option(
    "--supervised",
    is_flag=True,
    hidden=True,
    expose_value=False,
    is_eager=True,
    callback=lambda _context, _option, value: end_with_parent() if value else None,
)


def free_port(host: str) -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def check_port(host: str, port: int) -> None:
    """Refuses a port that is taken, before anything is started.

    Raises:
        StartFailed: somebody listens there, or it may not be used.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartFailed(
                f"Port {port} cannot be used ({error.strerror}); choose another with --port."
            ) from error
