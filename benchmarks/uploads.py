"""Memory of a web process while many people upload at once.

    python benchmarks/uploads.py [--uploads 16] [--megabytes 20] [--rounds 2]

Makes an installation, starts `web`, sends that many uploads in parallel and samples the process's
resident memory every 10 ms. Prints one JSON object: before, the most, after, and what was answered.
"""

import argparse
import http.client
import json
import os
import tempfile
import threading
import time
from pathlib import Path

import psutil

from annotator.bootstrap import Toolbox
from annotator.core.config import Settings
from tests.factories import grey_png, make_dataset, make_subject
from tests.installation import Installation, is_served, wait_for

MEGABYTE = 10**6
BOUNDARY = "annotator-benchmark"


def body_of(number: int, megabytes: int) -> bytes:
    """A multipart form with one picture; what lies behind a PNG's end is nobody's business here."""
    picture = grey_png(number % 256) + os.urandom(megabytes * MEGABYTE)
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="subject"\r\n\r\nanna\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{number}.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    return head.encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()


def send(port: int, token: str, body: bytes, answers: list[int]) -> None:
    """One upload."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    headers = {"Content-Type": kind, "Authorization": f"Bearer {token}"}
    connection.request("POST", "/api/v1/datasets/1/images", body, headers)
    answers.append(connection.getresponse().status)
    connection.close()


def measure(port: int, pid: int, token: str, asked: argparse.Namespace) -> dict[str, object]:
    """One round."""
    process, done, most = psutil.Process(pid), threading.Event(), [0]

    def sample() -> None:
        while not done.wait(0.01):
            most[0] = max(most[0], process.memory_info().rss)

    before = process.memory_info().rss
    answers: list[int] = []
    bodies = [body_of(number, asked.megabytes) for number in range(asked.uploads)]
    senders = [threading.Thread(target=send, args=(port, token, body, answers)) for body in bodies]
    watch = threading.Thread(target=sample)
    watch.start()
    started = time.monotonic()
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    seconds = time.monotonic() - started
    done.set()
    watch.join()
    return {
        "before_mb": before // MEGABYTE,
        "most_mb": most[0] // MEGABYTE,
        "after_mb": process.memory_info().rss // MEGABYTE,
        "answers": {str(status): answers.count(status) for status in sorted(set(answers))},
        "seconds": round(seconds, 2),
    }


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=16)
    parser.add_argument("--megabytes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        port = 8793
        made = Installation(Path(folder) / "data", ANNOTATOR_PORT=str(port), MALLOC_ARENA_MAX="2")
        made.init()
        tools = Toolbox(Settings.load(made.environ))
        with tools.transaction() as session:
            make_subject(session, tools.vault, make_dataset(session), code="anna")
        tools.engine.dispose()
        token = made.token()
        with made.process("web") as web:
            wait_for(lambda: is_served(f"http://127.0.0.1:{port}/sign-in"))
            for _ in range(asked.rounds):
                print(json.dumps(measure(port, web.pid, token, asked)), flush=True)


if __name__ == "__main__":
    main()
