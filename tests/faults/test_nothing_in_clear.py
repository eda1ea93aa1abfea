"""From upload to export, training and withdrawal no byte of a person reaches any file in the clear.

The whole product runs under the recorder: web server, worker, decoders, command line. Canaries are
the bytes of the uploads, the pixels in them, every picture that was made of them, names, contacts,
file names, embeddings, the export, and the weights of the model that was trained on them.
"""

import base64
import io
import json
import os
import secrets
import sys
import urllib.request
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image as Picture
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.bootstrap.artist import DrawingArtist
from annotator.bootstrap.imaging import LazyImaging
from annotator.core.config import Settings
from annotator.domain import consent, jobs, prediction, training
from annotator.models import PURPOSES, Export, Face, Image, Job, ModelVersion, Prediction, Subject
from tests.faults.recorder import LOG, Recording, recorded
from tests.installation import Installation, is_served, wait_for

pytestmark = pytest.mark.timeout(600)
PEOPLE, EACH = 20, 2
NAME, CONTACT, FILE = "Zoë Kanarienvogel", "zoe.kanari@nowhere.example", "zoe-kanari-portrait.jpg"
PIECE, PIECES = 40, 24  # bytes of a canary, and how many of one thing
VARIED = 20  # different bytes that a piece must have, so that it is found nowhere by chance


def cut(data: bytes) -> list[bytes]:
    """Telling pieces from all over some bytes."""
    found = []
    for at in np.linspace(0, max(0, len(data) - PIECE), PIECES * 8, dtype=int):
        piece = data[at : at + PIECE]
        if len(set(piece)) >= VARIED:
            found.append(piece)
    return found[:: max(1, len(found) // PIECES)]


def pixels(data: bytes) -> list[bytes]:
    """Pieces of the decoded rows of a picture, RGB, BGR and grey."""
    picture = Picture.open(io.BytesIO(data))
    rows = np.asarray(picture.convert("RGB"))
    grey = np.asarray(picture.convert("L"))
    plain = (rows, rows[:, :, ::-1], grey)
    return [piece for each in plain for piece in cut(np.ascontiguousarray(each).tobytes())]


class Person:
    """A program that uses the product over HTTP."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token

    def ask(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """One call; JSON comes back as values, anything else as bytes."""
        data = (
            json.dumps(body).encode() if kind == "application/json" and body is not None else body
        )
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": kind}
        request = urllib.request.Request(f"{self._url}/api/v1{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            said = answer.read()
            return json.loads(said) if "json" in answer.headers["Content-Type"] else said

    def upload(self, dataset: int, subject: str, files: dict[str, bytes], *, cropped: bool) -> int:
        """Sends pictures; answers the job's number."""
        mark = secrets.token_hex(8)
        fields = {"subject": subject, "cropped": "true" if cropped else "false"}
        parts = [
            f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        for name, data in files.items():
            head = f'Content-Disposition: form-data; name="file"; filename="{name}"'
            parts.append(f"--{mark}\r\n{head}\r\n\r\n".encode() + data + b"\r\n")
        body = b"".join(parts) + f"--{mark}--\r\n".encode()
        kind = f"multipart/form-data; boundary={mark}"
        answer = self.ask("POST", f"/datasets/{dataset}/images", body, kind)
        assert len(answer["images"]) == len(files), answer
        return int(answer["job"])

    def wait(self, path: str, name: str, *ends: str) -> Any:
        """What a thing says once it has come to an end."""

        def ended() -> Any:
            said = self.ask("GET", path)
            return said if said[name] in ends else None

        return wait_for(ended, 200)


FACTS = consent.fill_notice(organisation="Clinic", contact="privacy@clinic.example", years=3)


def record(person: Person) -> int:
    """A dataset, its people, their consents, their pictures, and a vote on every face."""
    made = person.ask(
        "POST",
        "/datasets",
        {"name": "Pilot", "votes_per_face": 1, "notice": {"en": FACTS.as_dict()}},
    )
    dataset, artist = int(made["id"]), DrawingArtist(LazyImaging())
    agreed = [{"purposes": PURPOSES, "expression": "ticked", "expires": "2029-01-01"}]
    for number in range(PEOPLE):
        code = f"p{number}"
        who: dict[str, Any] = {"code": code, "consents": agreed}
        if number == 0:
            who |= {"name": NAME, "contact": CONTACT}
        person.ask("POST", f"/datasets/{dataset}/subjects", who)
        shown = artist.emotions_of(number % artist.people)
        files = {
            f"{code}-{seed}.png": artist.draw_crop(
                number % artist.people, shown[(number + seed) % len(shown)], seed=seed
            )
            for seed in range(EACH)
        }
        person.upload(dataset, code, files, cropped=True)
        if number == 0:
            person.upload(dataset, code, draw_portraits(artist), cropped=False)
    wait_for(lambda: is_open(person, dataset), 200)
    labels = iter(range(10_000))
    while True:
        lease = person.ask("POST", f"/datasets/{dataset}/tasks/lease", {"n": 20})["tasks"]
        if not lease:
            break
        for task in lease:
            person.ask("GET", f"/faces/{task['face']}/crop")
        votes = [
            {
                "id": str(uuid.uuid4()),
                "task": task["id"],
                "label": ("happiness", "neutral")[next(labels) % 2],
            }
            for task in lease
        ]
        person.ask("POST", "/annotations", votes)
    return dataset


def is_open(person: Person, dataset: int) -> bool:
    """Whether every face waits for its vote: the crops, and the portrait with one face."""
    progress = person.ask("GET", f"/datasets/{dataset}")["progress"]
    return bool(progress["open"] >= PEOPLE * EACH + 1)


def draw_portraits(artist: DrawingArtist) -> dict[str, bytes]:
    """One that is covered at once, large enough for any buffer to overflow; one that waits."""
    portrait = Picture.open(io.BytesIO(artist.draw_portrait(0, "happiness", seed=1)))
    noise = np.random.default_rng(1).integers(0, 255, (100, portrait.width, 3), np.uint8)
    portrait = portrait.convert("RGB")
    portrait.paste(Picture.fromarray(noise), (0, portrait.height - len(noise)))
    jpeg = io.BytesIO()
    portrait.save(jpeg, "JPEG", quality=100, subsampling=0)
    assert len(jpeg.getvalue()) > 500_000
    return {
        FILE: jpeg.getvalue(),
        "group.png": artist.draw_scene([(0, "neutral"), (1, "fear")], seed=2),
    }


def gather(tools: Toolbox, archive: bytes) -> dict[str, list[bytes]]:
    """Canaries of all that the product made of the uploads, opened here, outside the recorder."""
    artist, vault = DrawingArtist(LazyImaging()), tools.vault
    canaries = {
        "name": [NAME.encode()],
        "contact": [CONTACT.encode()],
        "file name": [FILE.encode(), b"kanari"],
        "export": cut(archive),
    }
    for name, data in draw_portraits(artist).items():
        canaries |= {f"upload {name}": cut(data), f"pixels of {name}": pixels(data)}
    crop = artist.draw_crop(0, artist.emotions_of(0)[0], seed=0)
    canaries |= {"upload of a crop": cut(crop), "pixels of a crop": pixels(crop)}
    with tools.sessions() as session:
        for kind, column in (
            ("sanitised", Image.original_blob),
            ("redacted", Image.redacted_blob),
            ("crop", Face.crop_blob),
        ):
            canaries |= dict(open_some(session, tools, kind, column))
        said = session.scalars(select(Prediction)).first()
        assert said is not None
        subject = session.get_one(Face, said.face_id).subject
        embedding = prediction.open_embedding(vault, prediction=said, subject=subject)
        canaries["embedding"] = [*cut(embedding), *cut(base64.b64encode(embedding))]
        model = session.scalars(select(ModelVersion).where(ModelVersion.name == "canary")).one()
        assert model.sealed_blob is not None
        canaries["weights"] = cut(
            b"".join(vault.open_archive(purpose="model", blob=model.sealed_blob))
        )
    return canaries


def open_some(
    session: Session, tools: Toolbox, kind: str, column: Any
) -> Iterator[tuple[str, list[bytes]]]:
    """Canaries of the first few pictures of a kind."""
    owner = column.class_
    rows = session.execute(select(owner, column).where(column.is_not(None)).limit(4)).all()
    assert rows, kind
    for row, blob in rows:
        data = tools.vault.open_blob(
            subject=row.subject.uid,
            key=consent.key_of(tools.vault, row.subject),
            blob=blob,
            kind=kind,
        )
        yield f"{kind} {row.id}", cut(data)
        yield f"pixels of {kind} {row.id}", pixels(data)


def check(recording: Recording, canaries: dict[str, Iterable[bytes]], data: Path) -> None:
    """Nothing in the clear, and outside the data folder nothing but the log."""
    assert recording.find(canaries) == set()
    outside = {
        name
        for name, content in recording.written.items()
        if not name.startswith(f"{data}/")
        and not name.startswith("/dev/shm/sem.")  # a counter that Celery's processes share
        and content != b"blat"  # how Python tries whether a temporary folder can be written to
    }
    assert outside == {str(data.parent / LOG)}
    assert recording.copied == set()
    assert {Path(name).name for name in recording.mapped} <= {"annotator.sqlite-shm"} | {
        Path(name).name for name in recording.mapped if name.startswith("/dev/shm/sem.")
    }
    assert any("/blobs/" in name for name in recording.written)
    assert any(name.endswith("-wal") for name in recording.written)


def test_no_byte_of_a_person_reaches_a_file(tmp_path: Path, free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}"
    installation = Installation(
        tmp_path / "data", PYTHONDONTWRITEBYTECODE="1", TMPDIR=str(tmp_path)
    )
    installation.init()
    person = Person(url, installation.token())
    python = [sys.executable, "-m", "annotator"]
    where: dict[str, Any] = {"environ": installation.environ, "folder": tmp_path}
    with recorded([*python, "run", "--port", str(free_port)], **where) as (served, process):
        wait_for(lambda: is_served(url))
        dataset = record(person)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 4  # run, web, worker, and at least one decoder
        assert {child.rlimit(psutil.RLIMIT_CORE)[0] for child in family} == {0}
        export = person.ask("POST", f"/datasets/{dataset}/exports", {"recipient": "X"})["id"]
        person.wait(f"/exports/{export}", "state", "ready")
        archive = person.ask("GET", f"/exports/{export}/archive")
        tools = Toolbox(Settings.load(installation.environ))
        train(tools, export)
        canaries = gather(tools, archive)
        with tools.sessions() as session:
            leaving = session.scalars(select(Subject.id).order_by(Subject.id)).first()
        person.ask("POST", f"/subjects/{leaving}/withdrawals", {"purpose": "all"})
        with tools.sessions() as session:
            assert session.get_one(Export, export).sealed_blob is None
        tools.engine.dispose()
    check(served, canaries, installation.data)
    for path in installation.data.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for name, pieces in canaries.items():
                assert not any(piece in content for piece in pieces), (name, path)


def train(tools: Toolbox, export: int) -> None:
    """Asks for a training as a page does; the worker, which is recorded, does it."""
    with tools.transaction() as session:
        run = training.request_training(
            session,
            export=session.get_one(Export, export),
            name="canary",
            options={"epochs": 1, "fine_tune": False},
        )

    def ended() -> Job | None:
        with tools.sessions() as session:
            job = session.get_one(Job, run.job_id)
            return job if job.state in jobs.ENDED else None

    job = wait_for(ended, 200)
    assert job.state == "done", job.error


def test_a_product_that_leaks_is_caught(tmp_path: Path) -> None:
    """The same check on a decoder whose parent keeps a copy of every upload, as spooling would."""
    data = draw_portraits(DrawingArtist(LazyImaging()))[FILE]
    (tmp_path / "in.jpg").write_bytes(data)
    code = """
import sys, tempfile
from pathlib import Path
from annotator.imaging import decode
real = decode.Decoder.decode
def leaky(self, data):
    with tempfile.TemporaryFile() as spool:
        spool.write(data)
        spool.flush()
        found = real(self, data)
        spool.write(found.pixels.tobytes())
        return found
decode.Decoder.decode = leaky
decode.decode(Path(sys.argv[1]).read_bytes())
"""
    environ = os.environ | {
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-c", code, str(tmp_path / "in.jpg")]
    with recorded(command, environ=environ, folder=tmp_path) as (recording, process):
        assert process.wait(60) == 0
    found = recording.find({"upload": cut(data), "pixels": pixels(data)})
    assert {canary for canary, _ in found} == {"upload", "pixels"}
