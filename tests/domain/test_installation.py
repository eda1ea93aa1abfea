import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.errors import Conflict, InvalidInput
from annotator.domain import installation, prediction
from annotator.models import CONTEXTS, Installation


@pytest.mark.parametrize("context", CONTEXTS)
def test_it_is_set_up_once_with_a_model(session: Session, context: str) -> None:
    row = installation.set_up(session, install="abc", context=context, model_digest="0" * 64)
    assert (row.install, row.context) == ("abc", context)
    assert prediction.current_model(session).name == prediction.BUNDLED
    with pytest.raises(Conflict):
        installation.set_up(session, install="def", context=context, model_digest="0" * 64)
    assert session.scalars(select(Installation)).all() == [row]


def test_an_unknown_context_is_refused(session: Session) -> None:
    with pytest.raises(InvalidInput, match="workplace"):
        installation.set_up(session, install="abc", context="fun", model_digest="0" * 64)
    assert session.scalars(select(Installation)).all() == []
