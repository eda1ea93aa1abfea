"""Datasets: list, create, read."""

from typing import Any

from flask import Blueprint

from annotator.core.errors import InvalidInput
from annotator.domain import consent, datasets
from annotator.models import Dataset
from annotator.web.api.openapi import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    operation,
    paged,
    thing,
)
from annotator.web.api.payload import cursor, page_size, payload, take
from annotator.web.security import current_dataset, requires, signed_in
from annotator.web.transaction import db

blueprint = Blueprint("datasets", __name__, url_prefix="/datasets")

RULES = {
    "description": STRING,
    "votes_per_face": INTEGER,
    "blind_share": NUMBER,
    "prelabel_threshold": NUMBER,
    "approve_alone": BOOLEAN,
}
PROGRESS = thing({"faces": INTEGER, "open": INTEGER, "done": INTEGER})
DATASET = thing({"id": INTEGER, "name": STRING, **RULES, "progress": PROGRESS})
NOTICE = {
    "type": "object",
    "description": "Fields of the notice by language: controller, contact, recipients, ...",
    "additionalProperties": {"type": "object", "additionalProperties": STRING},
}
NEW = thing({"name": STRING}, {**RULES, "notice": NOTICE})


@blueprint.get("")
@operation(
    "The datasets that you may see.",
    query={"after": INTEGER, "limit": INTEGER},
    answer=paged(DATASET),
)
@requires("annotator")
def index() -> dict[str, Any]:
    """Lists datasets."""
    size = page_size()
    found = datasets.list_datasets(db(), user=signed_in(), after=cursor(), limit=size + 1)
    items = found[:size]
    return {
        "items": [_describe(dataset) for dataset in items],
        "next": items[-1].id if len(found) > size else None,
    }


@blueprint.post("")
@operation("Makes a dataset, and its notice if you send one.", body=NEW, answer=DATASET, status=201)
@requires("curator")
def create() -> tuple[dict[str, Any], int]:
    """Makes a dataset."""
    body = payload()
    dataset = datasets.create_dataset(
        db(),
        name=take(body, "name", str),
        description=take(body, "description", str, ""),
        votes_per_face=take(body, "votes_per_face", int, 3),
        blind_share=take(body, "blind_share", float, 0.15),
        prelabel_threshold=take(body, "prelabel_threshold", float, 0.5),
        approve_alone=take(body, "approve_alone", bool, default=True),
        created_by=signed_in(),
    )
    notice = take(body, "notice", dict, {})
    if not all(isinstance(fields, dict) for fields in notice.values()):
        raise InvalidInput("'notice' holds the fields of the notice by language.")
    if notice:
        texts = {str(locale): consent.Facts.read(fields) for locale, fields in notice.items()}
        consent.publish_notice(db(), dataset=dataset, texts=texts, by=signed_in().id)
    return _describe(dataset), 201


@blueprint.get("/<int:dataset_id>")
@operation("One dataset and how far it is.", answer=DATASET)
@requires("annotator")
def show(dataset_id: int) -> dict[str, Any]:
    """Reads a dataset."""
    return _describe(current_dataset(dataset_id))


def _describe(dataset: Dataset) -> dict[str, Any]:
    progress = datasets.count_progress(db(), dataset_id=dataset.id)
    return {
        "id": dataset.id,
        "name": dataset.name,
        **{rule: getattr(dataset, rule) for rule in RULES},
        "progress": {"faces": progress.faces, "open": progress.open, "done": progress.done},
    }
