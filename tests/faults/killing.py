"""Kills web servers while people upload, again and again; then nothing may be lost.

    python tests/faults/killing.py [--kills 10000]

One data folder, one listening socket. Several servers (the real app in the real web server, each a
forked process) accept from it; several senders upload pictures over HTTP and note what was
acknowledged with 202; now and then a sweep without any grace runs beside them. Servers and sweeps
are killed with SIGKILL at random moments. At the end: every acknowledged upload opens to its bytes,
no row without a good blob, the database is sound, and after one more sweep no file is left that
belongs to nothing.

``--harm`` breaks the product on purpose, to show that the check sees it: ``early`` acknowledges
before the row is committed, ``sweep`` lets sweeps ignore uploads that are being committed.
"""

import argparse
import contextlib
import ctypes
import hashlib
import http.client
import json
import logging
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import select, text
from werkzeug.wrappers import Response

from annotator.bootstrap import Toolbox
from annotator.cli.installing import install
from annotator.cli.webserver import make_server
from annotator.core.config import Settings
from annotator.core.errors import AnnotatorError
from annotator.domain import accounts, consent, upkeep
from annotator.domain.upkeep import sweeping
from annotator.models import Image
from annotator.web import create_app
from tests.factories import grey_png, make_dataset, make_subject, make_user

SERVERS, SENDERS = 4, 4
SWEEPS = {"sweep": 0.4}  # share of places that a sweep takes; 0.1 unless more harm is wanted
SHORT, LONG = 0.08, 0.35  # seconds that a process lives at most: half of them short
SIZES = (200, 9_000, 40_000, 300_000)  # bytes behind a picture's end
BOUNDARY = "killing"
PR_SET_PDEATHSIG = 1  # linux/prctl.h
NEW_DATASET = 300  # kills; a picture that waits makes every next one a little slower


def picture(sender: int, number: int) -> bytes:
    """The bytes of one upload; the same again for the check."""
    chance = random.Random(f"{sender}/{number}")
    return grey_png(number % 256) + chance.randbytes(chance.choice(SIZES))


@dataclass
class Place:
    """The installation, and everything that forked processes inherit."""

    data: Path
    harm: str
    tools: Toolbox = field(init=False)
    listening: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        logging.getLogger("waitress").setLevel(logging.CRITICAL)
        settings = Settings(data=self.data, web_threads=4)
        self.tools, _ = install(settings, context="research")
        self.tools.queue = SimpleNamespace(wake=lambda _job: None)  # nobody is there to wake
        with self.tools.transaction() as session:
            admin = make_user(session, "admin")
            _, self.token = accounts.create_token(session, user=admin, name="killing")
        assert self.tools.vault is not None  # opened once, for all
        self.app = create_app(self.tools)
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listening.getsockname()[1]
        self.add_dataset(0)
        # Once through everything, so that no child has to warm up first.
        form = {"subject": "anna", "file": (BytesIO(grey_png(0)), "warm.png")}
        where, who = f"/api/v1/datasets/{self.dataset}/images", f"Bearer {self.token}"
        answer = self.app.test_client().post(where, data=form, headers={"Authorization": who})
        assert answer.status_code == 202, answer.text

    def add_dataset(self, number: int) -> None:
        with self.tools.transaction() as session:
            dataset = make_dataset(session, f"Set {number}")
            make_subject(session, self.tools.vault, dataset, code="anna")
            self.dataset = dataset.id
        self.tools.engine.dispose()  # no connection may cross a fork

    def serve(self) -> None:
        """In a child: the web server, until it is killed."""
        if self.harm == "early":
            self._break_transactions()
        if self.harm == "sweep":
            self._dawdle()
        make_server(self.app, self.tools.settings, sockets=[self.listening]).run()

    def _dawdle(self) -> None:
        """Widens the gap between a blob and its row, so that chance has something to hit."""
        real = self.tools.vault.seal_blob

        def seal(**what: Any) -> str:
            blob = real(**what)
            time.sleep(0.1)
            return blob

        self.tools.vault.seal_blob = seal  # type: ignore[method-assign]

    def _break_transactions(self) -> None:
        real = self.app.wsgi_app

        def early(environ: dict[str, Any], start: Callable[..., Any]) -> Iterator[bytes]:
            body = environ["wsgi.input"].read()
            start("202 Accepted", [("Content-Length", "2")])
            yield b"{}"
            Response.from_app(real, environ | {"wsgi.input": BytesIO(body)})

        self.app.wsgi_app = early  # type: ignore[assignment, method-assign]

    def sweep(self) -> None:
        """In a child: sweeps without grace, until it is killed."""
        if self.harm == "sweep":
            sweeping._find_limit = lambda *_, **__: time.time()
        while True:
            with contextlib.suppress(AnnotatorError):
                upkeep.sweep(
                    self.tools.engine, vault=self.tools.vault, grace=timedelta(0), force=True
                )
            time.sleep(0.02)

    def send(self, sender: int, acknowledged: int) -> None:
        """In a child: uploads, and writes down what was acknowledged."""
        number = 0
        while True:
            number += 1
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self._upload(sender, number):
                    os.write(acknowledged, f"{sender} {number} {self.dataset}\n".encode())

    def _upload(self, sender: int, number: int) -> bool:
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="subject"\r\n\r\nanna\r\n'
            f"--{BOUNDARY}\r\nContent-Disposition: form-data; "
            f'name="file"; filename="{number}.png"\r\n\r\n'
        )
        body = head.encode() + picture(sender, number) + f"\r\n--{BOUNDARY}--\r\n".encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(
                "POST",
                f"/api/v1/datasets/{self.dataset}/images",
                body,
                {
                    "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
                    "Authorization": f"Bearer {self.token}",
                },
            )
            return connection.getresponse().status == 202
        finally:
            connection.close()


def fork(act: Callable[[], None]) -> int:
    """A child that does one thing until it is killed."""
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if sys.platform == "linux":  # it must not outlive us, however we end
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            act()
        finally:
            os._exit(1)
    return child


def kill(child: int) -> None:
    """Ends a process as a power cut would, as far as it can tell."""
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@dataclass
class Round:
    """Runs the processes, and kills them."""

    place: Place
    chance: random.Random
    kills: int = 0
    senders: int = 0
    swept: int = 0

    def run(self, kills: int, note: int) -> None:
        """So many kills, on one dataset."""
        self.place.tools.engine.dispose()
        sending = []
        for _ in range(SENDERS):
            self.senders += 1
            name = self.senders
            sending.append(fork(lambda name=name: self.place.send(name, note)))
        living: list[tuple[float, int]] = []
        try:
            for _ in range(kills):
                while len(living) < SERVERS:
                    living.append(self._start())
                living.sort()
                ends, child = living.pop(0)
                time.sleep(max(0.0, ends - time.monotonic()))
                kill(child)
                self.kills += 1
        finally:
            for child in (*sending, *(child for _, child in living)):
                kill(child)

    def _start(self) -> tuple[float, int]:
        sweeps = self.chance.random() < SWEEPS.get(self.place.harm, 0.1)
        self.swept += sweeps
        child = fork(self.place.sweep if sweeps else self.place.serve)
        return time.monotonic() + self.chance.uniform(0, self.chance.choice((SHORT, LONG))), child


def check(place: Place, acknowledged: list[tuple[int, int, int]]) -> dict[str, object]:
    """What is left, and what is wrong with it."""
    tools, wrong = place.tools, []
    with tools.sessions() as session:
        rows = session.execute(select(Image.dataset_id, Image.fingerprint, Image.id)).all()
        known = {(dataset, bytes(print_)): number for dataset, print_, number in rows}
        for sender, number, dataset in acknowledged:
            data = picture(sender, number)
            name = f"upload-{dataset}"
            mark = tools.vault.blind_index(name, hashlib.sha256(data).digest())
            image = session.get(Image, known.get((dataset, mark), 0))
            if image is None or open_original(tools, image) != data:
                wrong.append(f"upload {number} of sender {sender} was acknowledged and is lost")
        sound = session.scalars(text("PRAGMA integrity_check")).all()
        strays = session.execute(text("PRAGMA foreign_key_check")).all()
    wrong += [damage.sentence for damage in upkeep.Scrub(tools.engine, vault=tools.vault)]
    if sound != ["ok"] or strays:
        wrong.append(f"the database is damaged: {sound} {strays}")
    last = upkeep.sweep(tools.engine, vault=tools.vault, grace=timedelta(0), force=True)
    files = {path.name for path in (place.data / "blobs").rglob("*") if path.is_file()}
    with tools.sessions() as session:
        named = set(session.scalars(select(Image.original_blob)))
    if files != named:
        wrong.append(f"{len(files ^ named)} files and rows do not belong together")
    return {
        "acknowledged": len(acknowledged),
        "rows": len(rows),
        "orphans": len(last.orphans),
        "unfinished": last.unfinished,
        "wrong": wrong[:20],
    }


def open_original(tools: Toolbox, image: Image) -> bytes | None:
    """The bytes of an upload, if they open."""
    with contextlib.suppress(AnnotatorError):
        return tools.vault.open_blob(
            subject=image.subject.uid,
            key=consent.key_of(tools.vault, image.subject),
            blob=image.original_blob or "",
            kind="original",
        )
    return None


def run(*, kills: int, seed: int, harm: str, folder: Path) -> dict[str, object]:
    """Everything once."""
    started = time.monotonic()
    place = Place(folder / "data", harm)
    work = Round(place, random.Random(seed))
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    notes = b""
    while work.kills < kills:
        work.run(min(NEW_DATASET, kills - work.kills), writing)
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(reading, 1 << 16):
                notes += piece
        sys.stderr.write(f"\r{work.kills:,} of {kills:,} kills")
        if work.kills < kills:
            place.add_dataset(work.kills)
    sys.stderr.write("\n")
    acknowledged = [tuple(map(int, line.split())) for line in notes.decode().splitlines()]
    found = check(place, acknowledged)  # type: ignore[arg-type]
    place.tools.engine.dispose()
    seconds = round(time.monotonic() - started, 1)
    return {"kills": work.kills, "sweeps": work.swept, "seconds": seconds, **found}


def main() -> int:
    """Prints what was found; 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--kills", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--harm", choices=("early", "sweep"), default="")
    asked = parser.parse_args()
    # In memory where that is: a killed process loses nothing that it wrote, synced or not.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        found = run(kills=asked.kills, seed=asked.seed, harm=asked.harm, folder=Path(folder))
    sys.stdout.write(json.dumps(found) + "\n")
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
