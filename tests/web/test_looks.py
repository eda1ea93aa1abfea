"""Every crop that a person sees is counted in the log once: by its lease, its page, or itself."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.models import AuditEntry, Dataset, Face
from tests.factories import make_face, make_subject

SignIn = Callable[[str], FlaskClient]
CROP = re.compile(r'src="([^"]+/crop[^"]*)"')


@pytest.fixture
def dataset(toolbox: Toolbox, make_dataset: Callable[..., Dataset]) -> Dataset:
    dataset = make_dataset("reviewer", "curator")
    with toolbox.transaction() as session:
        from annotator.domain import consent

        consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
        subject = make_subject(session, toolbox.vault, dataset)
        make_face(session, toolbox.vault, subject, {"fear": 2, "anger": 1})
        make_face(session, toolbox.vault, subject)
    return dataset


def looks(session: Session) -> list[Any]:
    session.rollback()
    rows = session.scalars(select(AuditEntry).where(AuditEntry.action == "faces.shown"))
    return [row.details for row in rows]


def test_a_crop_of_a_page_is_counted_by_the_page(
    sign_in: SignIn, dataset: Dataset, session: Session
) -> None:
    reviewer = sign_in("reviewer")
    text = reviewer.get(f"/datasets/{dataset.id}/curation/disagreements").text
    (address,) = CROP.findall(text)
    page = {"dataset": dataset.id, "faces": 1, "page": "disagreements"}
    assert reviewer.get(address).status_code == 200
    assert looks(session) == [page]


def test_a_crop_that_is_asked_for_alone_is_an_entry_of_its_own(
    sign_in: SignIn, dataset: Dataset, session: Session
) -> None:
    reviewer = sign_in("reviewer")
    alone = {"dataset": dataset.id, "faces": 1, "page": "crop"}
    for count, face in enumerate(session.scalars(select(Face.id)), start=1):
        assert reviewer.get(f"/api/v1/faces/{face}/crop").status_code == 200
        assert looks(session) == [alone] * count


def test_an_address_counts_for_its_face_and_its_person_only(
    sign_in: SignIn, dataset: Dataset, session: Session
) -> None:
    reviewer, curator = sign_in("reviewer"), sign_in("curator")
    text = reviewer.get(f"/datasets/{dataset.id}/curation/disagreements").text
    (address,) = CROP.findall(text)
    first, second = session.scalars(select(Face.id).order_by(Face.id))
    assert curator.get(address).status_code == 200
    assert reviewer.get(address.replace(f"/{first}/", f"/{second}/")).status_code == 200
    assert reviewer.get(f"{address}x").status_code == 200
    assert [details["page"] for details in looks(session)] == ["disagreements"] + ["crop"] * 3


def test_a_crop_that_cannot_be_counted_is_not_shown(
    sign_in: SignIn, dataset: Dataset, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("annotator.domain.viewing.audit.append", fail)
    face = session.scalars(select(Face.id)).first()
    answer = sign_in("reviewer").get(f"/api/v1/faces/{face}/crop")
    assert answer.status_code == 500
    assert b"PNG" not in answer.data
