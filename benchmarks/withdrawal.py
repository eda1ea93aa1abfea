"""Withdrawal of one of 10,000 people with 50 faces each, while others lease and vote.

Makes an installation in SQLite with rows for everybody; only those who withdraw have blobs for all
their faces. Then one withdraws after the other, as the web and a worker do, the first of them in a
process that did nothing of the kind before. Prints one JSON line a question: how long until exports
and models are marked, how long until the person has an answer (a worker is woken in between), how
long until all is done, how long other people's leases and votes took meanwhile (beside the same
without a withdrawal), and how many of the person's bytes are left in any file. Run it with
``PYTHONPATH=.``.
"""

import argparse
import datetime as dt
import json
import multiprocessing
import os
import secrets
import statistics
import tempfile
import time
import uuid
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from sqlalchemy import event, insert, select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.cli.installing import install
from annotator.core.config import Settings
from annotator.core.db import Base, now
from annotator.domain import consent, erasure, labelling
from annotator.models import (
    PURPOSES,
    ConsentEvent,
    Dataset,
    Export,
    ExportItem,
    Face,
    Image,
    ModelVersion,
    Prediction,
    Subject,
    TrainingRun,
    User,
)
from annotator.worker import run_job
from tests.factories import (
    grey_png,
    make_dataset,
    make_face,
    make_model,
    make_prediction,
    make_user,
)

HEX = "lower(hex(randomblob(16)))"
# What differs between the rows of a table, in SQL.
ROWS = {
    "images": {
        "id": "n",
        "uid": HEX,
        "subject_id": "OWNER",
        "fingerprint": "randomblob(32)",
        "sealed_name": "randomblob(40)",
        "redacted_blob": HEX,
    },
    "faces": {"id": "n", "subject_id": "OWNER", "image_id": "n", "crop_blob": HEX},
    "tasks": {"id": "n", "face_id": "n", "rank": "n % 997"},
    "annotations": {"id": "n", "task_id": "n", "client_id": HEX},
    "predictions": {"id": "n", "face_id": "n", "sealed_embedding": "randomblob(273)"},
}


def tell(question: str, **figures: Any) -> None:
    """One line."""
    print(json.dumps({"question": question, **figures}), flush=True)


def fill(tools: Toolbox, subjects: int, faces: int) -> None:
    """People, consents, pictures, faces, tasks, predictions, an export and a model of all."""
    with tools.transaction() as session:
        dataset = make_dataset(session)
        model = make_model(session)
        make_user(session, "admin")
        notice = consent.current_notice(session, dataset=dataset)
        rows, events = [], []
        for number in range(1, subjects + 1):
            uid = secrets.token_hex(16)
            key = tools.vault.create_key(uid)
            sealed = tools.vault.seal_field(
                subject=uid, key=key, table="subjects", column="sealed_name", row=uid, text="Nobody"
            )
            rows.append(
                {
                    "id": number,
                    "uid": uid,
                    "dataset_id": dataset.id,
                    "code": f"P-{number}",
                    "wrapped_key": key.wrapped,
                    "key_epoch": key.epoch,
                    "key_version": key.version,
                    "sealed_name": sealed,
                }
            )
            events += [
                {
                    "subject_id": number,
                    "purpose": purpose,
                    "kind": "given",
                    "notice_id": notice.id,
                    "expression": "ticked",
                    "at": now(),
                    "expires_at": now() + dt.timedelta(days=365),
                }
                for purpose in PURPOSES
            ]
        session.execute(insert(Subject), rows)
        session.execute(insert(ConsentEvent), events)
        dataset_id = dataset.id
        person = session.get_one(Subject, 1)
        face = make_face(session, tools.vault, person, {"fear": 1})
        make_prediction(session, tools.vault, face, model, embedding=os.urandom(128))
    with tools.transaction() as session:
        for table, changes in ROWS.items():
            multiply(session, table, changes, subjects=subjects, count=subjects * faces)
        learn(session, dataset_id)
    tools.engine.dispose()  # with it goes the large cache


def multiply(
    session: Session, table: str, changes: dict[str, str], *, subjects: int, count: int
) -> None:
    """Makes many rows out of a table's first, in the database itself; the others differ as told.

    People take turns, so that the rows of one lie as far apart as can be.
    """
    run = session.connection().exec_driver_sql
    run("PRAGMA cache_size=-1500000")  # KiB; the random ids go all over the indexes
    columns = [column.name for column in Base.metadata.tables[table].columns]
    values = [changes.get(name, f"first.{name}") for name in columns]
    values = [value.replace("OWNER", f"(1 + (n - 1) % {subjects})") for value in values]
    run(
        "WITH RECURSIVE numbers(n) AS "
        f"(VALUES (2) UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) "
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} "
        f"FROM numbers, (SELECT * FROM {table} WHERE id = 1) AS first"
    )


def learn(session: Session, dataset_id: int) -> None:
    """An export of everybody, and a model that learned from it."""
    export = Export(
        uid="e",
        dataset_id=dataset_id,
        tier="T1",
        balance="none",
        seed=0,
        recipient="X",
        state="ready",
    )
    session.add(export)
    session.flush()
    run = TrainingRun(export_id=export.id, kind="cnn", name="n", options={})
    session.add(run)
    session.flush()
    session.add(ModelVersion(name="taught", kind="cnn", digest="1", training_run_id=run.id))
    events = session.execute(
        select(ConsentEvent.subject_id, ConsentEvent.id).where(ConsentEvent.purpose == "train")
    )
    session.execute(
        insert(ExportItem),
        [
            {
                "export_id": export.id,
                "subject_id": subject,
                "consent_event_id": event,
                "split": "train",
                "file": f"{subject}.png",
            }
            for subject, event in events
        ],
    )


def give_blobs(tools: Toolbox, number: int) -> dict[str, bytes]:
    """Real blobs for one person's faces; answers what is theirs, by what it is."""
    with tools.transaction() as session:
        subject = session.get_one(Subject, number)
        key = consent.key_of(tools.vault, subject)
        found = {"key": subject.wrapped_key or b"", "name": subject.sealed_name or b""}
        pairs = session.execute(
            select(Image, Face, Prediction.sealed_embedding)
            .join(Face, Face.image_id == Image.id)
            .join(Prediction, Prediction.face_id == Face.id)
            .where(Image.subject_id == number)
        ).all()
        for image, face, embedding in pairs:
            for row, column, kind in (
                (image, "redacted_blob", "redacted"),
                (face, "crop_blob", "crop"),
            ):
                blob = tools.vault.seal_blob(
                    subject=subject.uid, key=key, kind=kind, data=grey_png(1) + os.urandom(20_000)
                )
                setattr(row, column, blob)
                found[f"{kind} {face.id}"] = blob.encode()
            found |= {
                f"embedding {face.id}": embedding,
                f"file name {face.id}": image.sealed_name,
                f"fingerprint {face.id}": image.fingerprint,
                f"uid {face.id}": image.uid.encode(),
            }
    return found


def label(data: Path, stop: Event, ready: Event, out: Any) -> None:
    """Somebody who leases and votes, one after the other; sends every wait in seconds."""
    tools = Toolbox(Settings(data=data))
    waits: list[float] = []
    while not stop.is_set():
        for what in (lease, vote):
            started = time.perf_counter()
            with tools.transaction() as session:
                what(session)
            waits.append(time.perf_counter() - started)
        ready.set()
        time.sleep(0.01)
    out.put(waits)


def lease(session: Session) -> None:
    """Twenty faces."""
    user, dataset = session.scalars(select(User)).one(), session.scalars(select(Dataset)).one()
    labelling.lease_tasks(session, dataset=dataset, user=user, n=20)


def vote(session: Session) -> None:
    """A vote on one of them."""
    user, dataset = session.scalars(select(User)).one(), session.scalars(select(Dataset)).one()
    held = labelling.lease_tasks(session, dataset=dataset, user=user, n=1)
    labelling.annotate(
        session, user=user, client_id=str(uuid.uuid4()), task_id=held[0].task.id, label="fear"
    )


def beside(data: Path, what: Any) -> list[float]:
    """Runs something while a process labels; the waits of that process in seconds."""
    context = multiprocessing.get_context("spawn")
    stop, ready, out = context.Event(), context.Event(), context.Queue()
    process = context.Process(target=label, args=(data, stop, ready, out))
    process.start()
    ready.wait(60)
    what()
    stop.set()
    waits: list[float] = out.get(timeout=60)
    process.join()
    return waits


def latency(waits: list[float]) -> dict[str, Any]:
    """Milliseconds."""
    ordered = sorted(waits)
    return {
        "calls": len(ordered),
        "median_ms": round(statistics.median(ordered) * 1000, 1),
        "p99_ms": round(ordered[int(len(ordered) * 0.99) - 1] * 1000, 1),
        "longest_ms": round(ordered[-1] * 1000, 1),
    }


def withdraw(tools: Toolbox, number: int) -> None:
    """As the web and a worker do, timed."""
    committed: list[float] = []
    started = time.perf_counter()
    with tools.transaction() as session:
        # Before a worker is woken, for which a fresh process has much to load.
        event.listen(session, "after_commit", lambda _: committed.append(time.perf_counter()))
        subject = session.get_one(Subject, number)
        done = erasure.withdraw_subject(session, subject=subject, by=None)
        facts = done.consequences
        job, counts = done.job.id, (len(facts.exports), len(facts.models), facts.images)
    answered = time.perf_counter() - started
    run_job(tools, job)
    seconds = time.perf_counter() - started
    with tools.sessions() as session:
        left = len(erasure.list_withdrawals(session))
    exports, models, images = counts
    tell(
        "withdrawal",
        exports=exports,
        models=models,
        images=images,
        marked_seconds=round(committed[0] - started, 2),
        answered_seconds=round(answered, 2),
        done_seconds=round(seconds, 2),
        unfinished=left,
    )


def search(data: Path, canaries: dict[str, bytes]) -> dict[str, int]:
    """How many of the person's bytes are left, by kind and file."""
    found: dict[str, int] = {}
    for path in data.rglob("*"):
        if path.is_file():
            held = path.read_bytes()
            for what, value in canaries.items():
                if value in held:
                    name = f"{what.split()[0]} in {path.name}"
                    found[name] = found.get(name, 0) + 1
    return found


def run(folder: Path, subjects: int, faces: int) -> None:
    """Everything."""
    tools, _ = install(Settings(data=folder / "data"), context="research")
    started = time.perf_counter()
    fill(tools, subjects, faces)
    chosen = subjects // 2
    canaries = give_blobs(tools, chosen)
    give_blobs(tools, chosen + 1)
    size = (tools.data / "annotator.sqlite").stat().st_size
    tell(
        "set up",
        subjects=subjects,
        faces=subjects * faces,
        database_mb=round(size / 1e6),
        seconds=round(time.perf_counter() - started, 1),
    )
    before = search(tools.data, canaries)
    tell("bytes before", found=sum(before.values()), looked_for=len(canaries))
    calm = beside(tools.data, lambda: time.sleep(5))
    tell("others without a withdrawal", **latency(calm))
    waits = beside(tools.data, lambda: [withdraw(tools, each) for each in (chosen, chosen + 1)])
    tell("others during both withdrawals", **latency(waits))
    left = search(tools.data, canaries)
    tell("bytes left", found=sum(left.values()), where=left)
    tools.engine.dispose()


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=10_000)
    parser.add_argument("--faces", type=int, default=50)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), arguments.subjects, arguments.faces)


if __name__ == "__main__":
    main()
