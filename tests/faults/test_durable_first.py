"""What is acknowledged was made durable before: the order of system calls, as the kernel saw it."""

import json
import os
import re
import secrets
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from annotator.bootstrap import Toolbox
from annotator.core.config import Settings
from tests.factories import grey_png, make_dataset, make_open_task, make_subject
from tests.faults.recorder import strace
from tests.installation import Installation, is_served, wait_for

CALLS = "fsync,fdatasync,rename,renameat,renameat2,sendto,sendmsg,write"
WHOLE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)")
BEGUN = re.compile(r"^(\d+) +(\w+)\((.*) <unfinished \.\.\.>")
ENDED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>.* = (-?\d+)")


@dataclass
class Served:
    """A web server whose calls are written down."""

    url: str
    token: str
    log: Path

    def ask(self, path: str, data: bytes, kind: str) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        request = urllib.request.Request(f"{self.url}/api/v1{path}", data, headers, method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def events(self, since: int) -> list[str]:
        """Calls in the order in which they ended: name and what they were given."""
        begun: dict[str, str] = {}
        found = []
        for line in self.log.read_text(errors="replace")[since:].splitlines():
            if match := WHOLE.match(line):
                found.append(f"{match[2]} {match[3]}")
            elif match := BEGUN.match(line):
                # An answer counts from its beginning, anything else from its end.
                if match[2] in {"sendto", "sendmsg"}:
                    found.append(f"{match[2]} {match[3]}")
                begun[match[1]] = match[3]
            elif (match := ENDED.match(line)) and match[2] not in {"sendto", "sendmsg"}:
                found.append(f"{match[2]} {begun.get(match[1], '')}")
        return found


@pytest.fixture
def served(tmp_path: Path, free_port: int) -> Iterator[tuple[Served, Toolbox]]:
    program = strace()
    installation = Installation(tmp_path / "data")
    installation.init()
    token = installation.token()
    tools = Toolbox(Settings.load(installation.environ))
    url, log = f"http://127.0.0.1:{free_port}", tmp_path / "calls"
    options = ["-f", "-y", "-s", "64", "-e", f"trace={CALLS}", "-e", "signal=none", "-qq"]
    command = [sys.executable, "-m", "annotator", "web", "--port", str(free_port)]
    traced = subprocess.Popen(
        [program, *options, "-o", str(log), *command], env=os.environ | installation.environ
    )
    wait_for(lambda: is_served(url))
    yield Served(url, token, log), tools
    tools.engine.dispose()
    for child in psutil.Process(traced.pid).children():
        child.terminate()
    traced.wait(30)


def first(events: list[str], *words: str, after: int = -1) -> int:
    """The place of the first event behind a place that has all the words."""
    for at, event in enumerate(events):
        if at > after and all(word in event for word in words):
            return at
    raise AssertionError((words, events[after + 1 :]))


def test_uploads_and_votes_are_durable_before_they_are_acknowledged(
    served: tuple[Served, Toolbox],
) -> None:
    server, tools = served
    with tools.transaction() as session:
        dataset = make_dataset(session)
        make_subject(session, tools.vault, dataset, code="anna")
        make_open_task(session, tools.vault, dataset)
        number = dataset.id

    since, mark = len(server.log.read_text(errors="replace")), secrets.token_hex(8)
    body = (
        f'--{mark}\r\nContent-Disposition: form-data; name="subject"\r\n\r\nanna\r\n--{mark}\r\n'
        'Content-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    ).encode() + grey_png(1)
    body += f"\r\n--{mark}--\r\n".encode()
    kind = f"multipart/form-data; boundary={mark}"
    server.ask(f"/datasets/{number}/images", body, kind)
    events = server.events(since)
    written = first(events, "fsync", "/blobs/", "/tmp-")
    renamed = first(events, "rename", "/blobs/", "/tmp-", after=written)
    listed = first(events, "fsync", "/blobs/", after=renamed)
    committed = first(events, "sync", "annotator.sqlite-wal", after=listed)
    first(events, "HTTP/1.1 202", after=committed)
    assert not [event for event in events[:committed] if "HTTP/1.1 202" in event]

    where = f"/datasets/{number}/tasks/lease"
    (task,) = server.ask(where, b'{"n": 1}', "application/json")["tasks"]
    since = len(server.log.read_text(errors="replace"))
    vote = [{"id": str(uuid.uuid4()), "task": task["id"], "label": "happiness"}]
    server.ask("/annotations", json.dumps(vote).encode(), "application/json")
    events = server.events(since)
    committed = first(events, "sync", "annotator.sqlite-wal")
    answered = first(events, "HTTP/1.1 20", after=committed)
    assert [at for at, event in enumerate(events) if "HTTP/1.1 20" in event] == [answered]
