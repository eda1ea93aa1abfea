import dataclasses
import datetime as dt
import json

from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.domain import accountability, consent
from annotator.models import Export, Installation
from tests.factories import make_dataset, make_face, make_model, make_prediction, make_subject
from tests.fakes import FakeVault

FACTS = consent.fill_notice(organisation="Clinic, Street 1", contact="p@example.org", years=3)


def test_the_record_says_what_is_really_here(session: Session, vault: FakeVault) -> None:
    session.add(Installation(install="test", context="research"))
    dataset = make_dataset(session, retention_days=400, grace_days=7)
    facts = dataclasses.replace(FACTS, recipients="The University of X.")
    consent.publish_notice(session, dataset=dataset, texts={"en": facts})
    make_subject(session, vault, dataset)
    minor = consent.create_subject(
        session, vault=vault, dataset=dataset, majority_at=now() + dt.timedelta(days=9)
    )
    gone = make_subject(session, vault, dataset)
    gone.withdrawn_at = now()
    export = Export(
        uid="e", dataset_id=dataset.id, tier="T1", balance="none", seed=1, recipient="Prof. Y"
    )
    export.state, export.counts = "ready", {"subjects": 1, "files": 3}
    session.add(export)
    session.flush()
    record = accountability.describe_processing(session)
    (activity,) = record["activities"]
    assert activity["people"] == {"present": 2, "minors": 1, "erased": 1}
    assert activity["controller"] == "Clinic, Street 1"
    assert activity["recipients_told"] == "The University of X."
    assert [(e["recipient"], e["files"]) for e in activity["recipients_real"]] == [("Prof. Y", 3)]
    assert activity["retention_rule"] == {"retention_days": 400, "grace_days": 7}
    assert activity["notice"]["structured"] is True
    assert minor.code not in json.dumps(record)


def test_the_assessment_counts_what_is_measured(session: Session, vault: FakeVault) -> None:
    session.add(Installation(install="test", context="workplace"))
    dataset = make_dataset(session)
    subject = make_subject(session, vault, dataset, ["store", "label", "prelabel"])
    make_prediction(session, vault, make_face(session, vault, subject), make_model(session))
    found = accountability.assess_impact(session)
    assert found["consents"]["label"] == 1
    assert found["consents"]["train"] == 0
    assert found["pictures"] == {"ready": 1}
    assert (found["redaction"]["faces"], found["predictions"]) == (1, 1)
    assert found["evidence"] == {"ticked": 3, "with a scan": 0}
    assert "Article 5(1)(f)" in found["forbidden"]
    json.dumps(found)


def test_an_empty_installation_has_both(session: Session) -> None:
    assert accountability.describe_processing(session)["activities"] == []
    assert accountability.assess_impact(session)["people"]["present"] == 0
