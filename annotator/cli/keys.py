"""The key ring: what is in it, its ways in, and new keys.

Secrets are asked for without echo, or read from stdin or the settings; never from an argument.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from annotator.bootstrap import Toolbox
from annotator.cli.asking import ask_new_passphrase, ask_secret
from annotator.cli.key_report import describe, write
from annotator.cli.people import find_subject
from annotator.cli.tools import answer, finish_job, open_tools, tell
from annotator.core.errors import AnnotatorError, Conflict, InvalidInput, Locked
from annotator.domain import audit
from annotator.domain import keys as people_keys
from annotator.vault import Keyholder, collect_ways, make_way, report_ring

KINDS = ("passphrase", "key-file", "recovery-code", "kms")
RESTART = "Start every running web server and worker again: they refuse the ring from now on."
json_option = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
recovery_option = click.option(
    "--recovery",
    is_flag=True,
    help="Open the ring by the recovery code, which is asked for, not by what the settings name.",
)


@click.group()
def keys() -> None:
    """The key ring: its ways in, its epochs, new keys."""


@keys.command()
@json_option
def status(as_json: bool) -> None:
    """What is in the key ring and where it lies; opens it to see that it does."""
    tools = open_tools()
    report = describe(tools)
    answer(report, as_json=as_json, text=write(report))


@keys.command("add-slot")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--label", default="", help="What it is called in `keys status`.")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The key file to be made; by default the one of ANNOTATOR_KEY_FILE.",
)
@recovery_option
@json_option
def add_slot(kind: str, label: str, file: Path | None, *, recovery: bool, as_json: bool) -> None:
    """Adds a way in: passphrase, key-file, recovery-code or kms."""
    tools = open_tools()
    if file is not None and kind != "key-file":
        raise InvalidInput("--file goes with a key file.")
    holder = _open(tools, recovery=recovery)
    path = file or tools.key_file
    code = ""
    with _undone(path if kind == "key-file" else None):
        if kind == "passphrase":
            way, _ = make_way(passphrase=ask_new_passphrase())
        elif kind == "kms":
            way, _ = make_way(kms=_kms_command(tools))
        elif kind == "key-file":
            way, _ = make_way(key_file=path)
        else:
            way, code = make_way()
        slot = holder.seal_slot(way, label=label)
        with _logged(tools, "keys.slot_added", slot=slot["id"], kind=kind):
            holder.add_slot(slot)
    told = {"id": slot["id"], "kind": kind, "label": slot["label"]}
    text = f"Slot {slot['id']} ({kind}) opens the key ring from now on."
    if code:
        told["recovery_code"] = code
        text += f"\nRecovery     {code}\nIt is shown this once; write it down, apart from here."
    if kind == "key-file":
        told["file"] = str(path)
        text += f"\nThe key file is '{path}'."
    answer(told, as_json=as_json, text=text)


@keys.command("remove-slot")
@click.argument("slot")
@recovery_option
def remove_slot(slot: str, recovery: bool) -> None:
    """Removes the way in SLOT, while another one opens the ring; see `keys status` for its name."""
    tools = open_tools()
    holder = _open(tools, recovery=recovery)
    kinds = {info.id: info.kind for info in holder.list_slots()}
    with _logged(tools, "keys.slot_removed", slot=slot, kind=kinds.get(slot, "")):
        holder.remove_slot(slot)
    tell(
        f"Slot {slot} opens the key ring no more. Who kept a copy of the ring from before and "
        "knows its secret is stopped only by `keys rotate --root`."
    )
    try:
        _ = tools.vault
    except AnnotatorError as error:
        tell(f"Change the settings before the program starts again: {error.message}")


@keys.command("change-passphrase")
@click.option("--ask", is_flag=True, help="Ask for the old one although the settings name one.")
def change_passphrase(ask: bool) -> None:
    """Puts a new passphrase into the place of an old one, in the same slot's place.

    The old one is that of ANNOTATOR_PASSPHRASE; without it, or with --ask, it is asked for first.
    """
    tools = open_tools()
    old = "" if ask else tools.settings.passphrase
    ways = collect_ways(passphrase=old or ask_secret("Present passphrase"))
    holder = Keyholder(tools.data, ways=ways)
    present = holder.find_slot(ways[0])
    slot = holder.seal_slot(make_way(passphrase=ask_new_passphrase())[0], label=present.label)
    with _logged(tools, "keys.passphrase_changed", slot=present.id, new=slot["id"]):
        holder.replace_slot(present.id, slot)
    tell(f"Slot {slot['id']} with the new passphrase has taken the place of {present.id}.")
    if old:
        tell("Change ANNOTATOR_PASSPHRASE before the program starts again.")


@keys.command()
@click.option("--subject", help="One person, DATASET/CODE or a number: a new key of their own.")
@click.option("--root", is_flag=True, help="A new root key: every other way in is removed.")
@click.option("--yes", is_flag=True, help="Do not ask again.")
@json_option
def rotate(subject: str | None, *, root: bool, yes: bool, as_json: bool) -> None:
    """New keys: a new epoch for everybody, a new key for one person, or a new root key."""
    tools = open_tools()
    if root and subject is not None:
        raise InvalidInput("Choose --root or --subject.")
    if subject is not None:
        _rotate_subject(tools, subject, as_json=as_json)
    elif root:
        _rotate_root(tools, yes=yes, as_json=as_json)
    else:
        told = _renew(tools)
        answer(told, as_json=as_json, text=f"{told['keys']} keys are wrapped under a new epoch.")


@keys.command()
@click.argument("epoch", type=click.IntRange(min=1))
@click.option("--yes", is_flag=True, help="Do not ask again.")
def disable(epoch: int, yes: bool) -> None:
    """Locks everything under EPOCH at once, in every process, until `keys enable`."""
    tools = open_tools()
    if not yes:
        click.confirm(f"Lock everything of everybody under epoch {epoch}?", abort=True, err=True)
    _switch(tools, epoch, disabled=True)
    tell(f"Epoch {epoch} is disabled: nothing under it opens until `keys enable {epoch}`.")


@keys.command()
@click.argument("epoch", type=click.IntRange(min=1))
def enable(epoch: int) -> None:
    """Allows a disabled EPOCH again."""
    tools = open_tools()
    _switch(tools, epoch, disabled=False)
    tell(f"Epoch {epoch} is enabled. If a renewal of keys failed meanwhile, run `keys rotate`.")


def _switch(tools: Toolbox, epoch: int, *, disabled: bool) -> None:
    holder = _open(tools, recovery=False)
    action = "keys.epoch_disabled" if disabled else "keys.epoch_enabled"
    with _logged(tools, action, epoch=epoch):
        if not holder.set_disabled(epoch, disabled=disabled):
            raise Conflict(f"Epoch {epoch} is {'disabled' if disabled else 'enabled'} already.")


def _rotate_subject(tools: Toolbox, name: str, *, as_json: bool) -> None:
    with tools.transaction() as session:
        person = find_subject(session, name)
        job_id = people_keys.start_rekeying(session, vault=tools.vault, subject=person).id
    result = finish_job(tools, job_id, "Sealing again")
    if result["version"] is None:
        raise Conflict("This person withdrew meanwhile; both their keys are destroyed.")
    if result["renewal"] is not None:
        finish_job(tools, result["renewal"], "Renewing keys")
    told = {"blobs": result["blobs"], "version": result["version"]}
    answer(
        told,
        as_json=as_json,
        text=f"{name} has key number {told['version']}; {told['blobs']} sealed files were sealed "
        "again, and the old key opens nothing any more.",
    )


def _rotate_root(tools: Toolbox, *, yes: bool, as_json: bool) -> None:
    holder = _open(tools, recovery=False)
    before = {info.id for info in holder.list_slots()}
    if not yes:
        click.confirm(
            f"Of {len(before)} ways in, keep what the settings name and a key file that lies where "
            "they look for one; remove all others, and make a new recovery code?",
            abort=True,
            err=True,
        )
    with _logged(tools, "keys.root_renewed", slots=len(before)):
        code = holder.renew_root()
    told: dict[str, Any] = {
        "recovery_code": code,
        "slots": [{"id": slot.id, "kind": slot.kind} for slot in report_ring(tools.data).slots],
    }
    kinds = " and ".join(slot["kind"] for slot in told["slots"])
    answer(
        told,
        as_json=as_json,
        text=f"The ring has a new root key; what opens it now: {kinds}.\nRecovery     {code}\n"
        f"It is shown this once. {RESTART}\n"
        "Run `keys rotate` next: an old copy of the ring still holds the present epoch's key.",
    )


def _renew(tools: Toolbox) -> dict[str, Any]:
    oldest = report_ring(tools.data).epochs[0].epoch
    _ = tools.vault  # opens before anything is written down
    with tools.transaction() as session:
        job_id = people_keys.start_renewal(session, epoch=oldest).id
    return finish_job(tools, job_id, "Renewing keys")


def _open(tools: Toolbox, *, recovery: bool) -> Keyholder:
    """Opens the ring by what the settings name, or by a key file where they would look for one.

    So that an installation can go from one way in to another: the settings name the new one.
    """
    if recovery:
        return Keyholder(tools.data, ways=collect_ways(recovery_code=ask_secret("Recovery code")))
    ways = collect_ways(**tools.ways_in)
    if tools.ways_in["key_file"] is None:
        with suppress(Locked):
            ways += collect_ways(key_file=tools.key_file)
    return Keyholder(tools.data, ways=ways)


def _kms_command(tools: Toolbox) -> str:
    if not tools.settings.kms_command:
        raise InvalidInput("Name the KMS command in ANNOTATOR_KMS_COMMAND first.")
    return tools.settings.kms_command


@contextmanager
def _logged(tools: Toolbox, action: str, **details: Any) -> Iterator[None]:
    """Tells the log in the same breath: no change without its entry, no entry without a change."""
    with tools.transaction() as session:
        audit.append(session, action=action, actor="cli", **details)
        session.flush()
        yield


@contextmanager
def _undone(path: Path | None) -> Iterator[None]:
    """Removes a key file that was made here when it became the key of nothing."""
    fresh = path is not None and not path.exists()
    try:
        yield
    except BaseException:
        if path is not None and fresh:
            path.unlink(missing_ok=True)
        raise


COMMANDS = (keys,)
