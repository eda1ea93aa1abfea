"""For the data protection officer: the record of processing, and the draft of an assessment."""

from flask import Blueprint, Response, jsonify, redirect, url_for
from flask.typing import ResponseReturnValue

from annotator.domain import accountability
from annotator.web.rendering import page
from annotator.web.security import requires
from annotator.web.statements import PURPOSE_WORDS
from annotator.web.transaction import db

blueprint = Blueprint("accountability", __name__, url_prefix="/accountability")


@blueprint.get("")
@requires("admin")
def index() -> ResponseReturnValue:
    """Begins with the record of processing."""
    return redirect(url_for(".processing"))


@blueprint.get("/processing")
@requires("admin")
def processing() -> ResponseReturnValue:
    """The record of processing activities (GDPR, Article 30), to be read and printed."""
    record = accountability.describe_processing(db())
    return page("accountability/processing.html", record=record, purpose_words=PURPOSE_WORDS)


@blueprint.get("/processing.json")
@requires("admin")
def processing_json() -> Response:
    """The same for machines."""
    return jsonify(accountability.describe_processing(db()))


@blueprint.get("/impact")
@requires("admin")
def impact() -> ResponseReturnValue:
    """The draft of a data protection impact assessment with this installation's figures."""
    found = accountability.assess_impact(db())
    return page("accountability/impact.html", found=found, purpose_words=PURPOSE_WORDS)
