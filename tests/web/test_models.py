import html
import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.core.db import now
from annotator.domain import consent, erasure, exports, prediction, training
from annotator.models import (
    AuditEntry,
    Dataset,
    Export,
    ExportItem,
    ModelVersion,
    Subject,
    TrainingRun,
)
from annotator.web.models import comparison, curves, figures, per_class
from tests.factories import make_face, make_subject
from tests.fakes import FakeLearning, FakeTools, FakeWork
from tests.web.conftest import PASSWORD

SignIn = Callable[[str], FlaskClient]


@pytest.fixture
def tools(toolbox: Toolbox) -> FakeTools:
    tools = FakeTools()
    toolbox.vault = tools.vault  # type: ignore[misc]
    return tools


@pytest.fixture
def bundled(toolbox: Toolbox, app: object) -> ModelVersion:
    with toolbox.transaction() as session:
        return prediction.ensure_bundled(session, digest="0" * 64)


@pytest.fixture
def export(
    toolbox: Toolbox, tools: FakeTools, bundled: ModelVersion, make_dataset: Callable[..., Dataset]
) -> Export:
    dataset, vault = make_dataset("curator"), tools.vault
    with toolbox.transaction() as session:
        consent.create_notice(session, dataset=dataset, text="We keep pictures of you.")
        for number in range(30):
            subject = make_subject(session, vault, dataset)
            make_face(session, vault, subject, ("neutral", "fear")[number % 2])
        export = exports.request_export(
            session, dataset=dataset, recipient="ourselves", by=None, wish=exports.Wish()
        )
    exports.build_export(FakeWork(toolbox.engine, tools), export_id=export.id)
    return export


@pytest.fixture
def candidate(toolbox: Toolbox, tools: FakeTools, export: Export) -> Callable[..., int]:
    def train(*, better: bool) -> int:
        tools.learning = FakeLearning(better=better)
        with toolbox.transaction() as session:
            run = training.request_training(
                session, export=session.get_one(Export, export.id), by=None
            )
        result = training.train_model(FakeWork(toolbox.engine, tools), run_id=run.id)
        number: int = result["model"]
        return number

    return train


def states(session: Session) -> dict[str, str]:
    session.rollback()
    session.expire_all()
    return {model.name: model.state for model in session.scalars(select(ModelVersion))}


def test_empty_pages_say_what_comes_next(sign_in: SignIn) -> None:
    curator = sign_in("curator")
    page = curator.get("/models").text
    assert "No current model" in page
    assert "No candidate waits" in page
    assert "There is no export to learn from" in curator.get("/models/new").text


def test_a_training_is_asked_for(
    sign_in: SignIn, export: Export, session: Session, toolbox: Toolbox, tools: FakeTools
) -> None:
    curator = sign_in("curator")
    page = curator.get(f"/models/new?export={export.id}").text
    assert f'<option selected value="{export.id}">' in page
    form = {"export": export.id, "name": "second", "epochs": 3, "seed": 7, "fine_tune": "y"}
    assert curator.post("/models", data=form).status_code == 303
    run = session.scalars(select(TrainingRun)).one()
    assert run.options == {"epochs": 3, "seed": 7, "fine_tune": True}
    assert "Training second" in curator.get("/models").text
    training.train_model(FakeWork(toolbox.engine, tools), run_id=run.id)
    taken = curator.post("/models", data=form)
    assert (taken.status_code, "There is a model" in taken.text) == (409, True)


@pytest.mark.parametrize(
    "change", [{"epochs": "0"}, {"epochs": ""}, {"seed": "-1"}, {"export": "999"}, {"export": "x"}]
)
def test_wrong_fields_start_nothing(
    sign_in: SignIn, export: Export, session: Session, change: dict[str, str]
) -> None:
    form = {"export": export.id, "epochs": "3", "seed": "0"} | change
    assert sign_in("curator").post("/models", data=form).status_code == 422
    assert session.scalars(select(TrainingRun)).all() == []


def test_a_better_candidate_is_shown_beside_the_current_and_promoted(
    sign_in: SignIn, candidate: Callable[..., int], session: Session
) -> None:
    number = candidate(better=True)
    curator = sign_in("curator")
    page = curator.get("/models").text
    assert "It beats bundled on held-out people." in page
    assert "0.600" in page
    detail = curator.get(f"/models/{number}").text
    assert "Accuracy differs by +10.0 points (95 % interval +5.0 to +15.0" in detail
    assert "<polyline" in detail
    assert "fear" in detail
    assert 'name="reason"' not in curator.get(f"/models/{number}/promote").text
    assert curator.post(f"/models/{number}/promote").status_code == 303
    assert states(session) == {"bundled": "retired", "cnn-1": "current"}
    assert "Go back to bundled" in curator.get("/models").text
    assert "Go back to bundled?" in curator.get("/models/rollback").text
    assert curator.post("/models/rollback").status_code == 303
    assert states(session) == {"bundled": "current", "cnn-1": "retired"}
    assert curator.get("/models/rollback").status_code == 409


def test_one_that_is_not_better_needs_a_reason(
    sign_in: SignIn, candidate: Callable[..., int], session: Session
) -> None:
    number = candidate(better=False)
    curator = sign_in("curator")
    assert 'name="reason"' in curator.get(f"/models/{number}/promote").text
    answer = curator.post(f"/models/{number}/promote")
    assert answer.status_code == 409
    assert "give a reason" in answer.text
    assert states(session)["bundled"] == "current"
    form = {"reason": "A test of the new camera."}
    assert curator.post(f"/models/{number}/promote", data=form).status_code == 303
    assert states(session)["cnn-1"] == "current"
    last = session.scalars(select(AuditEntry).where(AuditEntry.action == "model.promoted")).one()
    assert last.details["override"] == "A test of the new camera."
    assert last.actor.startswith("user-")


def test_a_marked_model_offers_no_promotion(
    sign_in: SignIn, candidate: Callable[..., int], toolbox: Toolbox
) -> None:
    number = candidate(better=True)
    with toolbox.transaction() as session:
        session.get_one(ModelVersion, number).withdrawn_at = now()
    curator = sign_in("curator")
    page = curator.get("/models").text
    assert "Promote cnn-1" not in page
    assert "Contains somebody who withdrew" in curator.get(f"/models/{number}").text
    assert curator.post(f"/models/{number}/promote").status_code == 409


def test_a_model_of_somebody_who_withdrew_is_trained_again_without_them(  # noqa: PLR0917 - fixtures
    sign_in: SignIn,
    candidate: Callable[..., int],
    export: Export,
    toolbox: Toolbox,
    tools: FakeTools,
    session: Session,
) -> None:
    number = candidate(better=True)
    with toolbox.transaction() as own:
        training.promote(own, model=own.get_one(ModelVersion, number), by=None)
        subject = own.scalars(
            select(Subject).join(ExportItem, ExportItem.subject_id == Subject.id)
        ).first()
        assert subject is not None
        gone = subject.id
        erasure.withdraw_subject(own, subject=subject, by=None)
    curator = sign_in("curator")
    assert "holds somebody who withdrew" in curator.get("/").text
    page = curator.get(f"/models/{number}").text
    assert "Contains somebody who withdrew" in page
    again = _link(page, "Build its export again without them")
    assert 'value="ourselves"' in curator.get(again).text
    assert "Train it again" not in page
    letter = curator.get(f"/exports/{export.id}").text
    assert "You received the training set" in letter
    assert letter.count("p-") >= 2  # the pseudonym, in the list and in the text
    form = {"recipient": "ourselves", "balance": "none", "password": PASSWORD}
    done = curator.post(again.partition("/new")[0], data=form)
    assert done.status_code == 303, done.text
    fresh = session.scalars(select(Export.id).order_by(Export.id.desc())).first()
    assert fresh is not None
    exports.build_export(FakeWork(toolbox.engine, tools), export_id=fresh)
    inside = select(ExportItem.subject_id).where(ExportItem.export_id == fresh)
    assert gone not in session.scalars(inside).all()
    way = _link(curator.get(f"/models/{number}").text, "Train it again without them")
    filled = curator.get(way).text
    assert f'<option selected value="{fresh}">' in filled
    assert not re.search(r'name="fine_tune"[^>]*checked|checked[^>]*name="fine_tune"', filled)
    asked = {"export": fresh, "name": "clean", "epochs": 3, "seed": 7}
    assert curator.post("/models", data=asked).status_code == 303
    session.rollback()
    run = session.scalars(select(TrainingRun).where(TrainingRun.name == "clean")).one()
    made = training.train_model(FakeWork(toolbox.engine, tools), run_id=run.id)
    with toolbox.transaction() as own:
        clean = own.get_one(ModelVersion, made["model"])
        training.promote(own, model=clean, by=None)
        assert clean.withdrawn_at is None
    assert "holds somebody who withdrew" not in curator.get("/").text


def _link(page: str, words: str) -> str:
    found = re.search(rf'href="([^"]+)">(?:<[^>]+>)?{words}', page)
    assert found is not None, words
    return html.unescape(found[1])


def test_figures_that_are_missing_are_dashes() -> None:
    found = {"candidate": {"accuracy": 0.5, "n": 1200, "kl": float("nan")}, "current": {}}
    assert [(row.label, row.candidate, row.current) for row in figures(found)] == [
        ("Accuracy", "0.500", "\u2013"),
        ("Distance to the votes (KL)", "\u2013", "\u2013"),
        ("Faces with a majority", "1,200", "\u2013"),
    ]
    assert figures({}) == []
    assert per_class({}) == []
    assert comparison({}) is None


def test_a_curve_goes_from_the_left_to_the_right_and_stays_inside() -> None:
    (line,) = curves([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}])
    assert line.points == "6.0,6.0 314.0,114.0"
    assert curves([{"epoch": 1, "loss": 2.0}]) == []
    (flat,) = curves([{"loss": 1.0}, {"loss": 1.0}])
    assert flat.points == "6.0,114.0 314.0,114.0"
