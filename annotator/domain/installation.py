"""The installation itself: which one it is and what it is used for."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.errors import Conflict, InvalidInput
from annotator.domain import audit, prediction
from annotator.models import CONTEXTS, Installation


def set_up(session: Session, *, install: str, context: str, model_digest: str) -> Installation:
    """Writes down what a new installation is.

    Args:
        session: the open transaction.
        install: the key ring's install id.
        context: one of ``CONTEXTS``.
        model_digest: SHA-256 of the network that the package brings.

    Raises:
        Conflict: it is set up already.
        InvalidInput: no such context.
    """
    if context not in CONTEXTS:
        raise InvalidInput(f"The context is one of {', '.join(CONTEXTS)}.")
    if session.scalar(select(Installation.id)) is not None:
        raise Conflict("This installation is set up already.")
    row = Installation(install=install, context=context)
    session.add(row)
    audit.append(session, action="installation.created", actor="cli", context=context)
    prediction.ensure_bundled(session, digest=model_digest)
    return row
