"""The log, for admins: what happened, when, by whom; how far it is signed, and who has that."""

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from annotator.core.errors import AnnotatorError, NotFound
from annotator.domain import accounts, audit, jobs
from annotator.models import Job
from annotator.web.rendering import page
from annotator.web.security import requires, signed_in
from annotator.web.transaction import db, toolbox

blueprint = Blueprint("audit", __name__)
PAGE = 100
KIND = "checkpoint"


@blueprint.get("/audit")
@requires("admin")
def index() -> ResponseReturnValue:
    """The newest entries first; of one action, or all."""
    action = request.args.get("action", "")
    before = request.args.get("before", 0, type=int)
    found = audit.list_entries(db(), action=action, before=before, limit=PAGE + 1)
    entries, more = found[:PAGE], None
    if len(found) > PAGE:
        more = url_for(".index", action=action or None, before=entries[-1].id)
    people = {audit.actor_of(user.id): user.name for user in accounts.list_users(db())}
    return page(
        "audit/index.html",
        entries=entries,
        actions=audit.list_actions(db()),
        action=action,
        people=people,
        first=not before,
        next=more,
        head=audit.read_head(db()),
        standing=audit.read_standing(db()),
        witness=_witness(),
        signing=_signing(),
    )


def _witness() -> str | None:
    """Where the witness is, in words; ``None`` without one."""
    try:
        witness = toolbox().witness
    except AnnotatorError as error:
        return error.message
    return witness.place if witness else None


def _signing() -> Job | None:
    """The job that signs the log just now."""
    newest = jobs.list_jobs(db(), dataset_ids=None, limit=20)
    return next((job for job in newest if job.kind == KIND and job.state not in jobs.ENDED), None)


@blueprint.post("/audit/checkpoints")
@requires("admin")
def sign() -> ResponseReturnValue:
    """Has a worker sign the log now and hand it to the witness."""
    if _signing() is None:
        jobs.enqueue(db(), kind=KIND, arguments={}, created_by=signed_in().id)
    flash("A worker signs the log now.", "info")
    return redirect(url_for(".index"), 303)


@blueprint.get("/audit/checkpoint")
@requires("admin")
def checkpoint() -> Response:
    """The newest checkpoint, to be kept elsewhere."""
    newest = audit.newest_checkpoint(db())
    if newest is None:
        raise NotFound("Nothing is signed yet; sign the log first.")
    return _file(f"{newest.note}{newest.cosignatures}", f"checkpoint-{newest.size}.txt")


@blueprint.get("/audit/key")
@requires("admin")
def key() -> Response:
    """The log's public key."""
    return _file(f"{audit.verifier_of(toolbox().vault)}\n", "log-key.txt")


def _file(text: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, mimetype="text/plain", headers=headers)
