"""One small export, built once a test."""

import pytest
from sqlalchemy.orm import Session

from annotator.domain import exports
from annotator.models import Export
from tests.factories import make_dataset, make_face, make_subject
from tests.fakes import FakeVault, FakeWork


@pytest.fixture
def ready(session: Session, vault: FakeVault, work: FakeWork) -> Export:
    dataset = make_dataset(session)
    for number in range(12):
        subject = make_subject(session, vault, dataset)
        make_face(session, vault, subject, ("neutral", "fear")[number % 2])
    export = exports.request_export(
        session, dataset=dataset, recipient="University of X", by=None, wish=exports.Wish()
    )
    session.commit()
    exports.build_export(work, export_id=export.id)
    session.rollback()
    session.expire_all()
    return export
