"""The web: pages and the HTTP API. Reads a request, calls one domain function, renders."""

import os

from flask import Flask

from annotator.bootstrap import Toolbox
from annotator.core.config import Settings
from annotator.web.assets import find_folder, hash_tree
from annotator.web.discovery import find_blueprints
from annotator.web.errors import init_errors
from annotator.web.headers import init_headers
from annotator.web.identity import init_identity
from annotator.web.languages import init_languages
from annotator.web.rendering import init_rendering
from annotator.web.secret import read_secret
from annotator.web.security import init_security
from annotator.web.sessions import DatabaseSessions
from annotator.web.transaction import init_transaction

MEGABYTE = 10**6  # bytes
MOST_PARTS = 2000  # of one multipart form; an upload of 500 pictures has about as many


def create_app(toolbox: Toolbox | None = None) -> Flask:
    """Builds the web app.

    Args:
        toolbox: the tools; by default those that the environment's settings choose.
    """
    toolbox = toolbox or Toolbox(Settings.load(os.environ))
    settings = toolbox.settings
    static = find_folder("static")
    app = Flask(
        "annotator",
        template_folder=str(find_folder("templates")),
        static_folder=str(static),
        static_url_path=f"/static/{hash_tree(static)}",
    )
    app.config.update(
        SECRET_KEY=read_secret(settings.data),
        MAX_CONTENT_LENGTH=(settings.max_upload_mb + 1) * MEGABYTE,
        MAX_FORM_PARTS=MOST_PARTS,
        SEND_FILE_MAX_AGE_DEFAULT=31536000,  # seconds; static addresses carry a version
        PREFERRED_URL_SCHEME="https" if settings.secure else "http",
    )
    app.extensions["annotator"] = toolbox
    app.session_interface = DatabaseSessions(toolbox.sessions, settings)
    # What answers passes goes last to first: the transaction closes first, headers come last.
    init_headers(app, settings)
    init_errors(app)
    init_security(app)
    init_identity(app)
    init_rendering(app)
    init_languages(app)
    init_transaction(app)
    for blueprint in find_blueprints(__name__, __path__):
        app.register_blueprint(blueprint)
    return app
