"""What the log costs: entries a second, its share of an upload and a review, proofs, checking.

    python benchmarks/log.py [--entries 20000] [--rounds 150]

One JSON object a line. The shares compare the same action with the log and with its entries
dropped, in turns in one run on one database, so that a busy machine slows both.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.cli.installing import install
from annotator.core.config import Settings
from annotator.domain import audit, intake, labelling
from annotator.models import AuditEntry, Dataset, Subject, User
from tests.factories import grey_png, make_dataset, make_open_task, make_subject, make_user


def tell(**figures: Any) -> None:
    """Print one JSON object."""
    print(json.dumps(figures), flush=True)


def measure_appends(tools: Toolbox, entries: int) -> None:
    """Entries a second, by how many share a transaction."""
    for batch in (1, 20, 500):
        turns = max(1, min(200, entries // batch // 4))
        started = time.perf_counter()
        for _ in range(turns):
            with tools.sessions() as session:
                session.connection(execution_options={"writing": True})
                for _ in range(batch):
                    audit.append(session, action="thing.done", actor="cli")
                session.commit()
        seconds = time.perf_counter() - started
        tell(what="append", batch=batch, per_second=round(turns * batch / seconds))


def nothing(session: Session, **_: Any) -> AuditEntry:
    """The log switched off, to see what it costs."""
    del session
    return AuditEntry()


def compare(tools: Toolbox, what: str, act: Callable[[Session, int], None], rounds: int) -> None:
    """Milliseconds of one transaction with and without the log, medians of turns."""
    taken: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(rounds * 2):
        logged = turn % 2 == 0
        with mock.patch.object(audit, "append", audit.append if logged else nothing):
            started = time.perf_counter()
            with tools.sessions() as session:
                session.connection(execution_options={"writing": True})
                act(session, turn)
                session.commit()
            taken[logged].append((time.perf_counter() - started) * 1000)
    with_log, without = statistics.median(taken[True]), statistics.median(taken[False])
    tell(
        what=what,
        rounds=rounds,
        ms_with=round(with_log, 2),
        ms_without=round(without, 2),
        ratio=round(with_log / without, 3),
        share=round(1 - without / with_log, 3),
    )


def measure_shares(tools: Toolbox, rounds: int) -> None:
    """What the log adds to what people do."""
    with tools.transaction() as session:
        dataset = make_dataset(session, votes_per_face=10)
        subject = make_subject(session, tools.vault, dataset)
        user = make_user(session, "admin")
        task = make_open_task(session, tools.vault, dataset, subject)
    ids = dataset.id, subject.id, user.id, task.id

    def upload(session: Session, turn: int) -> None:
        intake.receive_image(
            session,
            vault=tools.vault,
            imaging=tools.imaging,
            dataset=session.get_one(Dataset, ids[0]),
            subject=session.get_one(Subject, ids[1]),
            data=grey_png(1) + turn.to_bytes(8, "big"),
        )

    def review(session: Session, _: int) -> None:
        person = session.get_one(User, ids[2])
        labelling.review(session, user=person, task_id=ids[3], label="fear")

    def vote(session: Session, turn: int) -> None:
        person = session.get_one(User, ids[2])
        labelling.lease_tasks(session, dataset=session.get_one(Dataset, ids[0]), user=person, n=1)
        client = f"00000000-0000-4000-8000-{turn:012}"
        labelling.annotate(session, user=person, client_id=client, task_id=ids[3], label="fear")
        labelling.take_back(session, user=person, client_id=client)

    compare(tools, "upload of one picture", upload, rounds)
    compare(tools, "one review", review, rounds)
    compare(tools, "lease and vote of one face", vote, rounds)


def measure_reading(tools: Toolbox, entries: int) -> None:
    """Proofs, and checking everything."""
    with tools.transaction() as session:
        for _ in range(entries):
            audit.append(session, action="thing.done", actor="cli", number=1)
    with tools.transaction() as session:
        size = audit.sign_checkpoint(session, vault=tools.vault).size
    with tools.sessions() as session:
        started = time.perf_counter()
        for number in range(100):
            audit.prove_inclusion(session, index=number * size // 100, size=size)
        tell(what="proof", entries=size, ms=round((time.perf_counter() - started) * 10, 2))
        started = time.perf_counter()
        report = audit.verify_log(session, verifier=audit.verifier_of(tools.vault))
        seconds = time.perf_counter() - started
        tell(
            what="verify",
            entries=report.size,
            good=not report.problems,
            seconds=round(seconds, 2),
            seconds_per_million=round(seconds / report.size * 10**6, 1),
        )


def main() -> None:
    """Measure everything on a new installation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=150)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tools, _ = install(Settings(data=Path(folder) / "data"), context="research")
        measure_appends(tools, chosen.entries)
        measure_shares(tools, chosen.rounds)
        measure_reading(tools, chosen.entries)
        tools.engine.dispose()


if __name__ == "__main__":
    main()
