"""Changes to the ways into a key ring: slots added, removed and replaced, and a new root key.

Slots stand outside the ring's authentication, so that a damaged one locks only itself out. What a
stranger who may write the file gains by that: they can lock slots out, or put a removed slot back,
which opens for whoever knows its secret. They cannot make a slot that opens: it would have to wrap
a root key that they do not know. Whoever once opened the ring and kept a copy has the root key;
against them a removed slot is no help and only ``renew_root`` is.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annotator.core.errors import Conflict, Locked, NotFound
from annotator.vault.cipher import KEY_BYTES
from annotator.vault.files import Disk
from annotator.vault.keys import KEYS_FOLDER, KeyRing, read_ring
from annotator.vault.slots import (
    RECOVERY_CODE,
    KnownSecret,
    SlotInfo,
    WayIn,
    describe_slots,
    find_root,
    make_slot,
    new_recovery_code,
    read_recovery_code,
)

MOST_SLOTS = 32
NO_SLOT = "There is no slot '{}'; `keys status` lists them."


class Keyholder:
    """Somebody who has opened the ring and may change the ways into it.

    Keeps the root key, which a vault does not, so it is made for one change and let go. Every
    change is made under the lock of the ring, on the ring as it is at that moment.

    Args:
        folder: the installation's folder.
        ways: what opens the ring, tried in order.
        disk: the door to the file system; for tests.

    Raises:
        NotFound: there is no key ring.
        Locked: no way in fits.
        Tampered: the ring was changed.
    """

    def __init__(self, folder: Path, *, ways: Sequence[WayIn], disk: Disk | None = None) -> None:
        self._folder = folder / KEYS_FOLDER
        self._disk = disk or Disk()
        self._ways = tuple(ways)
        document = read_ring(self._disk, self._folder)
        self._install = str(document.get("install"))
        self._root = find_root(document.get("slots"), self._ways, install=self._install)
        self._ring = KeyRing(self._folder, install=self._install, root=self._root, disk=self._disk)

    def list_slots(self) -> list[SlotInfo]:
        """Every slot, oldest first."""
        return describe_slots(read_ring(self._disk, self._folder).get("slots"))

    def seal_slot(self, way: WayIn, *, label: str = "") -> dict[str, Any]:
        """Makes a slot for a way in, which ``add_slot`` writes down. This part may take long.

        Raises:
            InvalidInput: the label.
            Locked: a key management service failed.
        """
        return make_slot(way, root=self._root, install=self._install, label=label)

    def add_slot(self, slot: dict[str, Any]) -> None:
        """Adds a way in, durably.

        Raises:
            Conflict: there are as many as may be.
        """

        def edit(slots: list[Any]) -> None:
            if len(slots) >= MOST_SLOTS:
                raise Conflict(f"A key ring has at most {MOST_SLOTS} slots; remove one first.")
            slots.append(slot)

        self._ring.change_slots(edit)

    def remove_slot(self, slot_id: str) -> None:
        """Removes a way in, durably, while another one is being used and can start the program.

        Raises:
            NotFound: there is no such slot.
            Conflict: none of the ways in that were given opens another slot, or only the recovery
                code, which starts no program by itself, would be left.
        """
        proof = self._prove(slot_id)

        def edit(slots: list[Any]) -> None:
            left = [slot for slot in slots if not _is(slot, slot_id)]
            if len(left) == len(slots):
                raise NotFound(NO_SLOT.format(slot_id))
            if not any(info.kind != RECOVERY_CODE for info in describe_slots(left)):
                raise Conflict(
                    "Only the recovery code would be left, and it starts no program by itself; "
                    "add another way in first."
                )
            if proof not in left:
                raise Conflict("The slots were changed by somebody else meanwhile; try again.")
            slots[:] = left

        self._ring.change_slots(edit)

    def replace_slot(self, slot_id: str, slot: dict[str, Any]) -> None:
        """Puts a new slot into the place of an old one, durably: both in one step, or neither.

        Raises:
            NotFound: the old one is not there (any more).
        """

        def edit(slots: list[Any]) -> None:
            for place, old in enumerate(slots):
                if _is(old, slot_id):
                    slots[place] = slot
                    return
            raise NotFound(NO_SLOT.format(slot_id))

        self._ring.change_slots(edit)

    def find_slot(self, way: WayIn) -> SlotInfo:
        """The slot that a way in opens.

        Raises:
            Locked: none.
        """
        raw = read_ring(self._disk, self._folder).get("slots")
        for info in describe_slots(raw):
            alone = [slot for slot in raw if _is(slot, info.id)] if isinstance(raw, list) else []
            if info.kind == way.kind and _opens(alone, way, self._install):
                return info
        raise Locked(f"No slot of the kind '{way.kind}' opens with this.")

    def set_disabled(self, epoch: int, *, disabled: bool) -> bool:
        """Stops an epoch's key from being used, or allows it again, in every process at once.

        Everything under it raises ``Locked`` meanwhile; with the primary epoch that is everything
        of every subject. Answers whether anything changed.

        Raises:
            KeyDestroyed, Conflict: there is no such epoch (any more).
        """
        return self._ring.set_disabled(epoch, disabled=disabled)

    def renew_root(self) -> str:
        """Makes a new root key that only the ways in given here and a new recovery code open.

        All other slots are gone, and what somebody kept of the ring from before opens no ring
        written afterwards. Every running process has to be started again.

        Returns:
            The new recovery code, which is shown once and stored nowhere.

        Raises:
            Conflict: none of the ways in given is more than a recovery code.
            Locked: a key management service failed.
        """
        kept = [way for way in self._ways if way.kind != RECOVERY_CODE and self._fits(way)]
        if not kept:
            raise Conflict("Open the key ring by a way in that stays: not by the recovery code.")
        key, code = os.urandom(KEY_BYTES), new_recovery_code()
        ways = [*kept, KnownSecret(RECOVERY_CODE, read_recovery_code(code))]
        labels = {way.kind: self.find_slot(way).label for way in kept}
        slots = [
            make_slot(way, root=key, install=self._install, label=labels.get(way.kind, ""))
            for way in ways
        ]
        self._ring.renew_root(key, slots)
        return code

    def _fits(self, way: WayIn) -> bool:
        try:
            self.find_slot(way)
        except Locked:
            return False
        return True

    def _prove(self, slot_id: str) -> Any:
        """A slot other than that one which a way in that was given does open."""
        raw = read_ring(self._disk, self._folder).get("slots")
        if not any(info.id == slot_id for info in describe_slots(raw)):
            raise NotFound(NO_SLOT.format(slot_id))
        for slot in raw if isinstance(raw, list) else []:
            if not _is(slot, slot_id) and any(
                _opens([slot], way, self._install) for way in self._ways
            ):
                return slot
        raise Conflict(
            "This is the way in that you use; open the key ring by another one to remove it."
        )


def _is(slot: object, slot_id: str) -> bool:
    return isinstance(slot, dict) and slot.get("id") == slot_id


def _opens(slots: list[Any], way: WayIn, install: str) -> bool:
    try:
        find_root(slots, [way], install=install)
    except Locked:
        return False
    return True
