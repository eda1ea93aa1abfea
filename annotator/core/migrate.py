"""The history of the tables: Alembic, configured from code."""

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from annotator.core.db import Base
from annotator.core.errors import Conflict

PACKAGE = Path(__file__).resolve().parent.parent


def find_folder() -> Path:
    """Where the migrations are: beside the package in a checkout, inside it when installed."""
    inside = PACKAGE / "_migrations"
    return inside if inside.is_dir() else PACKAGE.parent / "migrations"


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Brings the tables to a revision, all in one transaction.

    Raises:
        Conflict: the database is newer than this program.
    """
    with engine.begin() as connection:
        config = _configure()
        present = MigrationContext.configure(connection).get_current_revision()
        if present is not None and not knows(present):
            raise Conflict("The database is of a newer version of Annotator; install that version.")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def knows(revision: str) -> bool:
    """Tells whether this program has a revision; one of a newer program it has not."""
    script = ScriptDirectory.from_config(_configure())
    return revision in {each.revision for each in script.walk_revisions()}


def downgrade(engine: Engine, revision: str) -> None:
    """Takes the tables back to a revision; ``base`` is an empty database."""
    with engine.begin() as connection:
        config = _configure()
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def find_drift(engine: Engine) -> list[str]:
    """Differences between the tables and the models; none is good."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return [str(difference) for difference in compare_metadata(context, Base.metadata)]


def write_revision(engine: Engine, message: str, revision: str) -> Path:
    """Drafts the next migration from the difference between models and tables.

    Returns:
        The file, to be read and corrected by a person.
    """
    with engine.connect() as connection:
        config = _configure()
        config.attributes["connection"] = connection
        script = command.revision(config, message, autogenerate=True, rev_id=revision)
    if script is None or isinstance(script, list):
        raise Conflict("There is nothing to migrate.")
    return Path(script.path)


def _configure() -> Config:
    config = Config()
    config.set_main_option("script_location", str(find_folder()).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return config
