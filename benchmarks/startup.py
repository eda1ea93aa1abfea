"""How soon does a page come, and how much memory does the web process take?

Starts ``web`` on an installation of its own, several times, and asks for the sign-in page until it
comes. Beside it, in the same run: a bare Flask app behind the same server. Prints JSON lines;
seconds are wall clock, megabytes are 10^6 bytes resident.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 5
BARE = """
import sys
from flask import Flask
from waitress import serve
app = Flask("bare")
app.add_url_rule("/sign-in", view_func=lambda: "hello")
serve(app, host="127.0.0.1", port=int(sys.argv[1]))
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def time_first_page(command: list[str], environ: dict[str, str], port: int) -> tuple[float, float]:
    """Starts a server; returns seconds to its first page, and megabytes after ten pages."""
    started = time.monotonic()
    process = subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}/sign-in"
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).read()
                break
            except OSError:
                time.sleep(0.01)
        seconds = time.monotonic() - started
        for _ in range(10):
            urllib.request.urlopen(url, timeout=5).read()
        return seconds, psutil.Process(process.pid).memory_info().rss / 1e6
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Prints the medians of both."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "ANNOTATOR_DATA": f"{folder}/data", "PYTHONPATH": str(ROOT)}
        annotator = [sys.executable, "-m", "annotator"]
        subprocess.run(
            [
                *(*annotator, "init", "--json", "--context", "research"),
                *("--email", "a@clinic.example", "--name", "A"),
            ],
            env=environ,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for what in ("annotator", "bare flask"):
            figures = []
            for _ in range(ROUNDS):
                port = free_port()
                command = (
                    [*annotator, "web", "--port", str(port)]
                    if what == "annotator"
                    else [sys.executable, "-c", BARE, str(port)]
                )
                figures.append(time_first_page(command, environ, port))
            seconds, megabytes = zip(*figures, strict=True)
            print(
                json.dumps(
                    {
                        "server": what,
                        "first_page_seconds": round(statistics.median(seconds), 2),
                        "resident_mb": round(statistics.median(megabytes), 1),
                        "rounds": ROUNDS,
                    }
                )
            )


if __name__ == "__main__":
    main()
