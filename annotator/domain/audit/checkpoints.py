"""Checkpoints: the log's size and root, signed, so that what was once shown cannot be changed."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.errors import Tampered
from annotator.domain.audit.tree import prove_consistency, read_head
from annotator.domain.ports import Vault
from annotator.models import Checkpoint
from annotator.vault import merkle, notes

LOG = "log"  # the purpose of the vault's key


def origin_of(vault: Vault) -> str:
    """The log's own name, the first line of its checkpoints."""
    return f"annotator/{vault.install}"


def verifier_of(vault: Vault) -> notes.Verifier:
    """The log's public key; written out, it is what an auditor keeps."""
    return notes.Verifier(origin_of(vault), vault.public_key(LOG))


def read_note(note: str) -> notes.Checkpoint:
    """A checkpoint's parts."""
    return notes.read_checkpoint(note)


def sign_checkpoint(session: Session, *, vault: Vault) -> Checkpoint:
    """The checkpoint of the log as it is committed now; the newest again when nothing was added.

    Raises:
        Tampered: the log does not continue what was signed before; that is never signed.
    """
    head, newest = read_head(session), newest_checkpoint(session)
    if newest is not None:
        before = notes.read_checkpoint(newest.note)
        if before.size > head.size or not _follows(session, before, head.size, head.root):
            raise Tampered("The log was changed after it was signed; see `audit verify`.")
        if before.size == head.size and notes.is_signed(before, verifier_of(vault)):
            return newest
    row = Checkpoint(
        size=head.size,
        note=notes.write_checkpoint(
            origin=origin_of(vault),
            size=head.size,
            root=head.root,
            key=vault.public_key(LOG),
            sign=lambda text: vault.sign(LOG, text),
        ),
    )
    session.add(row)
    session.flush()
    return row


def newest_checkpoint(session: Session) -> Checkpoint | None:
    """The checkpoint that was signed last."""
    return session.scalar(select(Checkpoint).order_by(Checkpoint.id.desc()).limit(1))


def _follows(session: Session, before: notes.Checkpoint, size: int, root: bytes) -> bool:
    if before.size == 0:
        return True
    proof = prove_consistency(session, old=before.size, size=size)
    return merkle.check_consistency(
        old=before.size, size=size, old_root=before.root, root=root, proof=proof
    )
