"""Models: training, registry, pre-labels, clusters."""

import json
from pathlib import Path
from typing import Any

import click
from sqlalchemy.orm import Session

from annotator.cli.tools import answer, finish_job, open_tools, tell
from annotator.core.errors import InvalidInput
from annotator.domain import curation, datasets, exports, prediction, training
from annotator.models import Dataset, ModelVersion

json_option = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")


@click.command()
@click.argument("export")
@click.option("--model", "kind", default="cnn", show_default=True, help="What to train.")
@click.option("--name", default="", help="The candidate's name; made up when omitted.")
@click.option("--epochs", type=int, help="Passes over the faces, at most.")
@click.option("--seed", type=int, help="Repeats the training.")
@click.option("--from-scratch", is_flag=True, help="Do not start from the current model.")
@json_option
def train(
    export: str,
    *,
    kind: str,
    name: str,
    epochs: int | None,
    seed: int | None,
    from_scratch: bool,
    as_json: bool,
) -> None:
    """Trains on EXPORT (its number, or the folder it was written to) and registers a candidate."""
    tools = open_tools()
    asked = {"epochs": epochs, "seed": seed, "fine_tune": False if from_scratch else None}
    with tools.transaction() as session:
        source = exports.find_export(session, name=_export_id(export))
        run = training.request_training(
            session,
            export=source,
            kind=kind,
            name=name,
            options={option: value for option, value in asked.items() if value is not None},
            by=None,
        )
        job_id = run.job_id
    assert job_id is not None
    result = finish_job(tools, job_id, "Training")
    with tools.sessions() as session:
        model = session.get_one(ModelVersion, result["model"])
        verdict = training.judge(session, model=model).sentence
        answer(
            _describe(model),
            as_json=as_json,
            text=f"Candidate '{model.name}' is registered. {verdict}\n{_figures(model)}\n"
            f"Make it the one that pre-labels: models promote {model.name}",
        )


@click.group()
def models() -> None:
    """The registry of models."""


@models.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Every model, newest first."""
    tools = open_tools()
    with tools.sessions() as session:
        for model in training.list_models(session):
            withdrawn = ", contains withdrawn people" if model.withdrawn_at else ""
            answer(
                _describe(model),
                as_json=as_json,
                text=f"{model.name}  {model.kind}  {model.state}{withdrawn}",
            )


@models.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """One model and its figures."""
    tools = open_tools()
    with tools.sessions() as session:
        model = training.find_model(session, name=name)
        answer(
            _describe(model),
            as_json=as_json,
            text=f"{model.name}: {model.state}\n{_figures(model)}{_next(session, model)}",
        )


@models.command()
@click.argument("name")
@click.option("--override", help="Why it is promoted although it does not beat the current one.")
def promote(name: str, override: str | None) -> None:
    """Makes a candidate the model that pre-labels."""
    tools = open_tools()
    with tools.transaction() as session:
        model = training.find_model(session, name=name)
        training.promote(session, model=model, by=None, override_reason=override)
    tell(f"'{name}' makes the pre-labels from now on.")


@models.command()
def rollback() -> None:
    """Goes back to the model that pre-labelled before."""
    tools = open_tools()
    with tools.transaction() as session:
        model = training.rollback(session, by=None)
        name = model.name
    tell(f"'{name}' makes the pre-labels again.")


@click.command()
@click.argument("dataset")
@json_option
def predict(dataset: str, as_json: bool) -> None:
    """Pre-labels and embeddings for every face of DATASET that the current model has not seen."""
    tools = open_tools()
    with tools.transaction() as session:
        target = datasets.find_dataset(session, name=dataset)
        job_id = prediction.start_prediction(session, dataset_id=target.id).id
    result = finish_job(tools, job_id, "Predicting")
    answer(result, as_json=as_json, text=f"{result['faces']} faces have new pre-labels.")


@click.command()
@click.argument("dataset")
@click.option("--clusters", type=click.IntRange(1, 1000), help="How many; chosen when omitted.")
@click.option("--seed", type=int, default=0, show_default=True)
@json_option
def cluster(dataset: str, clusters: int | None, seed: int, as_json: bool) -> None:
    """Groups the faces of DATASET by how the current model sees them."""
    tools = open_tools()
    with tools.transaction() as session:
        target = datasets.find_dataset(session, name=dataset)
        job_id = curation.start_clustering(
            session, dataset=target, k=clusters, seed=seed, by=None
        ).id
    result = finish_job(tools, job_id, "Clustering")
    answer(
        result, as_json=as_json, text=f"{result['faces']} faces in {result['clusters']} clusters."
    )


def _export_id(text: str) -> str:
    """An export's number or id, also from the folder that it was written to."""
    manifest = Path(text, "manifest.json")
    if not manifest.is_file():
        return text
    try:
        return str(json.loads(manifest.read_text())["id"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"'{manifest}' is not the manifest of an export.") from error


def _figures(model: ModelVersion) -> str:
    lines = []
    for who in ("candidate", "current"):
        measured = model.figures.get(who)
        if measured:
            lines.append(
                f"  {who:<9}  accuracy {measured['accuracy']:.3f}  "
                f"macro-F1 {measured['macro_f1']:.3f}"
            )
    return "\n".join(lines) or "  no figures: it was never measured here"


def _next(session: Session, model: ModelVersion) -> str:
    """What to do about a model that holds somebody who withdrew; nothing for any other."""
    if model.withdrawn_at is None:
        return ""
    since = f"\n  contains somebody who withdrew, since {model.withdrawn_at:%Y-%m-%d}"
    plan = training.plan_retraining(session, model=model)
    if plan is None:
        return f"{since}; it was not trained here: go back with `models rollback`"
    if plan.ready is None:
        name = session.get_one(Dataset, plan.source.dataset_id).name
        return (
            f"{since}; build its export again: export '{name}' --balance {plan.source.balance} "
            f"--seed {plan.source.seed} --recipient '{plan.source.recipient}' OUT"
        )
    options = plan.options
    scratch = "" if options["fine_tune"] else " --from-scratch"
    return (
        f"{since}; train it again: train {plan.ready.id} --epochs {options['epochs']} "
        f"--seed {options['seed']}{scratch}"
    )


def _describe(model: ModelVersion) -> dict[str, Any]:
    return {
        "name": model.name,
        "kind": model.kind,
        "state": model.state,
        "digest": model.digest,
        "withdrawn": model.withdrawn_at is not None,
        "withdrawn_at": model.withdrawn_at.isoformat() if model.withdrawn_at else None,
        "figures": model.figures,
    }


COMMANDS = (train, models, predict, cluster)
