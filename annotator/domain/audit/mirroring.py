"""Signs the log and hands the checkpoint to the witness.

A witness that cannot be reached holds nothing up; what it lacks is shown and sent again.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import AnnotatorError
from annotator.domain.audit.checkpoints import newest_checkpoint, sign_checkpoint
from annotator.domain.audit.tree import prove_consistency
from annotator.domain.ports import Tools
from annotator.models import Checkpoint

Transaction = Callable[[], AbstractContextManager[Session]]
MOST_WORDS = 300


class Work(Protocol):
    """What a job gives us; see ``annotator.domain.jobs``."""

    @property
    def tools(self) -> Tools:
        """The instruments."""

    def transaction(self) -> AbstractContextManager[Session]:
        """Opens one transaction, committed when the block ends well."""


@dataclass(frozen=True, slots=True)
class Mirrored:
    """How it went.

    Attributes:
        size: number of entries that were signed.
        place: where the witness is; ``None`` without one.
        problem: why the witness has not got it; ``None`` when it has, or when there is none.
    """

    size: int
    place: str | None
    problem: str | None


def checkpoint_log(work: Work) -> dict[str, Any]:
    """Job ``checkpoint``. Idempotent: a log that has not grown is not signed again."""
    done = mirror_log(work.transaction, tools=work.tools)
    return {"size": done.size, "problem": done.problem}


def mirror_log(transaction: Transaction, *, tools: Tools) -> Mirrored:
    """Signs the log, if it has grown, and hands the checkpoint to the witness, if it lacks it.

    Raises:
        Tampered: the log does not continue what was signed before.
    """
    witness = tools.witness
    with transaction() as session:
        newest = sign_checkpoint(session, vault=tools.vault)
        number, note, size, lacking = newest.id, newest.note, newest.size, not newest.mirrored_at
        old = _known_size(session)
    if witness is None or not lacking:
        return Mirrored(size, witness.place if witness else None, None)

    def prove(known: int) -> Sequence[bytes]:
        with transaction() as session:
            return prove_consistency(session, old=known, size=size)

    lines, problem = "", None
    try:
        lines = witness.add(note, old=old, prove=prove)
    except AnnotatorError as error:
        problem = error.message
    with transaction() as session:
        row = session.get_one(Checkpoint, number)
        row.mirrored_at = None if problem else now()
        row.cosignatures, row.problem = lines, problem and problem[:MOST_WORDS]
    return Mirrored(size, witness.place, problem)


def _known_size(session: Session) -> int:
    query = select(func.max(Checkpoint.size)).where(Checkpoint.mirrored_at.is_not(None))
    return session.scalar(query) or 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the log is signed and mirrored, for the page.

    Attributes:
        newest: the checkpoint that was signed last.
        mirrored: the one that the witness got last.
    """

    newest: Checkpoint | None
    mirrored: Checkpoint | None


def read_standing(session: Session) -> Standing:
    """How far the log is signed and mirrored."""
    mirrored = session.scalar(
        select(Checkpoint)
        .where(Checkpoint.mirrored_at.is_not(None))
        .order_by(Checkpoint.id.desc())
        .limit(1)
    )
    return Standing(newest_checkpoint(session), mirrored)
