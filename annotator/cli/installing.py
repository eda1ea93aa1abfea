"""Making a real installation."""

import json
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import click
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox
from annotator.cli.passwords import hash_password
from annotator.cli.processes import supervised
from annotator.cli.tools import answer, open_settings, tell
from annotator.core import migrate
from annotator.core.config import Settings
from annotator.core.errors import Conflict, InvalidInput
from annotator.domain import accounts, installation
from annotator.models import CONTEXTS
from annotator.vault import create_vault

KEYS = "keys"  # the vault's folder below the data folder


@click.command()
@click.option("--email", prompt="Your e-mail address", help="The first admin's sign-in.")
@click.option("--name", prompt="Your name", help="What colleagues call the first admin.")
@click.option(
    "--context",
    type=click.Choice(CONTEXTS),
    prompt="What is it used for",
    help="Where the pictures come from. 'workplace' and 'education' switch pre-labels off, "
    "because the European Union forbids inferring emotions there.",
)
@click.option("--password", help="At least 12 characters; made up and shown once when omitted.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def init(email: str, name: str, context: str, password: str | None, as_json: bool) -> None:
    """A real installation: keys, database, first admin, deployment context."""
    password = password or secrets.token_urlsafe(15)
    if len(password) < accounts.MIN_PASSWORD:
        raise InvalidInput(f"A password needs at least {accounts.MIN_PASSWORD} characters.")
    settings = open_settings()
    hashed = hash_password(password)

    def add_admin(session: Session) -> None:
        accounts.create_user(session, email=email, name=name, role="admin", password_hash=hashed)

    _, code = install(settings, context=context, begin=add_admin)
    answer(
        {
            "data": str(settings.data.absolute()),
            "email": email.lower(),
            "password": password,
            "recovery_code": code,
        },
        as_json=as_json,
        text=f"Installed in {settings.data.absolute()}.\n\n"
        f"Sign in as   {email}\nPassword     {password}\nRecovery     {code}\n\n"
        "Write the recovery code down and keep it apart from this machine: without the key file "
        "and without it nobody can open the pictures again. Start with `run`.",
    )


def install(
    settings: Settings, *, context: str, begin: Callable[[Session], None] | None = None
) -> tuple[Toolbox, str]:
    """Makes keys and tables in an empty data folder, whole or not at all.

    Args:
        settings: name the folder.
        context: see ``installation.set_up``.
        begin: writes the first rows, in the transaction that sets the installation up.

    Returns:
        The tools, and the recovery code.

    Raises:
        Conflict: there is an installation already.
    """
    if (settings.data / KEYS).exists():
        raise Conflict(f"There is an installation in '{settings.data}' already.")
    tools = Toolbox(settings)
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    passphrase = settings.passphrase or None
    _, code = create_vault(
        settings.data,
        blobs=tools.blobs,
        passphrase=passphrase,
        key_file=None if passphrase else tools.key_file,
    )
    try:
        migrate.upgrade(tools.engine)
        with tools.transaction() as session:
            installation.set_up(
                session,
                install=tools.vault.install,
                context=context,
                model_digest=tools.learning.digest(None),
            )
            if begin is not None:
                begin(session)
    except BaseException:
        # Nothing was sealed yet: without the keys the folder is empty, and `init` can begin anew.
        shutil.rmtree(settings.data / KEYS)
        raise
    return tools, code


@click.command(hidden=True)
@supervised
@click.argument("out", type=click.Path(path_type=Path))
def demo_data(out: Path) -> None:
    """Fills a new data folder for `demo`, in a process of its own: drawing needs much memory."""
    from annotator.cli.demo import fill  # noqa: PLC0415 - draws with OpenCV

    settings = open_settings()
    tools, _ = install(settings, context="research")
    tell(f"Making a demo installation in {settings.data} with drawn people.")
    out.write_text(json.dumps(fill(tools)))


COMMANDS = (init, demo_data)
