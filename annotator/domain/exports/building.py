"""Job ``export``: chooses, opens, packs, signs and seals.

Nothing is written in the clear on the way: crops come out of the vault one by one, and the ZIP
goes back into it as it grows.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import (
    AnnotatorError,
    Conflict,
    KeyDestroyed,
    NotFound,
    SyncFailed,
    Tampered,
)
from annotator.domain import audit, consent, jobs
from annotator.domain.exports.archive import Listing, zip_stream
from annotator.domain.exports.card import write_card, write_croissant
from annotator.domain.exports.contents import (
    Facts,
    describe,
    file_name,
    gather_facts,
    pseudonym,
    write_table,
)
from annotator.domain.exports.delivery import ARCHIVE
from annotator.domain.exports.requests import get_export
from annotator.domain.exports.selection import PURPOSES_OF, Candidate, select_faces
from annotator.domain.ports import SubjectKey, Vault
from annotator.domain.verification import KEY, MANIFEST, SIGNATURE, to_pem
from annotator.models import Dataset, Export, ExportItem, Face, Subject

ATTEMPTS = 5  # people may withdraw while it is being built; then it is built again without them
CHANGED = "People withdrew again and again while this was being built; try again later."


class _Withdrawn(Exception):
    """Somebody in the plan withdrew while it was being carried out."""


@dataclass(frozen=True, slots=True)
class _File:
    """One picture to be written."""

    path: str
    face: Candidate
    pseudonym: str


@dataclass(frozen=True, slots=True)
class _Plan:
    """All that one build needs, read in one transaction."""

    uid: str
    files: tuple[_File, ...]
    copies: dict[str, str]
    keys: dict[int, SubjectKey]
    manifest: dict[str, Any]
    facts: Facts


@dataclass(frozen=True, slots=True)
class _Built:
    """A sealed archive that no row points to yet."""

    blob: str
    manifest_digest: str
    size: int


def build_export(
    work: jobs.Work, *, export_id: int, min_votes: int | None = None
) -> dict[str, int]:
    """Job ``export``. Asks the gate when it begins and again before anything counts as built.

    Idempotent: a ready export stays as it is; an interrupted build gives the same names again.

    Returns:
        ``faces``, ``subjects`` and ``files`` in it.

    Raises:
        Conflict: nothing is left that may be in it, or people kept withdrawing.
        Cancelled: a person stopped it.
    """
    try:
        failure: AnnotatorError = Conflict(CHANGED)
        for _ in range(ATTEMPTS):
            with work.transaction() as session:
                export = get_export(session, export_id=export_id)
                if export.state == "ready":
                    return _summary(export.counts)
                plan = _plan(session, export, work.tools.vault, min_votes)
            try:
                built = _build(work, plan)
            except _Withdrawn:
                continue
            except (KeyDestroyed, NotFound) as error:
                failure = error
                continue
            with work.transaction() as session:
                done = _keep(session, export_id, plan, built)
                if not done:
                    session.info.setdefault("dead_blobs", []).append(built.blob)
            if done:
                return _summary(plan.manifest["counts"])
        raise failure
    except SyncFailed:
        raise  # nothing more may be written; the export is built anew after the restart
    except AnnotatorError:
        with work.transaction() as session:
            get_export(session, export_id=export_id).state = "failed"
        raise


def _summary(counts: dict[str, Any]) -> dict[str, int]:
    return {name: counts.get(name, 0) for name in ("faces", "subjects", "files")}


def _plan(session: Session, export: Export, vault: Vault, min_votes: int | None) -> _Plan:
    at = now()
    dataset = session.get_one(Dataset, export.dataset_id)
    selection = select_faces(
        session,
        dataset=dataset,
        tier=export.tier,
        balance=export.balance,
        seed=export.seed,
        min_votes=min_votes,
        at=at,
    )
    written = selection.written
    if not written:
        raise Conflict("No face may be in this export any more: consents have ended meanwhile.")
    files: list[_File] = []
    copies: dict[str, str] = {}
    for face in written:
        name = pseudonym(vault, export.uid, face.subject_uid)
        paths = [file_name(vault, export.uid, face, copy) for copy in range(face.copies)]
        files += [_File(path, face, name) for path in paths]
        copies |= dict.fromkeys(paths[1:], paths[0])
    facts = gather_facts(session, export=export, dataset=dataset, selection=selection, at=at)
    subjects = session.scalars(
        select(Subject).where(Subject.dataset_id == dataset.id, Subject.wrapped_key.is_not(None))
    )
    inside = {face.subject_id for face in written}
    return _Plan(
        uid=export.uid,
        # By name, which is a random order: neither table nor archive tells who came when.
        files=tuple(sorted(files, key=lambda file: file.path)),
        copies=dict(sorted(copies.items())),
        keys={who.id: consent.key_of(vault, who) for who in subjects if who.id in inside},
        manifest=describe(export, facts, vault=vault, copies=copies, at=at),
        facts=facts,
    )


def _build(work: jobs.Work, plan: _Plan) -> _Built:
    vault, listing = work.tools.vault, Listing()
    signed: list[bytes] = []

    def close() -> Iterator[tuple[str, bytes]]:
        document = plan.manifest | {"files": dict(sorted(listing.files.items()))}
        text = json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        data = text.encode()
        signed.append(data)
        yield MANIFEST, data
        yield SIGNATURE, base64.b64encode(vault.sign("export", data)) + b"\n"

    stream = zip_stream(_entries(work, plan, listing), listing=listing, closing=close)
    blob = vault.store_archive(purpose=ARCHIVE, data=stream)
    return _Built(
        blob=blob,
        manifest_digest=_digest(signed[0]),
        size=sum(entry["bytes"] for entry in listing.files.values()),
    )


def _digest(data: bytes) -> str:
    listing = Listing()
    listing.add(MANIFEST, data)
    digest: str = listing.files[MANIFEST]["sha256"]
    return digest


def _entries(work: jobs.Work, plan: _Plan, listing: Listing) -> Iterator[tuple[str, bytes]]:
    """Every file but manifest and signature."""
    for number, file in enumerate(plan.files, start=1):
        yield file.path, _open_crop(work, plan, file.face)
        work.report(number, len(plan.files))
    yield "labels.csv", write_table([(f.path, f.face, f.pseudonym) for f in plan.files])
    table = listing.files["labels.csv"]["sha256"]
    yield "README.md", write_card(plan.manifest, plan.facts)
    yield "croissant.json", write_croissant(plan.manifest, plan.facts, table_digest=table)
    yield (
        "report/balance.json",
        _as_json(plan.facts.balance | {"left_out": plan.facts.counts["left_out"]}),
    )
    yield KEY, to_pem(work.tools.vault.public_key("export"))


def _as_json(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _open_crop(work: jobs.Work, plan: _Plan, face: Candidate) -> bytes:
    vault = work.tools.vault
    try:
        return vault.open_blob(
            subject=face.subject_uid, key=plan.keys[face.subject_id], blob=face.blob, kind="crop"
        )
    except (KeyDestroyed, NotFound, Tampered) as error:
        with work.transaction() as session:
            row = session.get(Face, face.face_id)
            if row is None:
                raise _Withdrawn from error
            blob, key = row.crop_blob, consent.key_of(vault, row.subject)
    # Keys were renewed since the plan was made, for everybody or for this person.
    return vault.open_blob(subject=face.subject_uid, key=key, blob=blob, kind="crop")


def _keep(session: Session, export_id: int, plan: _Plan, built: _Built) -> bool:
    """Writes the finished export down, unless somebody in it withdrew meanwhile."""
    export = get_export(session, export_id=export_id)
    faces = {file.face.face_id: file.face for file in plan.files}
    if not _still_allowed(session, export, list(faces.values())):
        return False
    firsts = {f.face.face_id: f.path for f in plan.files if f.path not in plan.copies}
    session.execute(delete(ExportItem).where(ExportItem.export_id == export.id))
    session.add_all(
        ExportItem(
            export_id=export.id,
            face_id=number,
            subject_id=face.subject_id,
            consent_event_id=face.consent_event_id,
            split=face.split,
            file=firsts[number],
        )
        for number, face in faces.items()
    )
    export.state, export.sealed_blob = "ready", built.blob
    export.manifest_digest = built.manifest_digest
    export.counts = plan.manifest["counts"] | {
        "bytes": built.size,
        "agreement": plan.facts.agreement,
        "before": plan.facts.balance["before"],
    }
    audit.append(
        session,
        action="export.built",
        actor="worker",
        export=export.id,
        faces=len(faces),
        manifest=built.manifest_digest,
    )
    return True


def _still_allowed(session: Session, export: Export, faces: Sequence[Candidate]) -> bool:
    """Asks the gate once more; a withdrawal that comes later finds the rows written here."""
    people = {face.subject_id for face in faces}
    # On PostgreSQL a withdrawal waits for this transaction, or this one sees it.
    locked = select(Subject.id).where(Subject.dataset_id == export.dataset_id)
    session.execute(locked.with_for_update(read=True)).all()
    moment, may = now(), select(Subject.id).where(Subject.dataset_id == export.dataset_id)
    for purpose in PURPOSES_OF[export.tier]:
        may = may.where(consent.allowing(purpose, moment))
    return people <= set(session.scalars(may))
