"""Exports by a program: build, look, fetch."""

from typing import Any

from flask import Blueprint, Response

from annotator.core.errors import InvalidInput
from annotator.domain import exports
from annotator.models import BALANCES, TIERS, Export
from annotator.web.api.openapi import INTEGER, STRING, nullable, operation, thing
from annotator.web.api.payload import payload, take
from annotator.web.exports import send_archive, state_of, visible_export
from annotator.web.security import current_dataset, requires, signed_in
from annotator.web.transaction import db

blueprint = Blueprint("exports", __name__)
WISH = thing(
    {},
    {
        "tier": {"type": "string", "enum": list(TIERS), "default": "T1"},
        "format": {"type": "string", "default": "folder"},
        "balance": {"type": "string", "enum": list(BALANCES), "default": "none"},
        "seed": INTEGER,
        "min_votes": INTEGER,
        "recipient": STRING,
    },
)
EXPORT = thing(
    {
        "id": INTEGER,
        "uid": STRING,
        "dataset": INTEGER,
        "state": {"type": "string", "enum": ["queued", "running", "ready", "failed", "withdrawn"]},
        "tier": STRING,
        "format": STRING,
        "balance": STRING,
        "seed": INTEGER,
        "recipient": STRING,
        "job": nullable(INTEGER),
        "counts": {"type": "object"},
        "manifest_sha256": nullable(STRING),
    }
)


@blueprint.post("/datasets/<int:dataset_id>/exports")
@operation(
    "Has an export built. Without 'recipient' it is for the caller.",
    body=WISH,
    answer=EXPORT,
    status=202,
)
@requires("curator")
def create(dataset_id: int) -> tuple[dict[str, Any], int]:
    """Has an export built."""
    dataset = current_dataset(dataset_id)
    body = payload()
    known = set(WISH["properties"])
    unknown = sorted(set(body) - known)
    if unknown:
        raise InvalidInput(f"There is no '{unknown[0]}'; there are {', '.join(sorted(known))}.")
    export = exports.request_export(
        db(),
        dataset=dataset,
        recipient=take(body, "recipient", str, signed_in().name),
        by=signed_in(),
        wish=exports.Wish(
            tier=take(body, "tier", str, "T1"),
            format=take(body, "format", str, "folder"),
            balance=take(body, "balance", str, "none"),
            seed=_number(body, "seed"),
            min_votes=_number(body, "min_votes"),
        ),
    )
    return _answer(export), 202


@blueprint.get("/exports/<int:export_id>")
@operation("One export: its state and what is in it.", answer=EXPORT)
@requires("curator")
def show(export_id: int) -> dict[str, Any]:
    """Reads an export."""
    return _answer(visible_export(export_id))


@blueprint.get("/exports/<int:export_id>/archive")
@operation(
    "The export as a ZIP; the log keeps who fetched it. A download that broke off goes on with"
    " 'Range' and 'If-Range'.",
    content="application/zip",
)
@requires("curator")
def archive(export_id: int) -> Response:
    """Fetches an export."""
    return send_archive(visible_export(export_id, writing=True))


def _number(body: dict[str, Any], name: str) -> int | None:
    return None if body.get(name) is None else take(body, name, int)


def _answer(export: Export) -> dict[str, Any]:
    return {
        "id": export.id,
        "uid": export.uid,
        "dataset": export.dataset_id,
        "state": state_of(export),
        "tier": export.tier,
        "format": export.format,
        "balance": export.balance,
        "seed": export.seed,
        "recipient": export.recipient,
        "job": export.job_id,
        "counts": export.counts,
        "manifest_sha256": export.manifest_digest,
    }
