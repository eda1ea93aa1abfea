"""The log: what happened, when, by whom, without personal data."""

import hashlib
import json
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.models import AuditEntry


def append(session: Session, *, action: str, actor: str, **details: Any) -> AuditEntry:
    """Adds an entry to the log, in the transaction of what it tells.

    Args:
        session: the open transaction; if it fails, so does the action.
        action: noun and past participle, such as ``image.received``.
        actor: ``user-<id>``, ``worker`` or ``cli``.
        details: ids, counts and labels only; never a name, a contact or a file name.

    Returns:
        The entry; its leaf hash follows RFC 6962, section 2.1.
    """
    at = now()
    body = {"at": at.isoformat(), "action": action, "actor": actor, "details": details}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    leaf = hashlib.sha256(b"\x00" + canonical.encode()).digest()
    entry = AuditEntry(at=at, action=action, actor=actor, details=details, leaf=leaf)
    session.add(entry)
    return entry


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
