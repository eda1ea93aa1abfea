import base64
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.emotions import EMOTION_NAMES
from annotator.core.errors import Cancelled, Conflict, InvalidInput, NotFound, Tampered
from annotator.domain import consent, exports, prediction, training
from annotator.models import (
    AuditEntry,
    Dataset,
    Export,
    Installation,
    Job,
    ModelVersion,
    Subject,
    TrainingRun,
)
from tests.factories import make_dataset, make_face, make_subject, make_user
from tests.fakes import FakeTools, FakeVault, FakeWork


@pytest.fixture
def bundled(session: Session) -> Any:
    model = prediction.ensure_bundled(session, digest="0" * 64)
    session.commit()
    return model


@pytest.fixture
def make_export(session: Session, vault: FakeVault, work: FakeWork, bundled: ModelVersion) -> Any:
    def make(votes: Any = ("neutral", "fear"), people: Any = 30) -> Any:
        name = f"Set {len(session.scalars(select(Export)).all())}"
        dataset = make_dataset(session, name=name)
        for number in range(people):
            subject = make_subject(session, vault, dataset)
            make_face(session, vault, subject, votes[number % len(votes)])
        export = exports.request_export(
            session, dataset=dataset, recipient="ourselves", by=None, wish=exports.Wish()
        )
        session.commit()
        exports.build_export(work, export_id=export.id)
        session.rollback()
        session.refresh(export)
        return export

    return make


def ask(session: Session, export: Export, **options: Any) -> Any:
    run = training.request_training(session, export=export, **options)
    session.commit()
    return run


def train(session: Session, work: FakeWork, export: Export, **options: Any) -> Any:
    run = ask(session, export, **options)
    result = training.train_model(work, run_id=run.id)
    session.rollback()
    session.expire_all()
    return session.get_one(ModelVersion, result["model"])


def test_a_training_registers_a_candidate_with_figures(
    session: Session, work: FakeWork, tools: FakeTools, vault: FakeVault, make_export: Any
) -> None:
    export = make_export()
    model = train(session, work, export, name="second", options={"epochs": 3, "seed": 5})
    assert (model.name, model.kind, model.state) == ("second", "cnn", "candidate")
    assert (model.figures["against"], model.figures["seen_by_current"]) == ("bundled", 0)
    assert model.figures["candidate"]["accuracy"] == 0.6
    weights = prediction.open_weights(vault, model.sealed_blob)
    assert weights.startswith(b"cnn trained on ")
    assert model.digest == tools.learning.digest(weights)
    assert [entry["epoch"] for entry in model.training_run.curve] == [1, 2, 3]
    assert [entry["loss"] for entry in model.training_run.curve] == pytest.approx([1, 0.5, 0.33333])
    assert model.training_run.finished_at is not None


def test_it_learns_from_distributions_of_its_own_split(
    session: Session, work: FakeWork, tools: FakeTools, make_export: Any
) -> None:
    export = make_export(votes=({"fear": 2, "neutral": 1}, "neutral"))
    train(session, work, export, options={"fine_tune": False})
    ((start, lesson, valid, options),) = tools.learning.lessons
    assert start is None
    assert options == {"epochs": 30, "seed": 0, "fine_tune": False}
    assert len(lesson.crops) + len(valid.crops) < 30
    mixed = [0.0] * 8
    mixed[EMOTION_NAMES.index("neutral")] = pytest.approx(1 / 3)
    mixed[EMOTION_NAMES.index("fear")] = pytest.approx(2 / 3)
    assert any(row == mixed for row in lesson.targets)
    assert all(sum(row) == pytest.approx(1) for row in lesson.targets)


def test_fine_tuning_starts_from_the_current_model(
    session: Session, work: FakeWork, tools: FakeTools, make_export: Any
) -> None:
    first = train(session, work, make_export(), name="first")
    training.promote(session, model=first, by=None)
    session.commit()
    second = train(session, work, make_export(), name="second")
    assert tools.learning.lessons[-1][0].startswith(b"cnn trained on ")
    assert second.figures["against"] == "first"


def test_held_out_people_that_the_current_model_knows_are_counted(
    session: Session, work: FakeWork, make_export: Any
) -> None:
    export = make_export()
    first = train(session, work, export)
    training.promote(session, model=first, by=None)
    session.commit()
    again = exports.request_export(
        session,
        dataset=session.get_one(Dataset, export.dataset_id),
        recipient="ourselves",
        by=None,
        wish=exports.Wish(seed=99),
    )
    session.commit()
    exports.build_export(work, export_id=again.id)
    session.rollback()
    session.refresh(again)
    assert train(session, work, again).figures["seen_by_current"] > 0


def test_a_second_run_of_the_job_changes_nothing(
    session: Session, work: FakeWork, vault: FakeVault, make_export: Any
) -> None:
    run = ask(session, make_export())
    first = training.train_model(work, run_id=run.id)
    blobs = set(vault.blobs)
    assert training.train_model(work, run_id=run.id) == first
    assert set(vault.blobs) == blobs


def test_a_cancelled_training_leaves_no_model(
    session: Session, work: FakeWork, vault: FakeVault, make_export: Any
) -> None:
    run = ask(session, make_export())
    blobs = set(vault.blobs)
    work.reports.clear()
    work.cancel_at = 1
    with pytest.raises(Cancelled):
        training.train_model(work, run_id=run.id)
    assert set(vault.blobs) == blobs
    session.rollback()
    assert [model.name for model in training.list_models(session)] == ["bundled"]
    work.cancel_at = None
    training.train_model(work, run_id=run.id)


@pytest.mark.parametrize(
    ("votes", "people", "sentence"),
    [
        (("fear",), 30, "the same emotion"),
        (("neutral", "fear"), 3, "at least 16 are needed"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(  # noqa: PLR0917 - fixtures
    session: Session, work: FakeWork, make_export: Any, votes: Any, people: Any, sentence: str
) -> None:
    run = ask(session, make_export(votes, people))
    with pytest.raises(Conflict, match=sentence):
        training.train_model(work, run_id=run.id)


def test_an_export_with_somebody_who_withdrew_is_refused(
    session: Session, work: FakeWork, make_export: Any
) -> None:
    export = make_export()
    run = ask(session, export)
    gone = session.scalars(select(Subject)).first()
    consent.withdraw_purposes(session, subject=gone, purposes=["train"])
    session.commit()
    with pytest.raises(Conflict, match="one person"):
        training.train_model(work, run_id=run.id)
    with pytest.raises(Conflict, match="one person"):
        training.request_training(session, export=export)
    export.withdrawn_at = now()
    with pytest.raises(Conflict, match="withdrew"):
        training.request_training(session, export=export)


def test_somebody_who_withdraws_during_the_training_stops_the_model(  # noqa: PLR0917 - fixtures
    session: Session,
    work: FakeWork,
    tools: FakeTools,
    vault: FakeVault,
    make_export: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    export = make_export()
    run = ask(session, export)
    evaluate = tools.learning.evaluate

    def withdraw_first(*arguments: Any, **more: Any) -> Any:
        gone = session.scalars(select(Subject)).first()
        consent.withdraw_purposes(session, subject=gone, purposes=["train"])
        session.commit()
        return evaluate(*arguments, **more)

    monkeypatch.setattr(tools.learning, "evaluate", withdraw_first)
    blobs = set(vault.blobs)
    with pytest.raises(Conflict, match="one person"):
        training.train_model(work, run_id=run.id)
    assert set(vault.blobs) == blobs
    assert [model.name for model in training.list_models(session)] == ["bundled"]


def test_an_archive_with_a_wrong_signature_is_refused(
    session: Session, work: FakeWork, make_export: Any
) -> None:
    run = ask(session, make_export())
    other = FakeVault()
    work.tools.vault.public_key = other.public_key
    with pytest.raises(Tampered, match="another key"):
        training.train_model(work, run_id=run.id)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"kind": "svm"}, "'svm' is not available"),
        ({"options": {"magic": 1}}, "no option 'magic'"),
        ({"options": {"epochs": 0}}, "'epochs' is a whole number"),
        ({"options": {"epochs": True}}, "'epochs' is a whole number"),
        ({"options": {"seed": "x"}}, "'seed' is a whole number"),
        ({"options": {"fine_tune": "x"}}, "'fine_tune' is either"),
        ({"name": "x" * 81}, "at most 80"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    session: Session, make_export: Any, more: Any, sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        training.request_training(session, export=make_export(), **more)


def test_a_name_is_used_once(session: Session, work: FakeWork, make_export: Any) -> None:
    export = make_export()
    runs = [ask(session, export, name="twin") for _ in range(2)]
    names = []
    for run in runs:
        number = training.train_model(work, run_id=run.id)["model"]
        session.rollback()
        names.append(session.get_one(ModelVersion, number).name)
    assert names == ["twin", f"twin-{runs[1].id}"]
    with pytest.raises(Conflict, match="'twin' already"):
        training.request_training(session, export=export, name="twin")
    assert training.list_runs(session) == runs[::-1]


def make_model(
    session: Session, name: str, *, better: Any = True, against: Any = None, withdrawn: Any = False
) -> Any:
    against = against or prediction.current_model(session)
    model = ModelVersion(
        name=name,
        kind="cnn",
        digest=base64.b16encode(name.encode()).decode(),
        figures={
            "comparison": {"better": better},
            "against": against.name,
            "against_id": against.id,
        },
        withdrawn_at=now() if withdrawn else None,
    )
    session.add(model)
    session.flush()
    return model


def states(session: Session) -> Any:
    session.flush()
    return {model.name: model.state for model in training.list_models(session)}


def test_a_better_model_is_promoted_and_every_dataset_looked_at_anew(
    session: Session, bundled: ModelVersion
) -> None:
    datasets = [make_dataset(session, name=name) for name in ("one", "two")]
    model = make_model(session, "better")
    somebody = make_user(session, "curator")
    training.promote(session, model=model, by=somebody)
    assert states(session) == {"better": "current", "bundled": "retired"}
    assert model.promoted_by == somebody.id
    wanted = session.scalars(select(Job).where(Job.kind == "predict")).all()
    assert [job.arguments["dataset_id"] for job in wanted] == [one.id for one in datasets]


def test_a_model_that_is_not_better_needs_a_reason_which_the_log_keeps(
    session: Session, bundled: ModelVersion
) -> None:
    model = make_model(session, "worse", better=False)
    assert not training.judge(session, model=model).passed
    with pytest.raises(Conflict, match=r"does not clearly beat bundled.*give a reason"):
        training.promote(session, model=model, by=None)
    with pytest.raises(Conflict):
        training.promote(session, model=model, by=None, override_reason="   ")
    with pytest.raises(InvalidInput):
        training.promote(session, model=model, by=None, override_reason="x" * 301)
    assert states(session)["bundled"] == "current"
    training.promote(session, model=model, by=None, override_reason="A test of the new camera.")
    session.flush()
    entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "model.promoted")).one()
    assert entry.details == {"model": model.id, "override": "A test of the new camera."}


def test_a_comparison_with_a_model_that_is_no_longer_current_does_not_count(
    session: Session, bundled: ModelVersion
) -> None:
    one, two = make_model(session, "one"), make_model(session, "two")
    training.promote(session, model=one, by=None)
    with pytest.raises(Conflict, match="no longer the current"):
        training.promote(session, model=two, by=None)
    with pytest.raises(Conflict, match="current model already"):
        training.promote(session, model=one, by=None)


def test_a_model_of_somebody_who_withdrew_is_never_promoted(
    session: Session, bundled: ModelVersion
) -> None:
    model = make_model(session, "gone", withdrawn=True)
    with pytest.raises(Conflict, match="withdrew"):
        training.promote(session, model=model, by=None, override_reason="all the same")


def test_going_back_goes_one_further_each_time(session: Session, bundled: ModelVersion) -> None:
    for name in ("one", "two"):
        training.promote(session, model=make_model(session, name), by=None)
    assert training.rollback_target(session).name == "one"
    assert training.rollback(session, by=None).name == "one"
    assert states(session) == {"one": "current", "two": "retired", "bundled": "retired"}
    assert training.rollback(session, by=None).name == "bundled"
    with pytest.raises(Conflict, match="no earlier model"):
        training.rollback(session, by=None)
    assert list(states(session).values()).count("current") == 1


def test_going_back_passes_over_a_model_of_somebody_who_withdrew(
    session: Session, bundled: ModelVersion
) -> None:
    for name in ("one", "two"):
        training.promote(session, model=make_model(session, name), by=None)
    training.find_model(session, name="one").withdrawn_at = now()
    assert training.rollback(session, by=None).name == "bundled"


def test_where_inference_is_forbidden_nothing_is_predicted(
    session: Session, bundled: ModelVersion
) -> None:
    session.add(Installation(install="test", context="workplace"))
    make_dataset(session)
    with pytest.raises(Conflict, match=r"Article 5\(1\)\(f\)"):
        training.promote(session, model=make_model(session, "better"), by=None)
    with pytest.raises(Conflict, match=r"Article 5\(1\)\(f\)"):
        training.rollback(session, by=None)
    assert session.scalars(select(Job).where(Job.kind == "predict")).all() == []


def test_models_are_found_by_name_and_number(session: Session, bundled: ModelVersion) -> None:
    assert training.find_model(session, name="bundled") is bundled
    assert training.find_model(session, name=str(bundled.id)) is bundled
    assert training.get_model(session, model_id=bundled.id) is bundled
    with pytest.raises(NotFound, match="There are: bundled"):
        training.find_model(session, name="none")
    with pytest.raises(NotFound):
        training.get_model(session, model_id=99)


def test_a_training_that_does_not_exist_is_not_found(work: FakeWork, engine: Engine) -> None:
    with pytest.raises(NotFound):
        training.train_model(work, run_id=99)


def test_a_run_remembers_its_job(session: Session, make_export: Any) -> None:
    run = ask(session, make_export())
    job = session.get_one(Job, session.get_one(TrainingRun, run.id).job_id)
    assert (job.kind, job.arguments) == ("train", {"run_id": run.id})
