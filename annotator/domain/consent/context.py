"""What no consent can allow: inferring emotions where the law forbids it to everybody."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.errors import Conflict
from annotator.models import Installation

FORBIDDEN_CONTEXTS = ("workplace", "education")  # AI Act, Article 5(1)(f)


def inference_forbidden(session: Session) -> str | None:
    """Why no model may look at a face in this installation; ``None`` when it may."""
    context = session.scalar(select(Installation.context))
    if context in FORBIDDEN_CONTEXTS:
        return (
            f"This installation is used in the context '{context}', where the European Union "
            "forbids inferring emotions (AI Act, Article 5(1)(f)); no model looks at a face here."
        )
    return None


def require_inference(session: Session) -> None:
    """Refuses where no model may look at a face. Every caller of the learning port asks this first.

    Raises:
        Conflict: inference is forbidden in this installation; the sentence says why.
    """
    reason = inference_forbidden(session)
    if reason is not None:
        raise Conflict(reason)
