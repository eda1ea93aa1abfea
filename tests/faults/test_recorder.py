"""The recorder sees what it should: also what is deleted at once, and what a child does."""

import os
import sys
from pathlib import Path

import pytest

from tests.faults.recorder import LOG, recorded

CANARY = b"a face of nobody, 0x2a"
LEAKS = {
    "a temporary file": "import tempfile; f = tempfile.TemporaryFile(); f.write(C); f.flush()",
    "a deleted file": "import os; f = open('a', 'wb'); f.write(C); f.close(); os.remove('a')",
    "a file written at a place": (
        "import os; d = os.open('a', os.O_RDWR | os.O_CREAT); os.pwrite(d, C, 100)"
    ),
    "pieces of a vector": (
        "import os; d = os.open('a', os.O_RDWR | os.O_CREAT); os.writev(d, [C, C])"
    ),
    "another thread": (
        "import threading; t = threading.Thread(target=lambda: open('a', 'wb').write(C));"
        "t.start(); t.join()"
    ),
    "a child": (
        "import subprocess, sys; subprocess.run([sys.executable, '-c',"
        '\'open("a", "wb").write(%r)\' % C])'
    ),
    "two writes": "f = open('a', 'wb', buffering=0); f.write(C[:9]); f.write(C[9:])",
    "shared memory": "f = open('/dev/shm/annotator-canary', 'wb'); f.write(C); f.flush()",
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_seen(leak: str, tmp_path: Path) -> None:
    code = f"import os; os.chdir({str(tmp_path)!r}); C = {CANARY!r}\n{LEAKS[leak]}"
    command = [sys.executable, "-I", "-c", code]
    try:
        with recorded(command, environ=os.environ, folder=tmp_path) as (recording, process):
            assert process.wait(60) == 0
    finally:
        Path("/dev/shm/annotator-canary").unlink(missing_ok=True)
    assert recording.find({"face": [CANARY]})


def test_memory_pipes_and_sockets_are_no_files_and_mappings_are_told(tmp_path: Path) -> None:
    code = f"""
import mmap, os, socket
C = {CANARY!r}
os.write(os.memfd_create("a"), C)
os.write(os.pipe()[1], C)
a, b = socket.socketpair()
a.sendall(C)
os.write(a.fileno(), C)
os.write(os.open("/dev/null", os.O_WRONLY), C)
d = os.open({str(tmp_path / "mapped")!r}, os.O_RDWR | os.O_CREAT)
os.write(d, bytes(4096))
mmap.mmap(d, 4096)[:4] = b"face"
"""
    command = [sys.executable, "-I", "-c", code]
    with recorded(command, environ=os.environ, folder=tmp_path) as (recording, process):
        assert process.wait(60) == 0
    assert not recording.find({"face": [CANARY]})
    assert recording.mapped == {str(tmp_path / "mapped")}
    assert set(recording.written) == {str(tmp_path / "mapped")}, (tmp_path / LOG).read_text()
