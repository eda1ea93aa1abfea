import csv
import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.emotions import EMOTION_NAMES, LABEL_NAMES
from annotator.core.errors import Cancelled, Conflict
from annotator.domain import consent, erasure, exports
from annotator.domain.exports import Wish
from annotator.domain.verification import verify_export
from annotator.models import (
    AuditEntry,
    ConsentEvent,
    Dataset,
    Export,
    ExportItem,
    Installation,
    Job,
    Subject,
)
from tests.factories import make_dataset, make_face, make_subject
from tests.fakes import FakeVault, FakeWork

CLASSES = ("neutral", "happiness", "fear")


@pytest.fixture
def dataset(session: Session, vault: FakeVault) -> Any:
    dataset = make_dataset(session)
    for number in range(24):
        subject = make_subject(session, vault, dataset, name=f"Somebody {number}")
        for label in CLASSES[: 1 + number % 3]:
            make_face(session, vault, subject, label)
    session.commit()
    return dataset


def ask(session: Session, dataset: Dataset, **wish: Any) -> Any:
    export = exports.request_export(
        session, dataset=dataset, recipient="University of X", by=None, wish=Wish(**wish)
    )
    session.commit()
    return export


def build(work: FakeWork, export: Export) -> Any:
    with Session(work.engine) as session:
        arguments = session.get_one(Job, export.job_id).arguments
    return exports.build_export(work, **arguments)


def opened(work: FakeWork, export_id: int) -> Any:
    with Session(work.engine) as session:
        export = session.get_one(Export, export_id)
        return export, zipfile.ZipFile(exports.read_archive(work.tools.vault, export.sealed_blob))


def table(archive: Any) -> Any:
    text = archive.read("labels.csv").decode()
    return list(csv.DictReader(io.StringIO(text)))


def test_the_archive_holds_what_is_promised(
    session: Session, dataset: Dataset, work: FakeWork
) -> None:
    export = ask(session, dataset)
    result = build(work, export)
    row, archive = opened(work, export.id)
    names = set(archive.namelist())
    assert {
        "manifest.json",
        "manifest.sig",
        "public_key.pem",
        "README.md",
        "croissant.json",
        "labels.csv",
        "report/balance.json",
    } <= names
    pictures = {name for name in names if name.startswith("images/")}
    assert len(pictures) == result["files"] == 48
    assert {name.split("/")[1] for name in pictures} == {"train", "valid", "test"}
    assert {name.split("/")[2] for name in pictures} == set(CLASSES)
    report = verify_export(
        exports.read_archive(work.tools.vault, row.sealed_blob),
        public_key=work.tools.vault.public_key("export"),
    )
    assert report.ok, report.message
    assert row.state == "ready"
    assert work.reports[-1] == (48, 48)


def test_the_table_tells_votes_and_pseudonyms(
    session: Session, dataset: Dataset, work: FakeWork, vault: FakeVault
) -> None:
    subject = make_subject(session, vault, dataset)
    make_face(session, vault, subject, {"fear": 2, "neutral": 1})
    session.commit()
    export = ask(session, dataset)
    build(work, export)
    _, archive = opened(work, export.id)
    rows = table(archive)
    assert {row["file"] for row in rows} == {
        name for name in archive.namelist() if name.startswith("images/")
    }
    for row in rows:
        assert row["file"].startswith(f"images/{row['split']}/{row['label']}/")
    (mixed,) = [row for row in rows if row["neutral"] == "1" and row["fear"] == "2"]
    assert mixed["label"] == "fear"
    assert mixed["agreement"] == "0.6667"
    assert [int(mixed[name]) for name in LABEL_NAMES] == [1, 0, 0, 0, 0, 0, 2, 0, 0, 0]
    splits = {}
    for row in rows:
        splits.setdefault(row["subject"], set()).add(row["split"])
    assert len(splits) == 25
    assert all(len(found) == 1 for found in splits.values())


def test_nothing_in_it_names_a_person(session: Session, dataset: Dataset, work: FakeWork) -> None:
    export = ask(session, dataset)
    build(work, export)
    _, archive = opened(work, export.id)
    text = b"\n".join(archive.read(name) for name in archive.namelist()).decode("latin-1")
    text += "\n".join(archive.namelist())
    for subject in session.scalars(select(Subject)):
        assert subject.uid not in text
        assert subject.code not in text
    assert "Somebody" not in text


def test_another_export_has_other_names_and_pseudonyms_but_the_same_splits(
    session: Session, dataset: Dataset, work: FakeWork, vault: FakeVault
) -> None:
    exported = [ask(session, dataset) for _ in range(2)]
    tables = []
    for export in exported:
        build(work, export)
        tables.append(table(opened(work, export.id)[1]))
    one, two = tables
    assert not {row["file"] for row in one} & {row["file"] for row in two}
    assert not {row["subject"] for row in one} & {row["subject"] for row in two}
    assert Counter(row["split"] for row in one) == Counter(row["split"] for row in two)
    items = session.execute(
        select(ExportItem.export_id, ExportItem.subject_id, ExportItem.split).distinct()
    ).all()
    by_export = {
        export.id: {(who, split) for number, who, split in items if number == export.id}
        for export in exported
    }
    assert by_export[exported[0].id] == by_export[exported[1].id]


def test_a_second_run_changes_nothing(
    session: Session, dataset: Dataset, work: FakeWork, vault: FakeVault
) -> None:
    export = ask(session, dataset)
    first = build(work, export)
    blobs = set(vault.blobs)
    assert build(work, export) == first
    assert set(vault.blobs) == blobs


def test_a_build_that_was_cancelled_leaves_nothing(
    session: Session, dataset: Dataset, work: FakeWork, vault: FakeVault
) -> None:
    export = ask(session, dataset)
    blobs = set(vault.blobs)
    work.cancel_at = 10
    with pytest.raises(Cancelled):
        build(work, export)
    assert set(vault.blobs) == blobs
    session.rollback()
    session.expire_all()
    assert session.get_one(Export, export.id).state == "failed"
    work.cancel_at = None
    build(work, export)
    session.rollback()
    session.expire_all()
    assert session.get_one(Export, export.id).state == "ready"


@pytest.mark.parametrize("purpose", ["train", "export_pseudonymised", "store"])
def test_the_gate_is_asked_again_when_it_is_built(
    session: Session, dataset: Dataset, work: FakeWork, purpose: str
) -> None:
    export = ask(session, dataset)
    gone = session.scalars(select(Subject)).first()
    consent.withdraw_purposes(session, subject=gone, purposes=[purpose])
    session.commit()
    build(work, export)
    assert gone.id not in set(session.scalars(select(ExportItem.subject_id)))
    _, archive = opened(work, export.id)
    left = json.loads(archive.read("manifest.json"))["counts"]["left_out"]
    assert left["no_consent"] >= 1


def test_the_gate_is_asked_again_before_it_counts_as_built(
    session: Session, dataset: Dataset, work: FakeWork, vault: FakeVault
) -> Any:
    export = ask(session, dataset)
    gone = session.scalars(select(Subject)).first()
    store = vault.store_archive

    def withdraw_first(*, purpose: str, data: Any) -> Any:
        blob = store(purpose=purpose, data=data)
        if vault.store_archive is not store:
            vault.store_archive = store
            consent.withdraw_purposes(session, subject=gone, purposes=["train"])
            session.commit()
        return blob

    vault.store_archive = withdraw_first
    build(work, export)
    assert gone.id not in set(session.scalars(select(ExportItem.subject_id)))
    archives = [blob for blob, (kind, _) in vault.blobs.items() if kind[0] == "archive"]
    assert archives == [opened(work, export.id)[0].sealed_blob]


def test_every_face_keeps_the_consent_that_allowed_it(
    session: Session, dataset: Dataset, work: FakeWork
) -> None:
    export = ask(session, dataset)
    build(work, export)
    for item in session.scalars(select(ExportItem)):
        event = session.get_one(ConsentEvent, item.consent_event_id)
        assert (event.subject_id, event.purpose) == (item.subject_id, "export_pseudonymised")


def test_why_a_face_is_out(session: Session, dataset: Dataset, vault: FakeVault) -> None:
    subject = make_subject(session, vault, dataset)
    for votes in (
        {"neutral": 1},
        {"neutral": 1, "fear": 1, "anger": 1},
        {"unknown": 3},
        {"not_a_face": 2, "neutral": 1},
    ):
        make_face(session, vault, subject, votes)
    silent = make_subject(session, vault, dataset, ["store", "label"])
    make_face(session, vault, silent)
    selection = exports.preview_export(session, dataset=dataset, wish=Wish())
    assert selection.left_out == {
        "no_consent": 1,
        "few_votes": 1,
        "tie": 1,
        "unknown": 1,
        "not_a_face": 1,
    }
    relaxed = exports.preview_export(session, dataset=dataset, wish=Wish(min_votes=1))
    assert "few_votes" not in relaxed.left_out
    assert len(relaxed.candidates) == len(selection.candidates) + 1


def test_balance_touches_the_training_split_alone(
    session: Session, dataset: Dataset, work: FakeWork
) -> None:
    for how in ("undersample", "oversample"):
        export = ask(session, dataset, balance=how)
        build(work, export)
        _, archive = opened(work, export.id)
        manifest = json.loads(archive.read("manifest.json"))
        report = json.loads(archive.read("report/balance.json"))
        counts = report["after"]["train"]
        assert len({counts[name] for name in CLASSES}) == 1
        for split in ("valid", "test"):
            assert report["after"][split] == report["before"][split]
        rows = table(archive)
        assert len(rows) == manifest["counts"]["files"]
        if how == "oversample":
            same = manifest["copies"]
            assert same
            for copy, original in same.items():
                assert archive.read(copy) == archive.read(original)
        else:
            assert manifest["counts"]["left_out"]["undersampled"] > 0


def test_weights_are_a_column(session: Session, dataset: Dataset, work: FakeWork) -> None:
    export = ask(session, dataset, balance="weights")
    build(work, export)
    rows = table(opened(work, export.id)[1])
    weights = Counter()
    for row in rows:
        if row["split"] == "train":
            weights[row["label"]] += float(row["weight"])
        else:
            assert float(row["weight"]) == 1
    assert len({round(weight, 3) for weight in weights.values()}) == 1


def test_the_manifest_tells_consents_seeds_and_the_deployment(
    session: Session, dataset: Dataset, work: FakeWork
) -> None:
    session.add(Installation(install="test", context="education"))
    session.commit()
    export = ask(session, dataset, seed=7)
    build(work, export)
    _, archive = opened(work, export.id)
    manifest = json.loads(archive.read("manifest.json"))
    assert manifest["id"] == export.uid
    assert manifest["seeds"]["split"] == 7
    assert manifest["schema"]["labels"] == list(EMOTION_NAMES)
    assert manifest["consents"]["required"] == ["store", "train", "export_pseudonymised"]
    assert manifest["consents"]["purposes"]["train"] == 24
    (notice,) = manifest["consents"]["notices"]
    assert (notice["subjects"], len(notice["sha256"])) == (24, 64)
    assert "education" in manifest["deployment"]["restriction"]
    assert manifest["log"]["entries"] > 0
    card = archive.read("README.md").decode()
    assert "24 people" in card
    assert manifest["public_key"] in card
    croissant = json.loads(archive.read("croissant.json"))
    assert croissant["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    columns = archive.read("labels.csv").decode().splitlines()[0].split(",")
    (records,) = croissant["recordSet"]
    assert [field["name"] for field in records["field"]] == columns


def test_a_review_decides_a_tie(session: Session, dataset: Dataset, vault: FakeVault) -> None:
    from annotator.models import Review, Task
    from tests.factories import make_user

    subject = make_subject(session, vault, dataset)
    face = make_face(session, vault, subject, {"neutral": 1, "fear": 1}, wanted=2)
    task = session.scalars(select(Task).where(Task.face_id == face.id)).one()
    reviewer = make_user(session, "reviewer")
    for label in ("neutral", "fear"):
        session.add(Review(task_id=task.id, user_id=reviewer.id, label=label))
        session.flush()
    selection = exports.preview_export(session, dataset=dataset, wish=Wish())
    (found,) = [item for item in selection.candidates if item.face_id == face.id]
    assert (found.label, found.decided_by) == ("fear", "review")


def test_when_everybody_left_the_build_fails_with_a_sentence(
    session: Session, dataset: Dataset, work: FakeWork
) -> None:
    export = ask(session, dataset)
    for subject in session.scalars(select(Subject)):
        consent.withdraw_purposes(session, subject=subject, purposes=["train"])
    session.commit()
    with pytest.raises(Conflict, match="consents have ended"):
        build(work, export)


def test_the_log_tells_it(session: Session, dataset: Dataset, work: FakeWork) -> None:
    export = ask(session, dataset)
    build(work, export)
    actions = [entry.action for entry in session.scalars(select(AuditEntry))]
    assert actions[-2:] == ["export.requested", "export.built"]


# Keys that are renewed while it is built


def at_the_crop(number: int, vault: FakeVault, act: Callable[[], object]) -> None:
    """Does something right before that crop is opened."""
    read, opened = vault.open_blob, list[str]()

    def open_blob(**named: Any) -> bytes:
        opened.append(named["blob"])
        if len(opened) == number:
            act()
        return read(**named)

    vault.open_blob = open_blob  # type: ignore[method-assign]


def test_keys_renewed_while_it_is_built_change_nothing_in_it(
    session: Session, dataset: Dataset, work: FakeWork, vault: FakeVault
) -> None:
    first = ask(session, dataset)
    build(work, first)
    wanted = crops_of(work, first)
    second = ask(session, dataset)
    at_the_crop(5, vault, lambda: erasure.renew_epoch(work))
    done = build(work, second)
    assert vault.epochs == {2}
    assert done["faces"] == len(wanted)
    assert crops_of(work, second) == wanted


def crops_of(work: FakeWork, export: Export) -> list[bytes]:
    with Session(work.engine) as session:
        blob = session.get_one(Export, export.id).sealed_blob
    assert blob is not None
    data = b"".join(work.tools.vault.open_archive(purpose="export", blob=blob))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        crops = [archive.read(name) for name in archive.namelist() if name.endswith(".png")]
    assert all(crop.startswith(b"\x89PNG") for crop in crops)
    return sorted(crops)


def test_somebody_who_withdraws_while_it_is_built_is_not_in_it(
    session: Session, dataset: Dataset, work: FakeWork, vault: FakeVault
) -> None:
    export = ask(session, dataset)
    gone: list[int] = []

    def withdraw() -> None:
        with Session(work.engine) as other:
            subject = other.scalars(select(Subject).order_by(Subject.id.desc()).limit(1)).one()
            done = erasure.withdraw_subject(other, subject=subject, by=None)
            gone.append(subject.id)
            arguments = dict(done.job.arguments)
            other.commit()
        erasure.finish_withdrawal(work, **arguments)

    at_the_crop(2, vault, withdraw)
    done = build(work, export)
    with Session(work.engine) as fresh:
        inside = set(fresh.scalars(select(ExportItem.subject_id)))
        assert fresh.get_one(Export, export.id).state == "ready"
        blob = fresh.get_one(Export, export.id).sealed_blob
    assert len(gone) == 1
    assert gone[0] not in inside
    assert done["subjects"] == len(inside) > 0
    # What was built first, with them in it, is gone as well.
    assert [each for each, (bound, _) in vault.blobs.items() if bound[0] == "archive"] == [blob]
