"""What may be told of a key ring without opening it."""

from dataclasses import dataclass
from pathlib import Path

from annotator.core.errors import Tampered
from annotator.vault.files import Disk
from annotator.vault.keys import DAMAGED, KEYS_FOLDER, read_ring
from annotator.vault.slots import SlotInfo, describe_slots


@dataclass(frozen=True, slots=True)
class EpochInfo:
    """One epoch.

    Attributes:
        epoch: its number.
        state: ``primary``, ``enabled`` or ``disabled``.
        created: when it began (ISO 8601, UTC); empty when the ring does not say.
    """

    epoch: int
    state: str
    created: str


@dataclass(frozen=True, slots=True)
class RingReport:
    """A key ring as its file says it; only opening it proves it.

    Attributes:
        install: the installation's id.
        generation: counts the changes of the ring.
        primary: the epoch under which new keys are wrapped.
        root: counts the root keys, from 1.
        slots: the ways in, oldest first.
        epochs: the epochs whose keys exist, oldest first; those below ``primary`` that are
            missing were destroyed.
    """

    install: str
    generation: int
    primary: int
    root: int
    slots: tuple[SlotInfo, ...]
    epochs: tuple[EpochInfo, ...]


def report_ring(folder: Path, *, disk: Disk | None = None) -> RingReport:
    """Reads an installation's ring; needs no way in.

    Raises:
        NotFound: there is no key ring.
        Conflict: it is of a newer format.
        Tampered: it cannot be read.
    """
    document = read_ring(disk or Disk(), folder / KEYS_FOLDER)
    try:
        listed = {int(entry["epoch"]): entry for entry in document["epochs"]}
        primary = int(document["primary"])
        epochs = [
            EpochInfo(number, str(entry["state"]), str(entry.get("created", "")))
            for number, entry in sorted(listed.items())
        ]
        return RingReport(
            install=str(document["install"]),
            generation=int(document["generation"]),
            primary=primary,
            root=int(document.get("root", 1)),
            slots=tuple(describe_slots(document["slots"])),
            epochs=tuple(epochs),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Tampered(DAMAGED) from None
