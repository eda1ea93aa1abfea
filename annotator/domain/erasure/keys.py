"""A person's keys are destroyed here, and after it everybody else's are wrapped anew.

What is left of an erased key, in the database's journal, in freed blocks or in a stolen copy, was
wrapped under an epoch that is destroyed, and is worth nothing from then on.
"""

from contextlib import suppress
from typing import Any, NamedTuple

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session

from annotator.core.db import Base
from annotator.core.errors import Conflict, KeyDestroyed, Tampered
from annotator.domain import audit, jobs
from annotator.domain.ports import Vault
from annotator.models import Installation, Subject

BATCH = 1000  # keys wrapped in one transaction, so that others get to write in between


class _Place(NamedTuple):
    """Three columns that hold one wrapped key of a subject."""

    wrapped: str
    epoch: str
    version: str


def _find_places() -> tuple[_Place, ...]:
    ending = "wrapped_key"
    heads = [
        column.name.removesuffix(ending)
        for column in Base.metadata.tables[Subject.__tablename__].columns
        if column.name.endswith(ending)
    ]
    return tuple(
        _Place(f"{head}{ending}", f"{head}key_epoch", f"{head}key_version") for head in heads
    )


# Every place where a subject's row may hold a key, found by the columns' names. Destroying and
# renewing both go through this, so that no key of a person can be forgotten by either.
PLACES = _find_places()


def destroy_keys(session: Session, *, subject: Subject) -> int:
    """Takes every key of a person out of their row.

    Returns:
        The newest epoch under which any key of anybody is wrapped. Copies of the destroyed keys
        may be left that were wrapped under it or before; so all epochs up to it have to go.
    """
    session.flush()
    newest = [func.max(getattr(Subject, place.epoch)) for place in PLACES]
    epochs = session.execute(select(*newest)).one()
    for place in PLACES:
        for column in (place.wrapped, place.epoch, place.version):
            setattr(subject, column, None)
    return max((epoch for epoch in epochs if epoch is not None), default=1)


def renew_epoch(work: jobs.Work, *, epoch: int = 0) -> dict[str, int]:
    """Job ``renew_epoch``: wraps all keys under a new epoch and destroys every older one.

    Idempotent, and safe beside itself: a second run makes one more epoch. It never goes on with an
    epoch that an interrupted run began: a transaction that was rolled back may have left a key of
    somebody who withdrew since, wrapped under that epoch, in the journal.

    Args:
        work: the job.
        epoch: kept for jobs that name what has to go; all older epochs go anyway.

    Returns:
        ``keys`` wrapped anew, the ``epoch`` that is in force, and ``damaged``: keys that do not
        open and were left as they are; they opened nothing before.

    Raises:
        Locked: an epoch is disabled; nothing was changed.
    """
    del epoch
    vault = work.tools.vault
    with work.transaction() as session:
        # Whoever adds a person holds this row too (see ``consent.create_subject``), so that nobody
        # gets a key under an old epoch once this is committed; SQLite has one writer anyway.
        session.execute(select(Installation.id).with_for_update())
        _try_epochs(session, vault)
        list(vault.rotate([]))
        newest = vault.epoch
        total = _count_keys(session, newest)
    renewed, damaged = 0, list[int]()
    for place in PLACES:
        last: int | None = 0
        while last is not None:
            with work.transaction() as session:
                wrapped, broken, last = _rewrap(session, vault, place, newest, last)
            renewed, damaged = renewed + wrapped, damaged + broken
            work.report(renewed, max(total, renewed))
    for old in [old for old in vault.epochs if old < newest]:
        with suppress(Conflict):  # somebody else was faster
            vault.destroy_epoch(old)
    with work.transaction() as session:
        audit.append(
            session,
            action="keys.renewed",
            actor="worker",
            epoch=newest,
            keys=renewed,
            damaged=len(damaged),  # `scrub` says whose
        )
    return {"keys": renewed, "epoch": newest, "damaged": len(damaged)}


def _try_epochs(session: Session, vault: Vault) -> None:
    """Opens one key of every epoch, before there is one epoch more at every new attempt.

    Raises:
        Locked: an epoch is disabled; what is wrapped under it cannot be wrapped anew.
    """
    for place in PLACES:
        wrapped, epoch, version = (getattr(Subject, name) for name in place)
        firsts = select(func.min(Subject.id)).where(wrapped.is_not(None)).group_by(epoch)
        query = select(Subject.uid, wrapped, epoch, version).where(Subject.id.in_(firsts))
        for uid, *key in session.execute(query).all():
            with suppress(KeyDestroyed, Tampered):
                vault.rewrap(uid, vault.restore_key(*key))


def _count_keys(session: Session, newest: int) -> int:
    return sum(
        session.scalar(select(func.count(Subject.id)).where(getattr(Subject, place.epoch) < newest))
        or 0
        for place in PLACES
    )


def _rewrap(
    session: Session, vault: Vault, place: _Place, newest: int, after: int
) -> tuple[int, list[int], int | None]:
    """Wraps one batch of keys anew.

    Returns:
        How many were wrapped, the subjects whose key does not open, and the last subject of the
        batch; ``None`` when no other batch is left.
    """
    columns = [getattr(Subject, name) for name in (place.wrapped, place.epoch, place.version)]
    rows = session.execute(
        select(Subject.id, Subject.uid, *columns)
        .where(Subject.id > after, columns[0].is_not(None), columns[1] < newest)
        .order_by(Subject.id)
        .limit(BATCH)
        .with_for_update()
    ).all()
    values: list[dict[str, Any]] = []
    broken: list[int] = []
    for number, uid, wrapped, epoch, version in rows:
        try:
            key = vault.rewrap(uid, vault.restore_key(wrapped, epoch, version))
        except (KeyDestroyed, Tampered):
            broken.append(number)
        else:
            values.append({"number": number, "wrapped": key.wrapped, "epoch": key.epoch})
    if values:
        table = Base.metadata.tables[Subject.__tablename__]
        session.connection().execute(
            update(table)
            .where(table.c.id == bindparam("number"))
            .values({place.wrapped: bindparam("wrapped"), place.epoch: bindparam("epoch")}),
            values,
        )
    return len(values), broken, rows[-1].id if len(rows) == BATCH else None
