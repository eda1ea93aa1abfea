"""Records every byte that a command and all its children write to files, deleted ones too.

``strace`` tells each write with its bytes and with what its descriptor is. Sockets, pipes and
devices are left out, and files that exist in memory only (``memfd``). What is mapped into memory
and written there is told by name.
"""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2")
COPIES = ("sendfile", "copy_file_range", "splice", "io_uring_setup")
LINE = re.compile(rb"^\d+ +(\w+)\(")
TARGET = re.compile(rb"^\d+ +\w+\(\d+<([^>]*)>")
FILES = re.compile(rb"\d+<([^>]*)>")
BYTES = re.compile(rb'"((?:\\x[0-9a-f]{2})*)"')
SHARED = re.compile(rb"PROT_WRITE[^,]*, MAP_SHARED[^,]*, \d+<([^>]*)>")
STOP_SECONDS = 60
LOG = "said.log"


def strace() -> str:
    """Where ``strace`` is; skips the test where there is none, or where it may not look."""
    found = shutil.which("strace")
    if found is None:
        pytest.skip("no strace (apt-get install strace)")
    command = [found, "-f", "-o", os.devnull, "true"]
    tried = subprocess.run(command, capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace may not look: {tried.stderr.decode().strip()}")
    return found


@dataclass
class Recording:
    """What was written.

    Attributes:
        written: the bytes that each file was given, one after the other, by name.
        copied: files that the kernel copied into by itself.
        mapped: files that were mapped to be written in memory.
    """

    written: dict[str, bytearray] = field(default_factory=dict)
    copied: set[str] = field(default_factory=set)
    mapped: set[str] = field(default_factory=set)

    def find(self, canaries: Mapping[str, Iterable[bytes]]) -> set[tuple[str, str]]:
        """Which canaries reached which files."""
        return {
            (canary, name)
            for name, data in self.written.items()
            for canary, pieces in canaries.items()
            if any(piece in data for piece in pieces)
        }

    def take(self, line: bytes) -> None:
        """Reads one line of ``strace``."""
        call = LINE.match(line)
        if call is None:
            return
        if call[1].decode() in WRITES:
            target = TARGET.match(line)
            name = _file(target[1]) if target else ""
            if name:
                held = self.written.setdefault(name, bytearray())
                for text in BYTES.findall(line):
                    held += bytes.fromhex(text.replace(b"\\x", b"").decode())
        elif call[1] == b"mmap":
            self.mapped.update(filter(None, map(_file, SHARED.findall(line))))
        elif call[1] == b"io_uring_setup":
            self.copied.add("io_uring")
        else:
            self.copied.update(filter(None, map(_file, FILES.findall(line))))


def _file(name: bytes) -> str:
    """The name of a regular file; empty for anything else."""
    if name.startswith(b"\\x"):
        name = bytes.fromhex(name.split(b"(")[0].replace(b"\\x", b"").decode())
    text = name.decode(errors="replace")
    if not text.startswith("/") or text.startswith(("/memfd:", "/proc/", "/sys/")):
        return ""
    if text.startswith("/dev/") and not text.startswith("/dev/shm/"):
        return ""
    return text


@contextmanager
def recorded(
    command: list[str], *, environ: Mapping[str, str], folder: Path
) -> Iterator[tuple[Recording, subprocess.Popen[bytes]]]:
    """Runs a command under the recorder; it is asked to end when the block does.

    Args:
        command: program and arguments.
        environ: its environment.
        folder: a place for the recorder's pipe, and for ``LOG``, what the command said.
    """
    found, pipe, recording = strace(), folder / "strace.pipe", Recording()
    os.mkfifo(pipe)

    def read() -> None:
        with pipe.open("rb") as lines:
            for line in lines:
                recording.take(line)

    reader = threading.Thread(target=read)
    reader.start()
    calls = ",".join((*WRITES, *COPIES, "mmap"))
    options = ["-f", "--seccomp-bpf", "-y", "-xx", "-s", "100000000", "-qq", "-o", str(pipe)]
    choice = ["-e", f"trace={calls}", "-e", "signal=none"]
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            [found, *options, *choice, *command], env=dict(environ), stdout=log, stderr=log
        )
    try:
        yield recording, process
    finally:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children():
                child.terminate()  # strace itself listens to no signal while its program runs
        try:
            process.wait(STOP_SECONDS)
        finally:
            process.kill()
            process.wait()
            reader.join()
            pipe.unlink()
