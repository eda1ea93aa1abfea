"""Keeping what is stored sound: `scrub` names damage, `sweep` removes what belongs to nothing."""

import contextlib
import datetime as dt
import os
from dataclasses import asdict

import click
import psutil

from annotator.cli.tools import Meter, answer, open_tools, tell
from annotator.domain import audit, upkeep

MEGABYTE = 10**6
DAMAGED = 1  # exit code
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.command()
@click.option("--from", "place", help="Go on where an interrupted scrub said.")
@json_option
def scrub(place: str | None, as_json: bool) -> int:
    """Open everything that is sealed and name each thing that is damaged or missing."""
    tools = open_tools()
    start = upkeep.parse_position(place) if place else ("subjects.wrapped_key", 0)
    _step_back()
    meter = Meter("Opening")
    work = upkeep.Scrub(tools.engine, vault=tools.vault, start=start, report=meter.show)
    damaged, stopped = 0, False
    try:
        for damage in work:
            damaged += 1
            answer(asdict(damage), as_json=as_json, text=damage.sentence)
    except KeyboardInterrupt:
        stopped = True
    with tools.transaction() as session:
        audit.append(
            session,
            action="storage.scrubbed",
            actor="cli",
            opened=work.opened,
            damaged=damaged,
            whole=not stopped and place is None,
        )
    left = work.position if stopped else ""
    found = f"{damaged:,} are damaged" if damaged else "none is damaged"
    answer(
        {"opened": work.opened, "bytes": work.bytes, "damaged": damaged, "stopped_at": left},
        as_json=as_json,
        text=f"{work.opened:,} sealed things opened ({work.bytes / MEGABYTE:,.0f} MB of blobs); "
        f"{found}.",
    )
    if stopped:
        tell(f"Stopped. Go on with `scrub --from {left}`.")
    return DAMAGED if damaged or stopped else 0


@click.command()
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=upkeep.GRACE / dt.timedelta(hours=1),
    show_default=True,
    help="Hours that an orphan must be old.",
)
@click.option("--dry-run", is_flag=True, help="Only look.")
@click.option("--force", is_flag=True, help="Delete also when most blobs have no row.")
@json_option
def sweep(grace: float, dry_run: bool, force: bool, as_json: bool) -> None:
    """Delete blobs that no row names, and unfinished files of crashed writes."""
    tools = open_tools()
    swept = upkeep.sweep(
        tools.engine,
        vault=tools.vault,
        grace=dt.timedelta(hours=grace),
        dry_run=dry_run,
        force=force,
        report=Meter("Deleting orphans").show,
    )
    if not dry_run:
        with tools.transaction() as session:
            upkeep.note(session, swept=swept, actor="cli")
    done = "would be" if dry_run else "were"
    answer(
        {
            "blobs": swept.blobs,
            "orphans": list(swept.orphans),
            "unfinished": swept.unfinished,
            "dry_run": dry_run,
        },
        as_json=as_json,
        text=f"Of {swept.blobs:,} blobs {len(swept.orphans):,} belong to no row and "
        f"{done} deleted; {swept.unfinished:,} unfinished files {done} removed.",
    )


def _step_back() -> None:
    """Lets everybody else go first, for processor and disk."""
    with contextlib.suppress(OSError):
        os.nice(10)
    with contextlib.suppress(AttributeError, psutil.Error, OSError):  # Linux has it
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


COMMANDS = (scrub, sweep)
