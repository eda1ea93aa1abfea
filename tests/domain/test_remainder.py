"""What is left of a person after a withdrawal, over all tables: what the guide says, no more.

The tables are found by walking the foreign keys, so that a new one cannot be forgotten: it must
get a row here, and either lose it with the withdrawal or be in the guide.
"""

import datetime as dt
import os
import re
from pathlib import Path
from typing import Any

from sqlalchemy import LargeBinary, Table, or_, select
from sqlalchemy.orm import Session

from annotator.core.db import Base, now
from annotator.domain import consent, erasure, intake, invitations
from annotator.domain.erasure import steps
from annotator.models import (
    ClusterMember,
    ClusterRun,
    Dataset,
    Erasure,
    Export,
    ExportItem,
    Face,
    Image,
    Lease,
    RetiredBlob,
    Review,
    Skip,
    Subject,
    Task,
)
from tests.factories import (
    grey_png,
    make_dataset,
    make_face,
    make_known_subject,
    make_model,
    make_prediction,
    make_user,
)
from tests.fakes import FakeVault, FakeWork

GUIDE = Path(__file__).resolve().parents[2] / "docs/guide/withdrawal.md"
ROOTS = ("subjects", "images", "faces", "tasks")

# What may stay, by table and column. Everything else must be gone, or empty.
STAYS = {
    "subjects": {"id", "uid", "dataset_id", "code", "created_at", "withdrawn_at"},
    "statements": {"id", "uid", "subject_id", "party", "assent", "locale", "created_at"},
    "consent_events": {
        "id",
        "subject_id",
        "purpose",
        "kind",
        "notice_id",
        "expression",
        "at",
        "expires_at",
        "party",
        "statement_id",
        "recorded_by",
    },
    "invitations": {
        "id",
        "subject_id",
        "kind",
        "digest",
        "created_by",
        "created_at",
        "expires_at",
        "answered_at",
        "revoked_at",
    },
    "export_items": {"id", "export_id", "subject_id", "consent_event_id", "split", "file"},
    "erasures": {
        "id",
        "subject_id",
        "purposes",
        "step",
        "epoch",
        "job_id",
        "attempts",
        "created_at",
        "finished_at",
    },
}


def related() -> dict[str, tuple[Table, list[Any]]]:
    """Every table whose rows are about a person, and its columns that say about whom."""
    found = {}
    for table in Base.metadata.sorted_tables:
        links = [
            column
            for column in table.c
            for key in column.foreign_keys
            if key.column.table.name in ROOTS
        ]
        if links or table.name in ROOTS:
            found[table.name] = (table, links)
    return found


def rows_about(session: Session, numbers: dict[str, list[int]]) -> dict[str, list[dict[str, Any]]]:
    """Rows that point to any of the rows with these numbers, or are one of them."""
    found = {}
    for name, (table, links) in related().items():
        own = [table.c.id.in_(numbers[name])] if name in ROOTS else []
        about = [
            column.in_(numbers[key.column.table.name])
            for column in links
            for key in column.foreign_keys
        ]
        rows = session.execute(select(table).where(or_(*own, *about))).mappings()
        found[name] = [dict(row) for row in rows]
    return found


def number_rows(session: Session, subject: Subject) -> dict[str, list[int]]:
    faces = list(session.scalars(select(Face.id).where(Face.subject_id == subject.id)))
    return {
        "subjects": [subject.id],
        "images": list(session.scalars(select(Image.id).where(Image.subject_id == subject.id))),
        "faces": faces,
        "tasks": list(session.scalars(select(Task.id).where(Task.face_id.in_(faces)))),
    }


class Pictures:
    """Takes everything for a picture."""

    def sniff(self, head: bytes) -> str:
        return "image/png"


def fill(session: Session, vault: FakeVault, dataset: Dataset) -> Subject:
    """Somebody with a row in every table that may tell of a person."""
    subject = make_known_subject(session, vault, dataset)
    subject.group, subject.majority_at = "canaries", now() - dt.timedelta(days=2)
    key = vault.create_key(subject.uid, 2)
    subject.next_wrapped_key, subject.next_key_epoch = key.wrapped, key.epoch
    subject.next_key_version = key.version
    face, model, worker = (
        make_face(session, vault, subject),
        make_model(session),
        make_user(session),
    )
    make_prediction(session, vault, face, model)
    task = session.scalars(select(Task).where(Task.face_id == face.id)).one()
    run = ClusterRun(dataset_id=dataset.id, model_id=model.id, clusters=1, seed=0)
    export = Export(
        uid=os.urandom(16).hex(),
        dataset_id=dataset.id,
        tier="T1",
        balance="none",
        seed=0,
        recipient="University of X",
        sealed_blob=vault.store_archive(purpose="export", data=b"zip"),
    )
    old = vault.seal_blob(subject=subject.uid, key=key, kind="crop", data=b"old")
    session.add_all([run, export, RetiredBlob(blob=old, subject_id=subject.id, retired_at=now())])
    session.flush()
    at = {"task_id": task.id, "user_id": worker.id}
    session.add_all(
        [
            ClusterMember(run_id=run.id, face_id=face.id, cluster=0, distance=0.1),
            Lease(**at, mode="focus", expires_at=now(), prelabel="fear", model_id=model.id),
            Skip(**at),
            Review(**at, label="fear", comment="looks like a canary"),
            ExportItem(
                export_id=export.id,
                face_id=face.id,
                subject_id=subject.id,
                consent_event_id=subject.events[0].id,
                split="train",
                file="a.png",
            ),
        ]
    )
    intake.receive_image(
        session,
        vault=vault,
        imaging=Pictures(),
        dataset=dataset,
        subject=subject,
        data=grey_png(subject.id),
        name="canary.png",
    )
    for kind in ("consent", "own"):
        invitations.create_invitation(session, vault=vault, subject=subject, kind=kind)
    erasure.withdraw_purposes(session, subject=subject, purposes=["publish_weights"], by=None)
    session.commit()
    return subject


def test_after_a_withdrawal_what_the_guide_says_is_left_and_nothing_else(
    session: Session, work: FakeWork, vault: FakeVault
) -> None:
    dataset = make_dataset(session)
    other, gone = fill(session, vault, dataset), fill(session, vault, dataset)
    theirs, numbers = number_rows(session, other), number_rows(session, gone)
    untouched, before = rows_about(session, theirs), rows_about(session, numbers)
    assert [name for name, rows in before.items() if not rows] == []
    blobs = {blob for blob, (context, _) in vault.blobs.items() if context[0] == gone.uid}
    kept = {blob for blob, (context, _) in vault.blobs.items() if context[0] == other.uid}
    erasure.withdraw_subject(session, subject=gone, by=None)
    session.commit()
    begun = session.scalars(select(Erasure.id)).all()  # those of the single purposes, too
    session.rollback()
    for number in begun:
        erasure.finish_withdrawal(work, erasure_id=number)
    session.rollback()
    session.expire_all()
    after = rows_about(session, numbers)
    assert {name for name, rows in after.items() if rows} == set(STAYS)
    for name, rows in after.items():
        left = {column for row in rows for column, value in row.items() if value not in (None, [])}
        assert left <= STAYS.get(name, set()), name
    assert len(blobs) == 5  # upload, rendition, crop, paper, and one on its way out
    assert not blobs & set(vault.blobs)
    assert kept <= set(vault.blobs)
    # Nothing of anybody else; their keys are wrapped anew, and one of their purposes is done with.
    again = rows_about(session, theirs)
    changed = {
        (name, column)
        for name, rows in untouched.items()
        for row, present in zip(rows, again[name], strict=True)
        for column in row
        if row[column] != present[column]
    }
    assert changed <= {
        ("subjects", "key_epoch"),
        ("subjects", "next_key_epoch"),
        *(("erasures", column) for column in ("step", "finished_at", "attempts", "retry_at")),
    }
    assert consent.allowed(session, subject=other, purpose="store") is not None


def test_no_link_of_somebody_who_withdrew_asks_anything(session: Session, vault: FakeVault) -> None:
    gone = fill(session, vault, make_dataset(session))
    assert {link.kind for link in _open_links(session, gone)} == {"consent", "own"}
    erasure.withdraw_subject(session, subject=gone, by=None)
    session.commit()
    # The page that tells them that nothing is left goes on working.
    assert {link.kind for link in _open_links(session, gone)} == {"own"}


def _open_links(session: Session, subject: Subject) -> list[Any]:
    links = invitations.list_invitations(session, subject=subject)
    return [link for link in links if invitations.is_open(link)]


def test_the_guide_names_what_stays() -> None:
    section = re.search(r"## What stays\n(.*?)\n## ", GUIDE.read_text(), re.DOTALL)
    assert section is not None
    told = set(re.findall(r"^\| `(\w+)` \|", section[1], re.MULTILINE))
    assert told == {*STAYS, "audit_entries", "jobs"}


def test_the_journal_is_emptied_of_every_table_that_loses_something() -> None:
    """Of those whose rows go, and of those that keep their row but lose what was sealed."""
    emptied = {
        name
        for name, (table, _) in related().items()
        if {column.name for column in table.c} - STAYS.get(name, set())
    }
    assert set(steps.TABLES) == emptied
    raw = {table.name for table, _ in related().values() if _has_bytes(table)}
    assert raw - emptied == {"invitations"}  # keyed indexes of random secrets


def _has_bytes(table: Table) -> bool:
    return any(isinstance(column.type, LargeBinary) for column in table.c)
