"""Links join people who are there already, and go without a trace."""

from pathlib import Path

from sqlalchemy import inspect
from sqlalchemy.orm import Session

from annotator.core import migrate
from annotator.core.db import open_engine
from annotator.models import Dataset, Invitation, Subject


def test_links_join_people_who_are_there_already(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/a.sqlite")
    migrate.upgrade(engine, "0001")
    with Session(engine) as session:
        dataset = Dataset(name="Pilot")
        session.add(dataset)
        session.flush()
        session.add(Subject(uid="u", dataset_id=dataset.id, code="P-1", wrapped_key=b"k"))
        session.commit()
    migrate.upgrade(engine, "0005")
    with Session(engine) as session:
        person = session.query(Subject).one()
        session.add(Invitation(subject_id=person.id, kind="own", digest=b"d" * 32))
        session.commit()
        assert session.query(Invitation).one().subject.code == "P-1"
    migrate.downgrade(engine, "0001")
    assert "invitations" not in inspect(engine).get_table_names()
    engine.dispose()
