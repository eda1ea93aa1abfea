"""A new key for one person: everything of theirs is sealed again, and the old key destroyed.

The person's row holds both keys meanwhile. What is new is sealed with the next one, and the vault
opens with whichever fits, so nothing is ever unreadable and nobody has to wait. When the last thing
has been sealed again, the next key takes the old one's place, in a transaction that holds the
person's row: whoever seals something holds it too, or finds out afterwards that their key is gone.
Then the old blobs are deleted, and a new epoch makes copies of the old wrapped key worthless.

A withdrawal takes both keys out of the row, and this job then finds nothing more to do.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, KeyDestroyed, NotFound, Tampered
from annotator.domain import audit, consent, jobs
from annotator.domain.holdings import BLOBS, FIELDS, SALTS, Holding, Item, list_items
from annotator.domain.ports import SubjectKey, Vault
from annotator.models import Installation, Job, RetiredBlob, Subject

CHUNK = 16  # blobs sealed between two transactions
ROUNDS = 50  # times that new things with the old key may turn up
# Old blobs stay for those who read a row just before it changed: a page, a batch of crops.
GRACE_SECONDS = 5.0
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class _Keys:
    """A person's keys as they are now; ``both`` opens everything, ``coming`` only what is done."""

    uid: str
    both: SubjectKey
    coming: SubjectKey


@dataclass(slots=True)
class _Progress:
    """What one run knows.

    Attributes:
        done: blobs that the next key opens.
        damaged: blobs that neither key opens, or that are not there.
        missed: blobs that were not there when they were looked for.
        moved: how many were sealed again.
    """

    done: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    missed: set[str] = field(default_factory=set)
    moved: int = 0


def start_rekeying(
    session: Session, *, vault: Vault, subject: Subject, by: int | None = None
) -> Job:
    """Gives a person a second key and has a worker seal everything again; or goes on with it.

    Args:
        session: the open transaction.
        vault: makes the key.
        subject: whose key is replaced.
        by: who asks; nobody is the command line.

    Raises:
        KeyDestroyed: they withdrew.
    """
    # Keys are not renewed while one is being made: see ``consent.create_subject``.
    session.execute(select(Installation.id).with_for_update(read=True))
    session.refresh(subject, with_for_update={"key_share": True})
    key = consent.key_of(vault, subject)
    if subject.next_wrapped_key is None:
        coming = vault.create_key(subject.uid, key.version + 1)
        subject.next_wrapped_key = coming.wrapped
        subject.next_key_epoch, subject.next_key_version = coming.epoch, coming.version
        audit.append(
            session,
            action="subject.rekeying_started",
            actor=audit.actor_of(by),
            subject=subject,
            version=coming.version,
        )
    return jobs.enqueue(
        session,
        kind="rekey_subject",
        arguments={"subject_id": subject.id},
        dataset_id=subject.dataset_id,
        created_by=by,
    )


def rekey_subject(work: jobs.Work, *, subject_id: int) -> dict[str, int | None]:
    """Job ``rekey_subject``. Idempotent: killed anywhere, everything opens, and a new run goes on.

    Returns:
        ``blobs`` sealed again by this run, the key's ``version``, which is ``None`` when they
        withdrew, and ``renewal``: the job that makes copies of the old key worthless.

    Raises:
        Tampered: something of the person opens with neither key; both keys stay.
    """
    progress = _Progress()
    for _ in range(ROUNDS):
        with work.transaction() as session:
            keys = _read_keys(session, work.tools.vault, subject_id)
            held = _list_blobs(session, work.tools.vault, subject_id)
        if keys is None:
            break
        _reseal_all(
            work, subject_id, [each for each in held if each.value not in progress.done], progress
        )
        with work.transaction() as session:
            if _put_in_force(session, work.tools.vault, subject_id, progress):
                break
    else:
        raise Conflict("Things sealed with the old key keep turning up; run this again later.")
    renewal = _bury(work, subject_id)
    with work.transaction() as session:
        version = session.scalar(select(Subject.key_version).where(Subject.id == subject_id))
    return {"blobs": progress.moved, "version": version, "renewal": renewal}


def _read_keys(session: Session, vault: Vault, subject_id: int) -> _Keys | None:
    """The keys; nothing when there is no second one (any more)."""
    subject = session.get(Subject, subject_id, populate_existing=True)
    if subject is None or subject.wrapped_key is None:
        return None
    coming = consent.next_key_of(vault, subject)
    if coming is None:
        return None
    return _Keys(subject.uid, consent.key_of(vault, subject), coming)


def _reseal_all(work: jobs.Work, subject_id: int, todo: list[Item], progress: _Progress) -> None:
    for start in range(0, len(todo), CHUNK):
        chunk = todo[start : start + CHUNK]
        with work.transaction() as session:
            keys = _read_keys(session, work.tools.vault, subject_id)
        if keys is None:
            return
        moved: list[tuple[Item, str]] = []
        try:
            for each in chunk:
                new = _reseal(work.tools.vault, keys, each, progress)
                if new is not None:
                    moved.append((each, new))
        except KeyDestroyed:
            pass  # everybody's keys were wrapped anew meanwhile; the next round reads them again
        finally:
            with work.transaction() as session:
                _write(session, subject_id, keys, moved, progress)
        work.report(min(start + CHUNK, len(todo)), len(todo))


def _reseal(vault: Vault, keys: _Keys, each: Item, progress: _Progress) -> str | None:
    try:
        if vault.opens_blob(subject=keys.uid, key=keys.coming, blob=each.value, kind=each.kind):
            progress.done.add(each.value)
            return None
        return vault.reseal_blob(subject=keys.uid, key=keys.both, blob=each.value, kind=each.kind)
    except NotFound:
        # Gone, or replaced since its row was read; a row that still names it next time is damaged.
        (progress.damaged if each.value in progress.missed else progress.missed).add(each.value)
    except Tampered:
        progress.damaged.add(each.value)
    return None


def _write(
    session: Session,
    subject_id: int,
    keys: _Keys,
    moved: Iterable[tuple[Item, str]],
    progress: _Progress,
) -> None:
    """Points rows to the new blobs; what came too late is deleted."""
    subject = session.get_one(Subject, subject_id)
    current = consent.hold_if_sealing(session, subject=subject, key=keys.coming)
    for each, new in moved:
        place = each.holding
        changed = current and session.scalar(
            update(place.owner)
            .where(place.number == each.id, place.column == each.value)
            .values({place.column: new})
            .returning(place.number)
        )
        if not changed:
            session.info.setdefault("dead_blobs", []).append(new)
            continue
        session.add(RetiredBlob(blob=each.value, subject_id=subject_id, retired_at=now()))
        progress.done.add(new)
        progress.moved += 1


def _put_in_force(session: Session, vault: Vault, subject_id: int, progress: _Progress) -> bool:
    """Makes the next key the key, unless something is left; true when there is nothing to do.

    Raises:
        Tampered: what is left opens with neither key.
    """
    # Whoever seals for this person holds the row, too: see ``consent.hold_key``.
    session.execute(select(Installation.id).with_for_update(read=True))
    # Rows may still be added that point to theirs, as the log does when it holds its head.
    own = select(Subject.id).where(Subject.id == subject_id)
    session.execute(own.with_for_update(key_share=True))
    keys = _read_keys(session, vault, subject_id)
    if keys is None:
        return True
    left = [
        each
        for each in _list_blobs(session, vault, subject_id)
        if each.value not in progress.done and not _is_done(vault, keys, each)
    ]
    if any(each.value not in progress.damaged for each in left):
        return False
    broken = sum(
        _reseal_fields(session, vault, keys, subject_id, place)
        for place in FIELDS
        if place is not SALTS
    )
    # Whoever names this person in the log takes the head first and the salt after it; as we do.
    audit.hold_head(session)
    broken += _reseal_fields(session, vault, keys, subject_id, SALTS)
    if left or broken:
        raise Tampered(
            f"{len(left)} pictures and {broken} texts of this person do not open and cannot be "
            "sealed again; everything else is. Repair or remove them, then run this again."
        )
    subject = session.get_one(Subject, subject_id)
    old = subject.key_epoch
    subject.wrapped_key, subject.key_epoch, subject.key_version = (
        subject.next_wrapped_key,
        subject.next_key_epoch,
        subject.next_key_version,
    )
    subject.next_wrapped_key = subject.next_key_epoch = subject.next_key_version = None
    audit.append(
        session,
        action="subject.rekeyed",
        actor="worker",
        subject=subject,
        version=subject.key_version,
    )
    retired = select(RetiredBlob.blob).where(RetiredBlob.subject_id == subject_id).limit(1)
    if session.scalar(retired) is None:  # otherwise after they are deleted
        jobs.enqueue(session, kind="renew_epoch", arguments={"epoch": old})
    return True


def _list_blobs(session: Session, vault: Vault, subject_id: int) -> list[Item]:
    return [
        each
        for holding in BLOBS
        if not holding.archive
        for each in list_items(session, holding=holding, vault=vault, subject_id=subject_id)
    ]


def _is_done(vault: Vault, keys: _Keys, each: Item) -> bool:
    try:
        return vault.opens_blob(subject=keys.uid, key=keys.coming, blob=each.value, kind=each.kind)
    except NotFound:
        return False


def _reseal_fields(
    session: Session, vault: Vault, keys: _Keys, subject_id: int, place: Holding
) -> int:
    """Seals the texts of one column again; answers how many open with neither key."""
    broken = 0
    for each in list_items(session, holding=place, vault=vault, subject_id=subject_id):
        cell = {"subject": keys.uid, "table": place.table, "column": each.kind, "row": each.row}
        try:
            text = vault.open_field(**cell, key=keys.both, sealed=each.value)
        except Tampered:
            broken += 1
            continue
        # The same text in the same cell seals to the same bytes: what is done stays as it is.
        sealed = vault.seal_field(**cell, key=keys.coming, text=text)
        session.execute(
            update(place.owner).where(place.number == each.id).values({place.column: sealed})
        )
    return broken


def _bury(work: jobs.Work, subject_id: int) -> int | None:
    """Deletes the old blobs when nobody can be reading them any more; has a new epoch made.

    Returns:
        The job's number, when there was anything to delete.
    """
    own = RetiredBlob.subject_id == subject_id
    while True:
        with work.transaction() as session:
            youngest = session.scalar(select(func.max(RetiredBlob.retired_at)).where(own))
            if youngest is None:
                return _pending_renewal(session)
            if (now() - youngest).total_seconds() >= GRACE_SECONDS:
                gone = session.scalars(delete(RetiredBlob).where(own).returning(RetiredBlob.blob))
                session.info.setdefault("dead_blobs", []).extend(gone.all())
                epoch = session.scalar(select(Subject.key_epoch).where(Subject.id == subject_id))
                return jobs.enqueue(session, kind="renew_epoch", arguments={"epoch": epoch or 1}).id
        time.sleep(POLL_SECONDS)
        work.report(0, 1)


def _pending_renewal(session: Session) -> int | None:
    """A renewal that waits, for whoever wants to see it through."""
    return session.scalar(
        select(func.max(Job.id)).where(Job.kind == "renew_epoch", Job.state == "queued")
    )
