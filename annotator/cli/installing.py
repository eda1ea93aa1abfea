"""Making a real installation."""

import dataclasses
import json
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import click
from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from annotator.bootstrap import Toolbox, WaysIn
from annotator.cli.asking import ask_new_passphrase
from annotator.cli.passwords import hash_password
from annotator.cli.processes import supervised
from annotator.cli.tools import answer, open_settings, tell
from annotator.core import migrate
from annotator.core.config import Settings
from annotator.core.errors import Conflict, InvalidInput
from annotator.domain import accounts, installation
from annotator.models import CONTEXTS, Installation
from annotator.vault import RING_NAME, create_vault
from annotator.vault.blobs import open_store
from annotator.vault.files import Disk, hold, remove_durably, write_durably

KEYS = "keys"  # the vault's folder below the data folder
BLOBS = "blobs"
LOCK = "init-lock"
UNFINISHED = "init-unfinished"  # is there while `init` runs: before any key, until all is committed
MARK = b"A set-up began here; `init` removes this file when it is done.\n"


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
@click.option(
    "--passphrase",
    is_flag=True,
    help="Open the key ring by a passphrase, asked for now (or read from stdin) and to be given "
    "in ANNOTATOR_PASSPHRASE whenever the program starts.",
)
@click.option("--kms", is_flag=True, help="Open it by the command in ANNOTATOR_KMS_COMMAND.")
@click.option("--key-file", is_flag=True, help="Make a key file beside the other ways in.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def init(
    email: str,
    name: str,
    context: str,
    password: str | None,
    *,
    passphrase: bool,
    kms: bool,
    key_file: bool,
    as_json: bool,
) -> None:
    """A real installation: keys, database, first admin, deployment context."""
    password = password or secrets.token_urlsafe(15)
    if len(password) < accounts.MIN_PASSWORD:
        raise InvalidInput(f"A password needs at least {accounts.MIN_PASSWORD} characters.")
    settings = open_settings()
    if kms and not settings.kms_command:
        raise InvalidInput("Name the KMS command in ANNOTATOR_KMS_COMMAND first.")
    if passphrase:
        settings = dataclasses.replace(settings, passphrase=ask_new_passphrase())
    hashed = hash_password(password)

    def add_admin(session: Session) -> None:
        accounts.create_user(session, email=email, name=name, role="admin", password_hash=hashed)

    _, code = install(settings, context=context, begin=add_admin, key_file=key_file)
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
        "Write the recovery code down and keep it apart from this machine: without it and "
        "without another way in (`keys status`) nobody can open the pictures again. "
        "Start with `run`.",
    )


def install(
    settings: Settings,
    *,
    context: str,
    begin: Callable[[Session], None] | None = None,
    key_file: bool = False,
) -> tuple[Toolbox, str]:
    """Makes keys and tables in an empty data folder, whole or not at all.

    Args:
        settings: name the folder.
        context: see ``installation.set_up``.
        begin: writes the first rows, in the transaction that sets the installation up.
        key_file: whether to make a key file although there is another way in.

    Returns:
        The tools, and the recovery code.

    Raises:
        Conflict: there is an installation already.
    """
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = settings.data / LOCK
    with hold(Disk(), lock):  # two at once must not take each other's keys for leftovers
        try:
            return _install(settings, context=context, begin=begin, key_file=key_file)
        finally:
            lock.unlink(missing_ok=True)


def _install(
    settings: Settings,
    *,
    context: str,
    begin: Callable[[Session], None] | None,
    key_file: bool,
) -> tuple[Toolbox, str]:
    tools, disk, mark = Toolbox(settings), Disk(), settings.data / UNFINISHED
    if (settings.data / KEYS).exists():
        _clear_unfinished(tools)
    write_durably(disk, mark, [MARK])
    ways_in = tools.ways_in
    if key_file:
        ways_in["key_file"] = tools.key_file
    code = _make_keys(tools, ways_in)
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
        if ways_in["key_file"] is not None:  # made a moment ago, and the key of nothing
            ways_in["key_file"].unlink(missing_ok=True)
        mark.unlink(missing_ok=True)
        raise
    remove_durably(disk, mark)
    return tools, code


def _clear_unfinished(tools: Toolbox) -> None:
    """Removes the keys that an interrupted ``init`` left; never any that could be of use.

    They are such when that ``init`` left its mark, and neither the database knows of an
    installation nor anything was ever sealed.

    Raises:
        Conflict: there is an installation, or there may be one.
    """
    keys, mark = tools.data / KEYS, tools.data / UNFINISHED
    known = Conflict(
        f"There is an installation in '{tools.data}' already; start it with `run`, or name "
        "another folder in ANNOTATOR_DATA."
    )
    if not mark.exists():
        if (keys / RING_NAME).exists() or any(tools.data.glob(f"{BLOBS}/*/*")):
            raise known
        raise Conflict(
            f"The folder '{keys}' is in the way and holds no key ring. If you know of no use for "
            "what is in it, remove it and run `init` again."
        )
    if inspect(tools.engine).has_table(Installation.__tablename__):
        with tools.sessions() as session:
            if session.scalar(select(Installation.id)) is not None:
                remove_durably(Disk(), mark)  # all but this was done
                raise known
    if (
        tools.ledger_file.exists()
        or next(open_store(tools.blobs, Disk()).names(), None) is not None
    ):
        raise Conflict(
            f"An `init` in '{tools.data}' was interrupted, but something was sealed since. Name a "
            "new folder in ANNOTATOR_DATA, or restore a backup there."
        )
    tell("An earlier `init` was interrupted; it begins anew.")
    shutil.rmtree(keys)


def _make_keys(tools: Toolbox, ways_in: WaysIn) -> str:
    """The keys of a new installation; answers the recovery code."""
    folder = tools.data / KEYS
    try:
        return create_vault(tools.data, blobs=tools.blobs, **ways_in)[1]
    except BaseException:
        # A KMS command may have failed; an empty folder must not look like an installation.
        if folder.is_dir() and not any(path.suffix == ".json" for path in folder.iterdir()):
            shutil.rmtree(folder)
        (tools.data / UNFINISHED).unlink(missing_ok=True)
        raise


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
