import hashlib
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from annotator.domain import (
    accounts,
    audit,
    consent,
    erasure,
    exports,
    intake,
    labelling,
    redaction,
)
from annotator.domain.labelling import opening
from annotator.domain.ports import Detection
from annotator.imaging import sniff
from annotator.models import AuditEntry, Dataset, Image, Subject, User
from tests.factories import grey_png, make_dataset, make_subject
from tests.fakes import FakeTools, FakeVault, FakeWork


class Passing:
    """Imaging without pixels: two faces in everything, and every picture is its own rendition."""

    sniff = staticmethod(sniff.sniff)

    def decode(self, data: bytes) -> bytes:
        return data

    def encode(self, pixels: bytes) -> bytes:
        return pixels

    def size(self, pixels: bytes) -> tuple[int, int]:
        return 8, 8

    def detect(self, pixels: bytes, purpose: str) -> list[Detection]:
        return [Detection((at, 0.0, 3.0, 3.0), (), 0.9) for at in (0.0, 5.0)]

    def redact(self, pixels: bytes, keep: Any, others: Any) -> bytes:
        return pixels

    def crop(self, pixels: bytes, face: Detection) -> bytes:
        return pixels

    def measure(self, crop: bytes) -> dict[str, Any]:
        return {"size": 8}


@pytest.fixture
def tools(tmp_path: Path) -> FakeTools:
    return FakeTools(data=tmp_path, imaging=Passing())


def test_the_leaf_is_that_of_rfc_6962(session: Session, engine: Engine) -> None:
    audit.append(session, action="thing.done", actor="user-7", b=2, a=["z", "ä"], text=None)
    session.commit()
    with Session(engine) as later:
        entry = later.scalars(select(AuditEntry)).one()
    canonical = (
        f'{{"action":"thing.done","actor":"user-7","at":"{entry.at.isoformat()}",'
        '"details":{"a":["z","ä"],"b":2,"text":null},"index":0}'
    )
    assert entry.leaf == hashlib.sha256(b"\0" + canonical.encode()).digest()


def test_an_entry_lives_and_dies_with_what_it_tells(session: Session) -> None:
    audit.append(session, action="thing.done", actor="cli")
    session.rollback()
    assert audit.list_entries(session) == []


def test_people_are_named_by_number() -> None:
    assert audit.actor_of(7) == "user-7"
    assert audit.actor_of(None) == "cli"


def test_the_log_is_read_newest_first_page_by_page(session: Session) -> None:
    made = [
        audit.append(session, action=f"thing.{number % 2}", actor="cli", number=number)
        for number in range(5)
    ]
    session.flush()
    first = audit.list_entries(session, limit=2)
    assert first == [made[4], made[3]]
    assert audit.list_entries(session, before=first[-1].id) == [made[2], made[1], made[0]]
    assert audit.list_entries(session, action="thing.1") == [made[3], made[1]]
    assert audit.list_actions(session) == ["thing.0", "thing.1"]


PERSONAL = {
    "code": "Zeta-4711",
    "name": "Quentin Quire",
    "contact": "quentin@patients.example",
    "group": "65 and older",
}
FILE = "quentin-at-the-clinic.png"
STAFF = ("ann.worker@clinic.example", "Ann Worker")
TOKEN = "laptop of Ann"
RECIPIENT = "University of Someplace"


def test_nothing_personal_is_in_the_log_of_a_whole_walk(
    session: Session, work: FakeWork, tools: FakeTools, vault: FakeVault
) -> None:
    email, name = STAFF
    ann = accounts.create_user(
        session, email=email, name=name, role="curator", password_hash="hash"
    )
    dataset = make_dataset(session, name="Patients of Dr Quire", votes_per_face=1)
    accounts.add_member(session, user=ann, dataset=dataset, by=ann.id)
    accounts.create_token(session, user=ann, name=TOKEN)
    subject = make_subject(session, vault, dataset, **PERSONAL)
    image = _receive(session, tools, dataset, subject, ann)
    _redact(session, work, image, ann)
    opening.open_tasks(work, dataset_id=dataset.id)
    _label(session, dataset, ann)
    consent.open_contact(session, vault=vault, subject=subject, by=ann.id)
    exports.request_export(
        session, dataset=dataset, recipient=RECIPIENT, by=ann, wish=exports.Wish(min_votes=1)
    )
    erasure.withdraw_purposes(session, subject=subject, purposes=["prelabel"], by=ann)
    erasure.withdraw_subject(session, subject=subject, by=ann)
    session.commit()
    _check_log(session)


def _receive(
    session: Session, tools: FakeTools, dataset: Dataset, subject: Subject, ann: User
) -> Image:
    image, _ = intake.receive_image(
        session,
        vault=tools.vault,
        imaging=tools.imaging,
        dataset=dataset,
        subject=subject,
        data=grey_png(1),
        name=FILE,
        by=ann.id,
    )
    session.commit()
    return image


def _redact(session: Session, work: FakeWork, image: Image, ann: User) -> None:
    redaction.process_images(work, images=[image.id])
    session.refresh(image)
    job = redaction.approve(session, image=image, keep=1, by=ann.id)
    session.commit()
    redaction.redact_image(work, **job.arguments)
    session.refresh(image)


def _label(session: Session, dataset: Dataset, ann: User) -> None:
    session.rollback()
    (leased,) = labelling.lease_tasks(session, dataset=dataset, user=ann, n=1)
    labelling.annotate(
        session, user=ann, client_id=str(uuid.uuid4()), task_id=leased.task.id, label="fear"
    )
    labelling.review(
        session, user=ann, task_id=leased.task.id, label="anger", comment="Quentin looks angry"
    )
    session.commit()


def _check_log(session: Session) -> None:
    entries = audit.list_entries(session, limit=1000)
    actions = {entry.action for entry in entries}
    assert actions >= {
        "user.created",
        "member.added",
        "token.created",
        "subject.created",
        "consent.given",
        "image.received",
        "redaction.approved",
        "image.redacted",
        "review.added",
        "subject.contact_opened",
        "consent.withdrawn",
        "subject.erased",
    }
    log = "\n".join(
        json.dumps([entry.action, entry.actor, entry.details], ensure_ascii=False)
        for entry in entries
    ).lower()
    secrets = [*PERSONAL.values(), FILE, *STAFF, TOKEN, RECIPIENT, "quentin", "quire", "angry"]
    for secret in secrets:
        assert secret.lower() not in log
