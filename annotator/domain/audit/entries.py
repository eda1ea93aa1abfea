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
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import delete, event, select, update
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import KeyDestroyed, Locked, Tampered
from annotator.domain.ports import SubjectKey, Vault
from annotator.models import AuditEntry, AuditHead, AuditNode, AuditSalt, Subject
from annotator.vault import merkle

STEP = 8  # every so many levels the tree's nodes are stored
VAULT = "vault"  # where a session keeps the way to the vault
_PENDING = "audit_pending"
_SALT_BYTES = 32
Key = tuple[bytes, int, int]  # wrapped, epoch, version
_PLACES = (
    (Subject.wrapped_key, Subject.key_epoch, Subject.key_version),
    (Subject.next_wrapped_key, Subject.next_key_epoch, Subject.next_key_version),
)


@dataclass(frozen=True, slots=True)
class _Pending:
    """An entry that waits for its place, and the keys that its person has, or had until now."""

    entry: AuditEntry
    subject: Subject | None
    keys: tuple[Key, ...]


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
    session.info.setdefault(_PENDING, []).append(_Pending(entry, subject, _keys_of(subject)))
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
    keys = _keys_of(subject)
    if row is None or not keys:
        return None
    return _unseal(vault, subject, _restore(vault, keys), row.sealed)


def _keys_of(subject: Subject | None) -> tuple[Key, ...]:
    """The person's key, and the one that is replacing it, if any."""
    if subject is None:
        return ()
    return _whole(tuple(getattr(subject, column.key) for column in place) for place in _PLACES)


def _whole(found: Iterable[tuple[Any, ...]]) -> tuple[Key, ...]:
    return tuple(cast("Key", key) for key in found if None not in key)


def _restore(vault: Vault, keys: tuple[Key, ...]) -> SubjectKey:
    """Ready for the vault: it seals with the newest and opens with either."""
    restored = vault.restore_key(*keys[0])
    for key in keys[1:]:
        restored = vault.restore_key(*key, restored)
    return restored


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
    """Names people in the entries of one transaction; the head is held, so nobody else does.

    The keys are read now: they may have been renewed or replaced since the person was loaded. Who
    replaces or destroys a key holds the head, too, when that comes into force.
    """

    def __init__(self, session: Session, waiting: list[_Pending]) -> None:
        self._session = session
        self._known: dict[int, tuple[AuditSalt, bytes] | None] = {}
        self._gone: set[int] = set()
        # What the person had before this transaction destroyed it; the latest that was seen.
        self._last = {item.subject.id: item.keys for item in waiting if item.subject and item.keys}

    def commit(self, item: _Pending) -> bytes | None:
        """The commitment for an entry; ``None`` when it is about nobody who can be named."""
        subject, way = item.subject, self._session.info.get(VAULT)
        if subject is None:
            return None
        if subject.id not in self._known:
            self._known[subject.id] = self._find(subject, way and way())
        found = self._known[subject.id]
        if found is None:
            return None
        row, salt = found
        row.count += 1
        return commit_to(salt=salt, number=row.count)

    def _find(self, subject: Subject, vault: Vault | None) -> tuple[AuditSalt, bytes] | None:
        keys = self._read_keys(subject)
        if not keys:
            self._gone.add(subject.id)
        if vault is None:
            return None
        row = self._session.get(AuditSalt, subject.id, populate_existing=True)
        if row is None:
            return self._make(vault, subject, keys) if keys else None
        if keys:
            return row, self._open(vault, subject, keys, row.sealed)
        # It is this transaction that destroys the key: any other took the salt along. Damage to
        # either, or a locked epoch, must not keep anybody from withdrawing.
        last = self._last.get(subject.id)
        with suppress(KeyDestroyed, Locked, Tampered):
            return (row, self._open(vault, subject, last, row.sealed)) if last else None
        return None

    def _open(self, vault: Vault, subject: Subject, keys: tuple[Key, ...], sealed: bytes) -> bytes:
        while True:
            try:
                return _unseal(vault, subject, _restore(vault, keys), sealed)
            except KeyDestroyed:
                # Everybody's keys are wrapped anew without the head; but all of them before any
                # epoch is destroyed, so what is read now opens.
                present = self._read_keys(subject)
                if present in {(), keys}:
                    raise
                keys = present

    def _make(
        self, vault: Vault, subject: Subject, keys: tuple[Key, ...]
    ) -> tuple[AuditSalt, bytes]:
        salt = secrets.token_bytes(_SALT_BYTES)
        sealed = vault.seal_field(
            subject=subject.uid,
            key=_restore(vault, keys),
            table="audit_salts",
            column="sealed",
            row=subject.uid,
            text=salt.hex(),
        )
        row = AuditSalt(subject_id=subject.id, sealed=sealed, count=0)
        self._session.add(row)
        return row, salt

    def _read_keys(self, subject: Subject) -> tuple[Key, ...]:
        columns = [column for place in _PLACES for column in place]
        query = select(*columns).where(Subject.id == subject.id)
        found = tuple(self._session.execute(query).one())
        return _whole((found[:3], found[3:]))

    def forget(self) -> None:
        """A person whose key is destroyed keeps no salt, also where nobody could be named."""
        if self._gone:
            self._session.execute(delete(AuditSalt).where(AuditSalt.subject_id.in_(self._gone)))


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


def hold_head(session: Session) -> merkle.Frontier:
    """The tree's right edge; nobody else names anybody in the log before this commits.

    It is the last lock that a transaction takes; whoever takes another one after it may wait for
    somebody who waits for the head.

    Raises:
        Tampered: there is none.
    """
    query = select(AuditHead.size, AuditHead.frontier).with_for_update()
    head = session.execute(query).one_or_none()
    if head is None:
        raise Tampered("The log has no head; nothing can be done that it would have to tell.")
    return merkle.Frontier(head.size, head.frontier)


def _place(session: Session, waiting: list[_Pending]) -> None:
    frontier, names = hold_head(session), _Names(session, waiting)
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
