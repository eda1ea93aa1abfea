"""Copies of an installation, and an installation from a copy."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import click

from annotator.bootstrap import BLOBS, KEYS, Toolbox
from annotator.cli.tools import Meter, answer, open_settings, open_tools
from annotator.core.config import Settings
from annotator.core.db import now, open_engine
from annotator.core.errors import Conflict, NotFound
from annotator.domain import backups
from annotator.vault import LEDGER_NAME, RING_NAME, Ledger, copy_file

STAGE = "restoring"  # in the data folder, until everything is done
DATABASE = "annotator.sqlite"
WORDS = {"blobs": "Copying blobs", "rows": "Copying rows"}

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
folder = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("out", type=folder)
@click.option("--keys", type=folder, help="Where a copy of the key ring goes; kept for 7 days.")
@json_option
def backup(out: Path, keys: Path | None, as_json: bool) -> None:
    """Copies database and blobs to OUT while the app runs; again there, only what is new."""
    tools = open_tools()
    meters = {what: Meter(words) for what, words in WORDS.items()}
    taken = backups.take_backup(
        tools.engine,
        vault=tools.vault,
        out=out,
        at=now(),
        ring=ring_source(tools),
        keys=keys,
        progress=lambda what, done, total: meters[what].show(done, total),
    )
    with tools.transaction() as session:
        backups.note_backup(session, backup=taken)
    without = (
        f"A copy of the key ring is in {taken.keys} until seven days from now."
        if taken.keys
        else "Without a copy of the key ring, made with --keys, nobody can open it once a person "
        "has withdrawn."
    )
    answer(
        asdict(taken),
        as_json=as_json,
        text=f"{taken.blobs:,} blobs and the database are in {out}; {taken.copied:,} are new "
        f"({taken.copied_bytes / 1e6:,.1f} MB), {taken.removed:,} are gone. {without}",
    )


def ring_source(tools: Toolbox) -> backups.RingSource:
    """Where an installation keeps its keys."""
    keys = tools.data / KEYS
    beside = tools.key_file.parent.resolve() == keys.resolve()
    return backups.RingSource(
        ring=keys / RING_NAME,
        key_file=tools.key_file if beside else None,
        ledger=tools.ledger_file,
    )


@click.command()
@click.argument("source", metavar="FROM", type=folder)
@click.option("--keys", type=folder, help="The copy of the key ring that belongs to the backup.")
@click.option(
    "--ledger",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The newest erasure ledger; by default the one that ANNOTATOR_LEDGER names.",
)
@click.option(
    "--ledger-lost",
    is_flag=True,
    help="There is no ledger but the one in the copy of the key ring: whoever withdrew since that "
    "copy has to be withdrawn again.",
)
@click.option("--check", is_flag=True, help="Only look whether the backup is whole.")
@json_option
def restore(  # noqa: PLR0917 - click hands options over by name
    source: Path,
    keys: Path | None,
    ledger: Path | None,
    ledger_lost: bool,
    check: bool,
    as_json: bool,
) -> None:
    """Makes the installation again in an empty data folder; erases whoever withdrew since."""
    manifest, mac = backups.read_manifest(source)
    found = backups.check_files(source, manifest=manifest)
    if check:
        backups.check_blobs(source, blobs=found, report=Meter("Reading blobs").show)
        answer(
            {"backup": manifest.id, "at": manifest.at, "blobs": manifest.blobs},
            as_json=as_json,
            text=f"The backup of {manifest.at} is whole: {manifest.blobs:,} blobs.",
        )
        return
    if keys is None:
        raise click.UsageError("Name the copy of the key ring with --keys.")
    copy = backups.find_ring_copy(keys, manifest=manifest, at=now())
    settings = open_settings()
    with ExitStack() as making:
        tools = making.enter_context(staged(settings, copy.folder))
        copy.check(tools.vault)
        records = choose_ledger(settings, tools, copy.folder, given=ledger, lost=ledger_lost)
        server = open_engine(settings.database_url) if settings.database_url else None
        if server is not None:
            making.callback(server.dispose)
        backups.check_target(vault=tools.vault, engine=server)
        copy_file(source / manifest.database.name, tools.data / DATABASE)
        restored = backups.restore_database(
            tools.engine,
            tools=tools,
            manifest=manifest,
            mac=mac,
            records=records,
            report=Meter("Renewing keys").show,
        )
        blobs = backups.restore_blobs(
            source,
            vault=tools.vault,
            engine=tools.engine,
            blobs=found,
            left_out=restored.left_out,
            report=Meter("Copying blobs").show,
        )
        backups.note_restore(
            tools.engine, manifest=manifest, restored=restored, ledger=len(records)
        )
        if server is not None:
            backups.publish_database(
                tools.data / DATABASE, server, report=Meter("Copying rows").show
            )
            (tools.data / DATABASE).unlink()
    answer(
        {
            "backup": manifest.id,
            "at": manifest.at,
            "blobs": blobs,
            "erased": restored.erased,
            "narrowed": restored.narrowed,
            "keys": restored.keys,
            "damaged": restored.damaged,
            "data": str(settings.data.absolute()),
        },
        as_json=as_json,
        text=f"Restored to the state of {manifest.at}: {blobs:,} blobs, {restored.keys:,} people. "
        f"{restored.erased:,} who withdrew since are erased, {restored.narrowed:,} took single "
        "purposes back. Everybody signs in again.",
    )


@contextmanager
def staged(settings: Settings, ring_copy: Path) -> Iterator[Toolbox]:
    """The tools of an installation that is being made, in a folder inside the data folder.

    When the block ends well it is moved into place, the keys last: with them it is in force. When
    it does not, or the machine stops, nothing is left but that folder, which the next try removes.

    Raises:
        Conflict: the data folder is not empty.
    """
    data = settings.data
    stage = data / STAGE
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    if stage.is_dir():  # an earlier try; what lies beside it was moved there by that try
        for name in (KEYS, BLOBS, DATABASE):
            remove(data / name)
        remove(stage)
    if any(data.iterdir()):
        raise Conflict("The data folder is not empty; name a new one in ANNOTATOR_DATA.")
    (stage / KEYS).mkdir(parents=True, mode=0o700)
    tools = Toolbox(replace(settings, data=stage, database_url="", ledger=""))
    try:
        for path in sorted(ring_copy.iterdir()):
            if path.name not in {LEDGER_NAME, "copy.json"}:
                copy_file(path, stage / KEYS / path.name)
        yield tools
        tools.engine.dispose()
        move_into_place(stage, data)
    except BaseException:
        tools.engine.dispose()
        remove(stage)
        raise


def move_into_place(stage: Path, data: Path) -> None:
    """The keys come last: a folder with keys is an installation."""
    for name in (BLOBS, DATABASE, KEYS):
        if (stage / name).exists():
            (stage / name).rename(data / name)
    remove(stage)


def remove(path: Path) -> None:
    """Removes a file or a folder with everything in it, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def choose_ledger(
    settings: Settings, tools: Toolbox, ring_copy: Path, *, given: Path | None, lost: bool
) -> list[dict[str, object]]:
    """The records of the longest ledger that is known; it becomes the new installation's.

    Raises:
        NotFound: the ledger that was named is not there, or none was.
        Tampered: one was changed, or is shorter than the key ring says.
    """
    outside = Path(settings.ledger) if settings.ledger else None
    newer = [path for path in (given, outside) if path is not None]
    if given is not None and not given.exists():
        raise NotFound("The erasure ledger that was named is not there.")
    if not lost and not any(path.exists() for path in newer):
        raise NotFound(
            "The erasure ledger is not there. Name it with --ledger; if it is lost, say "
            "--ledger-lost and withdraw again whoever withdrew since the copy of the key ring."
        )
    ledger = tools.ledger
    assert isinstance(ledger, Ledger)
    for path in (ring_copy / LEDGER_NAME, *newer):
        ledger.adopt(Ledger(path, seals=ledger.seals))
    if outside is not None:
        outer = Ledger(outside, seals=ledger.seals)
        outer.adopt(ledger)
        remove(ledger.path)
        return outer.read()
    return ledger.read()


COMMANDS = (backup, restore)
