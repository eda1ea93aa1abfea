"""Entries of the log: what happened, when, by whom, and about whom, without personal data.

An entry gets its place in the tree when its transaction commits, as the last thing before: whoever
appends holds one row, the tree's head, from then on, so that places have no gaps and nobody waits
for somebody who waits in turn. When the place cannot be written, the transaction fails, and with
it what the entry tells.
"""

import datetime as dt
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import event, select, update
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Tampered
from annotator.domain.ports import SubjectKey, Vault
from annotator.models import AuditEntry, AuditHead, AuditNode, AuditSalt, Subject
from annotator.vault import merkle

STEP = 8  # every so many levels the tree's nodes are stored
VAULT = "vault"  # where a session keeps the way to the vault
_PENDING = "audit_pending"
_SALT_BYTES = 32
Key = tuple[bytes, int, int]  # wrapped, epoch, version


@dataclass(frozen=True, slots=True)
class _Pending:
    """An entry that waits for its place, and the key that its person has, or had until now."""

    entry: AuditEntry
    subject: Subject | None
    key: Key | None


def append(
    session: Session, *, action: str, actor: str, subject: Subject | None = None, **details: Any
) -> AuditEntry:
    """Adds an entry to the log, in the transaction of what it tells.

    Args:
        session: the open transaction; if it fails, so does the action, and the other way round.
        action: noun and past participle, such as ``image.received``.
        actor: ``user-<id>``, ``worker`` or ``cli``.
        subject: whom it is about. The entry holds a commitment to them, which only their own salt
            opens; erasing them destroys it. Append before the key is destroyed.
        details: counts, labels and ids of datasets, exports and models only; never a name, a
            contact or a file name, and no id of a person, a picture, a face or a task.

    Returns:
        The entry. It gets its position and its leaf when the transaction commits.
    """
    entry = AuditEntry(at=now(), action=action, actor=actor, details=details)
    session.add(entry)
    session.info.setdefault(_PENDING, []).append(_Pending(entry, subject, _key_of(subject)))
    return entry


def entrust(session: Session, *, vault: Vault) -> None:
    """Gives a session what it needs to name people in the log, unless it has it already.

    The sessions of the product have it from ``bootstrap``. In a session that was never given a
    vault, entries name nobody.
    """
    session.info.setdefault(VAULT, lambda: vault)


def describe(entry: AuditEntry) -> dict[str, Any]:
    """What an entry says, as it is hashed."""
    body: dict[str, Any] = {
        "index": entry.position,
        "at": entry.at.astimezone(dt.UTC).isoformat(),
        "action": entry.action,
        "actor": entry.actor,
        "details": entry.details,
    }
    if entry.subject is not None:
        body["subject"] = entry.subject.hex()
    return body


def canonical(body: Any) -> bytes:
    """The one way to write a JSON value: sorted names, no spaces, UTF-8."""
    text = json.dumps(
        body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def commit_to(*, salt: bytes, number: int) -> bytes:
    """The commitment to a person in the ``number``-th entry about them, counted from 1.

    HMAC-SHA-256: without the salt nobody can tell who it is, or that two are of one person.
    """
    return hmac.digest(salt, b"annotator/audit/subject/1\n%d" % number, hashlib.sha256)


def open_salt(session: Session, *, vault: Vault, subject: Subject) -> bytes | None:
    """The salt by which a person's entries are found; ``None`` when there is none, or no more."""
    row = session.get(AuditSalt, subject.id)
    key = _key_of(subject)
    if row is None or key is None:
        return None
    return _unseal(vault, subject, vault.restore_key(*key), row.sealed)


def _key_of(subject: Subject | None) -> Key | None:
    if subject is None or subject.wrapped_key is None:
        return None
    if subject.key_epoch is None or subject.key_version is None:
        return None
    return subject.wrapped_key, subject.key_epoch, subject.key_version


def _unseal(vault: Vault, subject: Subject, key: SubjectKey, sealed: bytes) -> bytes:
    text = vault.open_field(
        subject=subject.uid,
        key=key,
        table="audit_salts",
        column="sealed",
        row=subject.uid,
        sealed=sealed,
    )
    return bytes.fromhex(text)


class _Names:
    """Names people in the entries of one transaction; the head is held, so nobody else does."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[int, tuple[AuditSalt, bytes]] = {}
        self._gone: list[AuditSalt] = []

    def commit(self, item: _Pending) -> bytes | None:
        """The commitment for an entry; ``None`` when it is about nobody who can be named."""
        subject, way = item.subject, self._session.info.get(VAULT)
        if subject is None or way is None:
            return None
        if subject.id not in self._known:
            key = self._read_key(subject)
            found = self._find(subject, key or item.key, way)
            if found is None:
                return None
            self._known[subject.id] = found
            if key is None:
                self._gone.append(found[0])
        row, salt = self._known[subject.id]
        row.count += 1
        return commit_to(salt=salt, number=row.count)

    def _read_key(self, subject: Subject) -> Key | None:
        """The key as it is now: keys may have been renewed since the person was loaded."""
        query = select(Subject.wrapped_key, Subject.key_epoch, Subject.key_version)
        wrapped, epoch, version = self._session.execute(query.where(Subject.id == subject.id)).one()
        if wrapped is None or epoch is None or version is None:
            return None
        return wrapped, epoch, version

    def _find(
        self, subject: Subject, kept: Key | None, way: Callable[[], Vault]
    ) -> tuple[AuditSalt, bytes] | None:
        if kept is None:
            return None
        vault = way()
        key = vault.restore_key(*kept)
        row = self._session.get(AuditSalt, subject.id, populate_existing=True)
        if row is not None:
            return row, _unseal(vault, subject, key, row.sealed)
        salt = secrets.token_bytes(_SALT_BYTES)
        sealed = vault.seal_field(
            subject=subject.uid,
            key=key,
            table="audit_salts",
            column="sealed",
            row=subject.uid,
            text=salt.hex(),
        )
        row = AuditSalt(subject_id=subject.id, sealed=sealed, count=0)
        self._session.add(row)
        return row, salt

    def forget(self) -> None:
        """A person whose key is destroyed in this transaction keeps no salt."""
        for row in self._gone:
            self._session.delete(row)


@event.listens_for(Session, "before_commit")
def place_entries(session: Session) -> None:
    """Gives the entries of a transaction their places in the tree, right before it commits."""
    if session.in_nested_transaction() or not session.info.get(_PENDING):
        return
    session.flush()  # every other row first: the head is the last lock that is taken
    waiting = [item for item in session.info[_PENDING] if item.entry in session]
    if waiting:
        _place(session, waiting)
    # Only now: had it failed, another try to commit would have to place them, too.
    session.info[_PENDING] = []


def _place(session: Session, waiting: list[_Pending]) -> None:
    query = select(AuditHead.size, AuditHead.frontier).with_for_update()
    head = session.execute(query).one_or_none()
    if head is None:
        raise Tampered("The log has no head; nothing can be done that it would have to tell.")
    frontier, names = merkle.Frontier(head.size, head.frontier), _Names(session)
    for item in waiting:
        entry = item.entry
        entry.position = frontier.size
        entry.subject = names.commit(item)
        entry.leaf = merkle.hash_leaf(canonical(describe(entry)))
        for node in frontier.append(entry.leaf):
            if node.level and node.level % STEP == 0:
                session.add(AuditNode(level=node.level, number=node.number, hash=node.hash))
    session.execute(update(AuditHead).values(size=frontier.size, frontier=frontier.data))
    session.flush()
    names.forget()
    session.flush()


def actor_of(user_id: int | None) -> str:
    """How the log names a person: by number; without one it was the command line."""
    return "cli" if user_id is None else f"user-{user_id}"


def list_entries(
    session: Session, *, action: str = "", before: int = 0, limit: int = 100
) -> list[AuditEntry]:
    """The log, newest first, from behind a cursor; of one action, or all."""
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
    if action:
        query = query.where(AuditEntry.action == action)
    if before:
        query = query.where(AuditEntry.id < before)
    return list(session.scalars(query))


def list_actions(session: Session) -> list[str]:
    """Every action that the log knows, by name."""
    return list(session.scalars(select(AuditEntry.action).distinct().order_by(AuditEntry.action)))


def find_about(session: Session, *, salt: bytes) -> list[tuple[int, AuditEntry]]:
    """The entries about the person with a salt, with their numbers from 1, oldest first."""
    found: list[tuple[int, AuditEntry]] = []
    batch = 64
    while True:
        numbers = range(len(found) + 1, len(found) + 1 + batch)
        sought = {commit_to(salt=salt, number=number): number for number in numbers}
        rows = session.scalars(select(AuditEntry).where(AuditEntry.subject.in_(sought)))
        known = sorted((sought[cast("bytes", row.subject)], row) for row in rows)
        found += known
        if len(known) < batch:
            return found
