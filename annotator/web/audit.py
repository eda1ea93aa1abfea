"""The log, for admins: what happened, when, by whom."""

from flask import Blueprint, request, url_for
from flask.typing import ResponseReturnValue

from annotator.domain import accounts, audit
from annotator.web.rendering import page
from annotator.web.security import requires
from annotator.web.transaction import db

blueprint = Blueprint("audit", __name__)
PAGE = 100


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
    )
