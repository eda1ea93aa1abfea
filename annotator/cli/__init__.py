"""The command line: thin click commands that speak to the same rooms as the web."""

import os
import sys
from collections.abc import Sequence

import click
from sqlalchemy.exc import DBAPIError, OperationalError

from annotator import __version__
from annotator.cli import (
    development,
    evidence,
    installing,
    keeping,
    keys,
    learning,
    people,
    pictures,
    serving,
    sets,
    storage,
)
from annotator.cli.tools import tell
from annotator.core.db import explain
from annotator.core.errors import AnnotatorError
from annotator.core.secrecy import forbid_dumps


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="annotator")
def cli() -> None:
    """Turns photographs of consenting people into facial-expression training data.

    Begin with `demo`, a throw-away installation, or with `init`, a real one.
    """


for module in (
    serving,
    installing,
    sets,
    learning,
    people,
    pictures,
    evidence,
    keys,
    keeping,
    storage,
    development,
):
    for command in module.COMMANDS:
        cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        0 done, 1 refused or failed (one sentence on stderr), 2 wrong usage.
    """
    forbid_dumps()
    os.umask(0o077)  # the database, copies and whatever is taken out are for their owner alone
    try:
        code = cli.main(args=arguments, prog_name="annotator", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return 2
    except DBAPIError as error:
        known = explain(error)
        if known is not None:
            return _refuse(known)
        if not _is_unreachable(error):
            raise
        tell("The database does not answer; see that it runs, and check ANNOTATOR_DATABASE_URL.")
        return 1
    except (AnnotatorError, KeyboardInterrupt, click.Abort, OSError) as error:
        return _refuse(error)
    return code if isinstance(code, int) else 0


def _is_unreachable(error: DBAPIError) -> bool:
    # An error at connecting comes before any statement; SQLite tells what it means by a code.
    at_sqlite = hasattr(error.orig, "sqlite_errorcode")
    return isinstance(error, OperationalError) and error.statement is None and not at_sqlite


def _refuse(error: BaseException) -> int:
    if isinstance(error, AnnotatorError):
        tell(error.message)
    elif isinstance(error, BrokenPipeError):
        # Whoever read our output has had enough; Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    elif isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        tell(f"{error.strerror or error}{where}.")
    else:
        tell("Stopped.")
    return 1
