"""What `keys status` tells: the ring, the keys under it, and where it lies unsafely."""

import datetime as dt
from contextlib import suppress
from typing import Any

from annotator.bootstrap import Toolbox
from annotator.core.db import now
from annotator.core.errors import AnnotatorError
from annotator.domain import keys
from annotator.vault import EpochInfo, RingReport, report_ring

KEYS = "keys"
RING = "ring.json"
OTHERS = 0o077  # permission bits of everybody but the owner


def describe(tools: Toolbox) -> dict[str, Any]:
    """Everything that may be told of an installation's keys, for JSON.

    The ring's file is read first, and told of even when it does not open.
    """
    ring = report_ring(tools.data)
    trouble = _trouble(tools)
    with tools.sessions() as session:
        counts = keys.count_keys(session)
        unfinished = keys.count_unfinished(session)
    by_epoch: dict[int, dict[str, int]] = {}
    for count in counts:
        by_epoch.setdefault(count.epoch, {})[str(count.version)] = count.keys
    return {
        "install": ring.install,
        "opens": trouble is None,
        "trouble": trouble,
        "ring": str((tools.data / KEYS / RING).absolute()),
        "key_file": str(tools.key_file.absolute()) if tools.key_file.exists() else None,
        "changes": ring.generation,
        "root": ring.root,
        "slots": [
            {"id": slot.id, "kind": slot.kind, "label": slot.label, "created": slot.created}
            for slot in ring.slots
        ],
        "primary": ring.primary,
        "primary_age_days": _age_days(ring),
        "epochs": [
            {
                "epoch": epoch.epoch,
                "state": epoch.state,
                "created": epoch.created,
                "keys": by_epoch.get(epoch.epoch, {}),
            }
            for epoch in _all_epochs(ring, by_epoch)
        ],
        "destroyed": ring.primary - len(ring.epochs),
        "rekeying": {"people": unfinished.people, "old_blobs": unfinished.blobs},
        "warnings": find_warnings(tools),
    }


def write(report: dict[str, Any]) -> str:
    """The same as lines for a person."""
    state = "opens" if report["opens"] else f"does not open: {report['trouble']}"
    age = report["primary_age_days"]
    lines = [
        f"Installation  {report['install']}",
        f"Key ring      {report['ring']} ({state})",
        f"Key file      {report['key_file'] or 'none where the settings look for it'}",
        "",
        "Ways in",
        *(
            f"  {slot['id']}  {slot['kind']:<13}  {slot['created'][:10] or 'long ago':<10}  "
            f"{slot['label']}".rstrip()
            for slot in report["slots"]
        ),
        "",
        "Epochs",
        *(f"  {_write_epoch(epoch)}" for epoch in report["epochs"]),
        f"  {report['destroyed']:>4}  destroyed",
        f"  the primary one is {'of unknown age' if age is None else f'{age} days old'}",
    ]
    working = report["rekeying"]
    if working["people"] or working["old_blobs"]:
        lines += [
            "",
            (
                f"New keys      {working['people']} people have two keys, and "
                f"{working['old_blobs']} old files wait to be deleted: see the jobs, or run "
                "`keys rotate --subject` again"
            ),
        ]
    lines += [f"Warning: {sentence}" for sentence in report["warnings"]]
    return "\n".join(lines)


def find_warnings(tools: Toolbox) -> list[str]:
    """What makes the keys less safe than they could be, a sentence each."""
    folder, key_file = tools.data / KEYS, tools.key_file
    found = []
    with suppress(OSError):
        if key_file.parent.resolve() == folder.resolve() and key_file.exists():
            found.append(
                "The key file lies beside the key ring: who copies the folder can open it. Keep "
                "it elsewhere (ANNOTATOR_KEY_FILE), or use another way in."
            )
        elif key_file.stat().st_dev == folder.stat().st_dev:
            found.append(
                "The key file lies on the same disk as the key ring: who takes the disk has both."
            )
    for path, what, mode in (
        (key_file, "key file", "0600"),
        (folder / RING, "key ring", "0600"),
        (folder, "folder of the key ring", "0700"),
    ):
        with suppress(OSError):
            if path.stat().st_mode & OTHERS:
                found.append(f"Others may open the {what}; set its mode to {mode}.")
    return found


def _trouble(tools: Toolbox) -> str | None:
    try:
        _ = tools.vault
    except AnnotatorError as error:
        return error.message
    return None


def _age_days(ring: RingReport) -> int | None:
    for epoch in ring.epochs:
        if epoch.epoch == ring.primary:
            with suppress(ValueError, TypeError):
                return (now() - dt.datetime.fromisoformat(epoch.created)).days
    return None


def _all_epochs(ring: RingReport, counted: dict[int, dict[str, int]]) -> list[EpochInfo]:
    """Those in the ring, and those that are gone although keys still name them."""
    known = {epoch.epoch: epoch for epoch in ring.epochs}
    gone = [EpochInfo(number, "destroyed", "") for number in counted if number not in known]
    return sorted([*known.values(), *gone], key=lambda epoch: epoch.epoch)


def _write_epoch(epoch: dict[str, Any]) -> str:
    versions = ", ".join(
        f"{count} of version {version}" for version, count in epoch["keys"].items()
    )
    return f"{epoch['epoch']:>4}  {epoch['state']:<9}  {versions or 'no keys'}"
