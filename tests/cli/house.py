"""A data folder with three people, its commands, and places for copies of it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.cli import main
from annotator.core.config import Settings
from annotator.core.errors import AnnotatorError
from annotator.domain import consent, erasure, jobs
from annotator.models import Face, Subject
from annotator.worker import run_job

PEOPLE = 3


class House:
    """A data folder, its commands, and a place for copies."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
        self.data, self.out, self.keys = root / "data", root / "copies" / "out", root / "keys"
        self.root, self.patch, self.capsys = root, monkeypatch, capsys
        self._open: list[Toolbox] = []
        self.use(self.data)

    def use(self, data: Path, **settings: str) -> None:
        for name in [name for name in os.environ if name.startswith("ANNOTATOR_")]:
            if not name.startswith("ANNOTATOR_TEST_"):
                self.patch.delenv(name)
        self.patch.setenv("ANNOTATOR_DATA", str(data))
        for name, value in settings.items():
            self.patch.setenv(f"ANNOTATOR_{name}", value)

    def tools(self) -> Toolbox:
        box = Toolbox(Settings.load(os.environ))
        box.queue = type("Silent", (), {"wake": lambda *_: None})()
        self._open.append(box)
        return box

    def close(self) -> None:
        for box in self._open:
            box.engine.dispose()

    def run(self, *arguments: str | Path) -> Any:
        """The command's JSON, or its one sentence when it refuses."""
        self.capsys.readouterr()
        code = main([*map(str, arguments), "--json"])
        said = self.capsys.readouterr()
        if code:
            lines = said.err.strip().splitlines()
            assert len(lines) == 1, said.err
            return lines[0]
        return json.loads(said.out)

    def backup(self) -> Any:
        return self.run("backup", self.out, "--keys", self.keys)

    def restore(self, *more: str | Path, name: str = "again", **settings: str) -> Any:
        self.use(self.root / name, **settings)
        return self.run("restore", self.out, "--keys", self.keys, *more)

    @property
    def ledger(self) -> Path:
        return self.data / "keys" / "erasures.jsonl"

    def withdraw(self, number: int, *purposes: str) -> None:
        tools = self.tools()
        with tools.transaction() as session:
            subject = people(session)[number]
            done = erasure.withdraw_purposes(
                session, subject=subject, purposes=purposes or ("store",), by=None
            )
            job = done.job.id
        self.work(job)

    def work(self, job: int) -> Any:
        """Runs a job; answers its result."""
        tools = self.tools()
        assert run_job(tools, job)
        with tools.sessions() as session:
            return jobs.get_job(session, job_id=job).result


def people(session: Session) -> list[Subject]:
    return list(session.scalars(select(Subject).order_by(Subject.id)))


def opens(tools: Toolbox, number: int) -> bool:
    """Whether a person's crops open."""
    with tools.sessions() as session:
        subject = people(session)[number]
        faces = session.scalars(select(Face).where(Face.subject_id == subject.id)).all()
        try:
            key = consent.key_of(tools.vault, subject)
            crops = [
                tools.vault.open_blob(
                    subject=subject.uid, key=key, blob=face.crop_blob, kind="crop"
                )
                for face in faces
            ]
        except AnnotatorError:
            return False
        return bool(crops) and all(crop.startswith(b"\x89PNG") for crop in crops)
