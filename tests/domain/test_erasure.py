import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from annotator.core.db import Base
from annotator.core.errors import AnnotatorError, Conflict, InvalidInput, KeyDestroyed, Tampered
from annotator.domain import consent, erasure, exports, prediction
from annotator.models import (
    PURPOSES,
    Annotation,
    AuditEntry,
    ClusterMember,
    ClusterRun,
    Dataset,
    Erasure,
    Export,
    ExportItem,
    Face,
    Image,
    Job,
    Lease,
    ModelVersion,
    Prediction,
    Review,
    Skip,
    Subject,
    Task,
    TrainingRun,
    User,
)
from annotator.vault import create_vault
from tests.factories import make_dataset, make_face, make_subject, make_user
from tests.fakes import FakeTools, FakeVault, FakeWork, bury


@pytest.fixture
def dataset(session: Session, vault: FakeVault) -> Any:
    return make_dataset(session)


@pytest.fixture
def people(session: Session, vault: FakeVault, dataset: Dataset) -> Any:
    """Twelve people with two faces each, and all that may be known about a face."""
    model = prediction.ensure_bundled(session, digest="0" * 64)
    run = ClusterRun(dataset_id=dataset.id, model_id=model.id, clusters=1, seed=0)
    session.add(run)
    session.flush()
    worker = make_user(session)
    people = []
    for number in range(12):
        subject = make_subject(
            session, vault, dataset, name=f"Any Body {number}", contact="any@example.org"
        )
        people.append(subject)
        for label in ("neutral", "fear"):
            _surround(session, make_face(session, vault, subject, label), model, run, worker)
    session.commit()
    return people


def _surround(session: Session, face: Face, model: ModelVersion, run: Any, worker: User) -> None:
    task = session.scalars(select(Task).where(Task.face_id == face.id)).one()
    session.add_all(
        [
            Prediction(
                face_id=face.id,
                model_id=model.id,
                label="fear",
                probability=0.9,
                probabilities=[0.0] * 8,
                sealed_embedding=b"sealed",
            ),
            ClusterMember(run_id=run.id, face_id=face.id, cluster=0, distance=0.1),
            Lease(
                task_id=task.id,
                user_id=worker.id,
                mode="focus",
                expires_at=face.created_at,
                prelabel="fear",
                prelabel_probability=0.9,
                model_id=model.id,
            ),
            Skip(task_id=task.id, user_id=worker.id),
            Review(task_id=task.id, user_id=worker.id, label="fear"),
        ]
    )


@pytest.fixture
def export(session: Session, work: FakeWork, dataset: Dataset, people: Any) -> Any:
    export = exports.request_export(
        session, dataset=dataset, recipient="University of X", by=None, wish=exports.Wish()
    )
    session.commit()
    exports.build_export(work, export_id=export.id)
    session.rollback()
    session.refresh(export)
    return export


@pytest.fixture
def models(session: Session, export: Export) -> Any:
    """One model that learned from the export, a child of it, and one that knows nobody."""
    run, child_run = (
        TrainingRun(export_id=number, kind="cnn", name="n", options={"fine_tune": True})
        for number in (export.id, _other_export(session, export).id)
    )
    session.add_all([run, child_run])
    session.flush()
    parent = ModelVersion(name="parent", kind="cnn", digest="1", training_run_id=run.id)
    session.add(parent)
    session.flush()
    child = ModelVersion(
        name="child",
        kind="cnn",
        digest="2",
        training_run_id=child_run.id,
        figures={"against_id": parent.id},
    )
    session.add(child)
    session.commit()
    return parent, child


def _other_export(session: Session, export: Export) -> Any:
    other = Export(
        uid="other", dataset_id=export.dataset_id, tier="T1", balance="none", seed=0, recipient="Y"
    )
    session.add(other)
    session.flush()
    return other


def withdraw(session: Session, vault: FakeVault, subject: Subject, *purposes: Any) -> Any:
    if purposes:
        done = erasure.withdraw_purposes(session, subject=subject, purposes=purposes, by=None)
    else:
        done = erasure.withdraw_subject(session, subject=subject, by=None)
    session.commit()
    for blob in done.blobs:
        vault.delete_blob(blob)
    return done


def rows_about(session: Session, subject: Subject) -> Any:
    faces = select(Face.id).where(Face.subject_id == subject.id)
    tasks = select(Task.id).where(Task.face_id.in_(faces))
    conditions = {
        Image: Image.subject_id == subject.id,
        Face: Face.subject_id == subject.id,
        Task: Task.face_id.in_(faces),
        Prediction: Prediction.face_id.in_(faces),
        ClusterMember: ClusterMember.face_id.in_(faces),
        Annotation: Annotation.task_id.in_(tasks),
        Lease: Lease.task_id.in_(tasks),
        Skip: Skip.task_id.in_(tasks),
        Review: Review.task_id.in_(tasks),
    }
    return {
        table.__tablename__: session.scalar(select(func.count(table.id)).where(condition))
        for table, condition in conditions.items()
    }


def count_all(session: Session) -> Any:
    return {
        name: session.scalar(select(func.count()).select_from(table))
        for name, table in Base.metadata.tables.items()
    }


def test_nothing_of_the_person_is_left_and_nothing_of_the_others_gone(
    session: Session, vault: FakeVault, people: Any, export: Export
) -> None:
    gone, *rest = people
    own = rows_about(session, gone)
    assert all(own.values()), own
    before = count_all(session)
    withdraw(session, vault, gone)
    after = count_all(session)
    for table, count in own.items():
        assert after[table] == before[table] - count, table
    for subject in rest:
        assert rows_about(session, subject) == own
    assert (gone.wrapped_key, gone.key_epoch, gone.key_version) == (None, None, None)
    assert (gone.sealed_name, gone.sealed_contact, gone.group) == (None, None, None)
    assert gone.withdrawn_at is not None
    for purpose in PURPOSES:
        assert consent.allowed(session, subject=gone, purpose=purpose) is None


def test_every_blob_of_the_person_goes_and_no_other(
    session: Session, vault: FakeVault, people: Any
) -> None:
    gone, other, *_ = people
    mine = {blob for blob, (context, _) in vault.blobs.items() if context[0] == gone.uid}
    theirs = {blob for blob, (context, _) in vault.blobs.items() if context[0] == other.uid}
    assert len(mine) == 4
    done = withdraw(session, vault, gone)
    assert set(done.blobs) == mine
    assert not mine & set(vault.blobs)
    assert theirs <= set(vault.blobs)


def test_blobs_go_with_the_job_not_with_the_commit(
    session: Session, work: FakeWork, vault: FakeVault, people: Any
) -> None:
    blobs = set(vault.blobs)
    erasure.withdraw_subject(session, subject=people[0], by=None)
    session.rollback()
    assert people[0].withdrawn_at is None
    done = erasure.withdraw_subject(session, subject=people[0], by=None)
    session.commit()
    bury(session, vault)
    assert set(vault.blobs) == blobs
    erasure.finish_withdrawal(work, **done.job.arguments)
    assert set(vault.blobs) == blobs - set(done.blobs)


def test_exports_are_closed_and_recipients_named(
    session: Session, vault: FakeVault, people: Any, export: Export, models: Any
) -> None:
    archive = export.sealed_blob
    done = withdraw(session, vault, people[0])
    assert done.consequences.exports == (export,)
    assert done.consequences.recipients == ["University of X"]
    assert export.withdrawn_at is not None
    assert export.sealed_blob is None
    assert archive not in vault.blobs
    with pytest.raises(Conflict, match="withdrew"):
        exports.check_deliverable(session, export=export)
    assert len(exports.list_files(session, export=export, subject=people[0])) == 2
    assert exports.list_withdrawn(session, export=export) == [people[0]]
    items = session.scalars(select(ExportItem).where(ExportItem.subject_id == people[0].id))
    assert [item.face_id for item in items] == [None, None]


def test_models_that_learned_from_the_person_are_marked_and_their_children(
    session: Session, vault: FakeVault, people: Any, export: Export, models: Any
) -> None:
    done = withdraw(session, vault, people[0])
    assert [model.name for model in done.consequences.models] == ["parent", "child"]
    assert all(model.withdrawn_at is not None for model in models)
    bundled = session.scalars(select(ModelVersion).where(ModelVersion.name == "bundled")).one()
    assert bundled.withdrawn_at is None


def test_the_log_tells_it_without_naming_anybody(
    session: Session, vault: FakeVault, people: Any, export: Export
) -> None:
    withdraw(session, vault, people[0])
    entries = session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()[-3:]
    assert [entry.action for entry in entries] == [
        "consent.withdrawn",
        "export.closed",
        "subject.erased",
    ]
    assert entries[-1].details == {"images": 2, "votes": 6}
    assert all(entry.subject for entry in entries)
    text = json.dumps([entry.details for entry in entries])
    assert "Any Body" not in text
    assert people[0].uid not in text


def test_foreseeing_tells_the_same_and_does_nothing(
    session: Session, people: Any, export: Export, models: Any
) -> None:
    seen = erasure.foresee(session, subject=people[0], purposes=PURPOSES)
    assert (seen.everything, seen.images, seen.votes) == (True, 2, 6)
    assert [one.id for one in seen.exports] == [export.id]
    assert len(seen.models) == 2
    assert people[0].withdrawn_at is None
    assert export.withdrawn_at is None


def test_twice_is_refused(session: Session, vault: FakeVault, people: Any) -> None:
    withdraw(session, vault, people[0])
    for purposes in ((), ("train",)):
        with pytest.raises(Conflict, match="already"):
            withdraw(session, vault, people[0], *purposes)


def test_withdrawing_store_is_withdrawing_everything(
    session: Session, vault: FakeVault, people: Any
) -> None:
    done = withdraw(session, vault, people[0], "store")
    assert done.consequences.everything
    assert people[0].wrapped_key is None


def test_withdrawing_prelabel_forgets_what_models_said(
    session: Session, vault: FakeVault, people: Any
) -> None:
    before = rows_about(session, people[0])
    done = withdraw(session, vault, people[0], "prelabel")
    row = session.scalars(select(Erasure)).one()
    assert (row.purposes, row.epoch, row.job_id) == (["prelabel"], None, done.job.id)
    after = rows_about(session, people[0])
    assert (after["predictions"], after["cluster_members"]) == (0, 0)
    kept = {name for name in after if name not in {"predictions", "cluster_members"}}
    assert all(after[name] == before[name] for name in kept)
    tasks = select(Task.id).join(Face, Face.id == Task.face_id)
    mine = tasks.where(Face.subject_id == people[0].id)
    leases = session.scalars(select(Lease).where(Lease.task_id.in_(mine)))
    assert {(lease.prelabel, lease.prelabel_probability) for lease in leases} == {(None, None)}
    assert rows_about(session, people[1]) == before


def test_withdrawing_label_ends_leases_and_keeps_votes(
    session: Session, vault: FakeVault, dataset: Dataset
) -> None:
    subject = make_subject(session, vault, dataset)
    face = make_face(session, vault, subject, {"neutral": 1})
    task = session.scalars(select(Task).where(Task.face_id == face.id)).one()
    task.free -= 1
    session.add(
        Lease(
            task_id=task.id,
            user_id=make_user(session).id,
            mode="focus",
            expires_at=face.created_at,
        )
    )
    session.commit()
    withdraw(session, vault, subject, "label")
    session.refresh(task)
    assert (task.given, task.free) == (1, 2)
    assert rows_about(session, subject)["leases"] == 0
    assert rows_about(session, subject)["annotations"] == 1
    assert consent.allowed(session, subject=subject, purpose="label") is None


@pytest.mark.parametrize(
    ("purpose", "closed", "marked"),
    [
        ("train", True, True),
        ("export_pseudonymised", True, False),
        ("export_anonymised", False, False),
        ("publish_weights", False, False),
        ("prelabel", False, False),
    ],
)
def test_each_purpose_touches_what_rests_on_it(  # noqa: PLR0917 - fixtures
    session: Session,
    vault: FakeVault,
    people: Any,
    export: Export,
    models: Any,
    purpose: str,
    closed: Any,
    marked: Any,
) -> None:
    withdraw(session, vault, people[0], purpose)
    assert (export.withdrawn_at is not None) == closed
    assert (models[0].withdrawn_at is not None) == marked
    assert people[0].withdrawn_at is None
    assert rows_about(session, people[0])["images"] == 2


@pytest.mark.parametrize("purposes", [[], ["nonsense"]])
def test_nonsense_is_refused(session: Session, people: Any, purposes: Any) -> None:
    with pytest.raises(InvalidInput):
        erasure.withdraw_purposes(session, subject=people[0], purposes=purposes, by=None)


def test_an_export_being_built_does_not_keep_the_person(
    session: Session, work: FakeWork, vault: FakeVault, dataset: Dataset, people: Any
) -> Any:
    asked = exports.request_export(
        session, dataset=dataset, recipient="University of X", by=None, wish=exports.Wish()
    )
    session.commit()
    store = vault.store_archive

    def withdraw_first(**arguments: Any) -> Any:
        vault.store_archive = store
        blob = store(**arguments)
        withdraw(session, vault, people[0])
        return blob

    vault.store_archive = withdraw_first
    exports.build_export(work, export_id=asked.id)
    session.rollback()
    session.refresh(asked)
    assert asked.state == "ready"
    assert people[0].id not in set(session.scalars(select(ExportItem.subject_id)))


def test_an_export_being_built_is_finished_though_somebody_withdraws(
    session: Session, work: FakeWork, vault: FakeVault, dataset: Dataset, people: Any
) -> None:
    asked = exports.request_export(
        session, dataset=dataset, recipient="University of X", by=None, wish=exports.Wish()
    )
    session.commit()
    opened, leaving = vault.open_blob, [people[0]]

    def withdraw_first(**arguments: Any) -> Any:
        if leaving:  # every other key is wrapped anew, and the blobs of this one are gone
            done = withdraw(session, vault, leaving.pop())
            erasure.finish_withdrawal(work, **done.job.arguments)
        return opened(**arguments)

    vault.open_blob = withdraw_first
    exports.build_export(work, export_id=asked.id)
    session.rollback()
    session.refresh(asked)
    assert asked.state == "ready"
    inside = set(session.scalars(select(ExportItem.subject_id)))
    assert inside == {subject.id for subject in people[1:]}


# Keys


@pytest.fixture
def real(tmp_path: Path, engine: Engine) -> Any:
    """A real vault and work around it."""
    vault, _ = create_vault(tmp_path / "vault", key_file=tmp_path / "unlock.key")
    return FakeWork(engine, FakeTools(vault=vault))


def open_crop(session: Session, vault: FakeVault, face: Face) -> Any:
    subject = session.get_one(Subject, face.subject_id)
    return vault.open_blob(
        subject=subject.uid, key=consent.key_of(vault, subject), blob=face.crop_blob, kind="crop"
    )


def test_the_old_key_opens_nothing_and_the_others_open_everything(
    session: Session, real: FakeWork
) -> None:
    vault = real.tools.vault
    dataset = make_dataset(session)
    faces = []
    for _ in range(3):
        subject = make_subject(session, vault, dataset)
        faces.append(make_face(session, vault, subject))
    session.commit()
    gone = session.get_one(Subject, faces[0].subject_id)
    stolen = consent.key_of(vault, gone)
    blob, uid = faces[0].crop_blob, gone.uid
    assert open_crop(session, vault, faces[0])
    copied = list(vault.read_sealed(blob))
    stolen_others = [
        consent.key_of(vault, session.get_one(Subject, face.subject_id)) for face in faces[1:]
    ]
    done = erasure.withdraw_subject(session, subject=gone, by=None)
    session.commit()
    with pytest.raises(KeyDestroyed):
        consent.key_of(vault, gone)
    # The stolen copy of the row still opens until the epoch is gone, and then no more.
    assert vault.open_blob(subject=uid, key=stolen, blob=blob, kind="crop")
    result = erasure.finish_withdrawal(real, **done.job.arguments)
    assert result == {"subject": gone.id, "epoch": 2}
    vault.write_sealed(blob, copied)
    with pytest.raises((KeyDestroyed, Tampered)):
        vault.open_blob(subject=uid, key=stolen, blob=blob, kind="crop")
    for face, key in zip(faces[1:], stolen_others, strict=True):
        session.expire_all()
        session.rollback()
        assert open_crop(session, vault, face)
        other = session.get_one(Subject, face.subject_id)
        with pytest.raises(AnnotatorError):
            vault.open_blob(subject=other.uid, key=key, blob=face.crop_blob, kind="crop")


def test_the_last_person_s_key_is_worthless_as_well(session: Session, real: FakeWork) -> None:
    vault = real.tools.vault
    subject = make_subject(session, vault, make_dataset(session))
    face = make_face(session, vault, subject)
    session.commit()
    stolen, blob = consent.key_of(vault, subject), face.crop_blob
    copied = list(vault.read_sealed(blob))
    done = erasure.withdraw_subject(session, subject=subject, by=None)
    session.commit()
    assert erasure.finish_withdrawal(real, **done.job.arguments)["epoch"] == 2
    vault.write_sealed(blob, copied)
    with pytest.raises((KeyDestroyed, Tampered)):
        vault.open_blob(subject=subject.uid, key=stolen, blob=blob, kind="crop")


def test_renewing_twice_is_fine(
    session: Session, work: FakeWork, vault: FakeVault, people: Any
) -> None:
    withdraw(session, vault, people[0])
    for epoch in (2, 3):
        assert erasure.renew_epoch(work) == {"keys": 11, "epoch": epoch, "damaged": 0}
        assert vault.epochs == {epoch}
    with Session(work.engine) as fresh:
        epochs = set(fresh.scalars(select(Subject.key_epoch)))
    assert epochs == {None, 3}


def test_a_crash_before_the_old_epoch_went_is_made_good_by_the_next_run(
    session: Session, work: FakeWork, vault: FakeVault, people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = withdraw(session, vault, people[0])
    monkeypatch.setattr(vault, "destroy_epoch", lambda _epoch: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        erasure.finish_withdrawal(work, **done.job.arguments)
    assert vault.epochs == {1, 2}
    monkeypatch.undo()
    erasure.finish_withdrawal(work, **done.job.arguments)
    assert vault.epochs == {3}


def test_somebody_who_is_added_afterwards_has_a_key_of_the_new_epoch(
    session: Session, work: FakeWork, vault: FakeVault, dataset: Dataset, people: Any
) -> None:
    done = withdraw(session, vault, people[0])
    erasure.finish_withdrawal(work, **done.job.arguments)
    assert make_subject(session, vault, dataset).key_epoch == 2
    assert vault.epochs == {2}


def test_the_job_is_written_down_with_the_withdrawal(
    session: Session, vault: FakeVault, people: Any
) -> None:
    done = withdraw(session, vault, people[0])
    job = session.get_one(Job, done.job.id)
    row = session.scalars(select(Erasure)).one()
    assert (job.kind, job.arguments, job.dataset_id) == ("erase", {"erasure_id": row.id}, None)
    assert (row.epoch, row.job_id, row.blobs) == (1, job.id, list(done.blobs))
