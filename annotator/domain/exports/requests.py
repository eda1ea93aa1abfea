"""Asking for an export: what it would hold, and writing the wish down."""

import secrets
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput, NotFound
from annotator.domain import audit, jobs
from annotator.domain.exports.selection import REASONS, Selection, select_faces
from annotator.models import BALANCES, TIERS, Dataset, Export, ExportItem, Subject, User

AVAILABLE_TIERS = ("T1",)
AVAILABLE_FORMATS = ("folder",)
LONGEST_RECIPIENT = 200
MAX_SEED = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Wish:
    """How an export should be.

    Attributes:
        tier: one of ``AVAILABLE_TIERS``.
        format: one of ``AVAILABLE_FORMATS``.
        balance: one of ``BALANCES``.
        seed: of splits and balance; ``None`` takes the dataset's, so that a person stays in the
            same split from one export to the next.
        min_votes: a face with so many votes may go; ``None`` waits until its task is done.
    """

    tier: str = "T1"
    format: str = "folder"
    balance: str = "none"
    seed: int | None = None
    min_votes: int | None = None


def check_wish(wish: Wish) -> None:
    """Refuses what is not possible, in one sentence.

    Raises:
        InvalidInput: an unknown name, or one that this version cannot do yet.
    """
    if wish.tier not in TIERS:
        raise InvalidInput(f"There is no tier '{wish.tier}'; there are {', '.join(TIERS)}.")
    if wish.tier not in AVAILABLE_TIERS:
        raise InvalidInput(
            f"Tier {wish.tier} is not available in this version; T1 (pseudonymised) is."
        )
    if wish.format not in AVAILABLE_FORMATS:
        raise InvalidInput(
            f"The format '{wish.format}' is not available in this version; 'folder' is."
        )
    if wish.balance not in BALANCES:
        raise InvalidInput(
            f"There is no balance '{wish.balance}'; there are {', '.join(BALANCES)}."
        )
    if wish.seed is not None and not 0 <= wish.seed <= MAX_SEED:
        raise InvalidInput(f"A seed lies between 0 and {MAX_SEED}.")
    if wish.min_votes is not None and wish.min_votes < 1:
        raise InvalidInput("At least one vote is needed.")


def preview_export(session: Session, *, dataset: Dataset, wish: Wish) -> Selection:
    """What an export would hold if it were built now.

    Raises:
        InvalidInput: the wish cannot be fulfilled.
    """
    check_wish(wish)
    return select_faces(
        session,
        dataset=dataset,
        tier=wish.tier,
        balance=wish.balance,
        seed=dataset.seed if wish.seed is None else wish.seed,
        min_votes=wish.min_votes,
        at=now(),
    )


def request_export(
    session: Session, *, dataset: Dataset, recipient: str, by: User | None, wish: Wish
) -> Export:
    """Writes the wish down and has the worker build it.

    Args:
        session: the open transaction.
        dataset: where the faces are.
        recipient: who gets it; kept, so that they can be told when somebody withdraws.
        by: who asks; ``None`` is the command line.
        wish: how it should be.

    Raises:
        InvalidInput: no recipient, or a wish that cannot be fulfilled.
        Conflict: not one face may be in it; the sentence says why.
    """
    recipient = " ".join(recipient.split())
    if not 0 < len(recipient) <= LONGEST_RECIPIENT:
        raise InvalidInput("Say who gets this export, in at most 200 characters.")
    selection = preview_export(session, dataset=dataset, wish=wish)
    if not selection.written:
        raise Conflict(_nothing(selection))
    export = Export(
        uid=secrets.token_hex(16),
        dataset_id=dataset.id,
        tier=wish.tier,
        format=wish.format,
        balance=wish.balance,
        seed=dataset.seed if wish.seed is None else wish.seed,
        recipient=recipient,
        created_by=by.id if by else None,
    )
    session.add(export)
    session.flush()
    job = jobs.enqueue(
        session,
        kind="export",
        arguments={"export_id": export.id, "min_votes": wish.min_votes},
        dataset_id=dataset.id,
        created_by=export.created_by,
    )
    export.job_id = job.id
    audit.append(
        session,
        action="export.requested",
        actor=audit.actor_of(export.created_by),
        export=export.id,
        dataset=dataset.id,
        tier=export.tier,
        balance=export.balance,
        seed=export.seed,
    )
    return export


def _nothing(selection: Selection) -> str:
    if not selection.left_out:
        return "There are no faces in this dataset yet."
    reason, count = max(selection.left_out.items(), key=lambda pair: pair[1])
    return (
        "No face may be in this export yet; the most frequent reason "
        f"({count} of them): {REASONS[reason]}."
    )


def get_export(session: Session, *, export_id: int) -> Export:
    """Finds an export.

    Raises:
        NotFound: there is none with this number.
    """
    export = session.get(Export, export_id)
    if export is None:
        raise NotFound("There is no such export.")
    return export


def find_export(session: Session, *, name: str) -> Export:
    """Finds an export by number or by the beginning of its id, as people type it.

    Raises:
        NotFound: there is none, or the beginning fits several.
    """
    if name.isascii() and name.isdigit() and (export := session.get(Export, int(name))):
        return export
    found = session.scalars(select(Export).where(Export.uid.startswith(name)).limit(2)).all()
    if not name or len(found) != 1:
        raise NotFound(f"There is no export '{name}'.")
    return found[0]


def list_exports(
    session: Session, *, dataset: Dataset, before: int | None = None, limit: int = 50
) -> list[Export]:
    """The exports of a dataset, newest first, from behind a cursor."""
    query = select(Export).where(Export.dataset_id == dataset.id)
    if before is not None:
        query = query.where(Export.id < before)
    return list(session.scalars(query.order_by(Export.id.desc()).limit(limit)))


def list_files(session: Session, *, export: Export, subject: Subject) -> list[str]:
    """The files of one person in an export; repeats made by oversampling are in its manifest."""
    return list(
        session.scalars(
            select(ExportItem.file)
            .where(ExportItem.export_id == export.id, ExportItem.subject_id == subject.id)
            .order_by(ExportItem.file)
        )
    )
