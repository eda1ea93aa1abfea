"""The HTTP API, ``/api/v1``: the blueprints of this folder, and their description."""

from typing import Any

from flask import Blueprint, current_app

from annotator.web.api.openapi import assemble, operation
from annotator.web.discovery import find_blueprints
from annotator.web.security import public

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")


@blueprint.get("/openapi.json")
@public
@operation("This description.", answer={"type": "object"})
def openapi() -> dict[str, Any]:
    """Describes the API for programs."""
    return assemble(current_app)


for _part in find_blueprints(__name__, __path__):
    blueprint.register_blueprint(_part)
