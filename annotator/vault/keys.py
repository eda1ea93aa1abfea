"""The key ring: one small file with every key of an installation, each wrapped under another.

The root key is wrapped once per slot; key-encryption keys (one per epoch) and the other secrets are
wrapped under the root key; subjects' keys, which lie in the database, are wrapped under the
key-encryption key of an epoch. Destroying an epoch takes its key out of the file, so every subject
key that was not wrapped anew is gone. An epoch below the primary one that is not in the file was
destroyed.

Several processes share the file: it is replaced whole, under a lock, and every use looks whether it
was replaced.
"""

import hmac
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotator.core.errors import (
    Conflict,
    KeyDestroyed,
    Locked,
    NotFound,
    Tampered,
)
from annotator.vault.cipher import FORMAT, KEY_BYTES, Siv
from annotator.vault.files import (
    Disk,
    exists,
    hold,
    read_pieces,
    remove_quietly,
    storage_errors,
    write_durably,
)
from annotator.vault.root import EXPORT, INDEX, LOG, SECRETS, STORE, Root
from annotator.vault.slots import WayIn, find_root, make_slot

__all__ = [
    "EXPORT",
    "INDEX",
    "LOG",
    "SECRETS",
    "STORE",
    "KeyRing",
    "create_ring",
    "read_ring",
    "refuse_second_ring",
    "unlock_ring",
]

KEYS_FOLDER = "keys"
RING_NAME = "ring.json"
LOCK_NAME = "lock"
# The size of the file tells its generation, modulo this: a replaced ring is noticed by inode, time
# and size, and an inode may be used again within one tick of a file system's clock (4 ms and more).
_SIZES = 1024
_OPENS = frozenset({"primary", "enabled"})  # states of an epoch whose key may be used
DAMAGED = "The key ring is damaged or was changed."


@dataclass(frozen=True, slots=True)
class _Epoch:
    """A key-encryption key, opened: its cipher, or nothing while the epoch is disabled."""

    cipher: Siv | None


@dataclass(frozen=True, slots=True)
class _State:
    """The file as it was read and opened."""

    document: Mapping[str, Any]
    identity: tuple[int, int, int]
    generation: int
    primary: int
    epochs: Mapping[int, _Epoch]
    secrets: Mapping[str, bytes]


class KeyRing:
    """An open key ring; safe to share between threads.

    Args:
        folder: where the ring's file lies.
        install: the installation's id.
        root: the root key, 32 bytes.
        disk: the door to the file system.

    Raises:
        Tampered: the ring does not belong to this root key, or was changed.
    """

    def __init__(self, folder: Path, *, install: str, root: bytes, disk: Disk) -> None:
        self.install = install
        self._folder = folder
        self._path = folder / RING_NAME
        self._disk = disk
        self._root = Root(root, install)
        self._lock = threading.RLock()
        self._newest = 0
        # Not authenticated yet; a ring that lies about it opens no better.
        self._root_number = read_ring(disk, folder).get("root", 1)
        self._state = self._load()

    @property
    def generation(self) -> int:
        """Counts the changes of the ring, across processes."""
        return self._fresh().generation

    @property
    def broken(self) -> bool:
        """Whether an fsync failed in this process, so that nothing may be written any more."""
        return self._disk.broken

    @property
    def primary(self) -> int:
        """The epoch under which new keys are wrapped."""
        return self._fresh().primary

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs whose keys still exist, oldest first."""
        return tuple(sorted(self._fresh().epochs))

    def epoch_cipher(self, epoch: int) -> Siv:
        """The cipher that wraps subjects' keys in an epoch.

        Raises:
            KeyDestroyed: the epoch was destroyed.
            Locked: the epoch is disabled.
            Tampered: there never was such an epoch; perhaps the key ring is an old copy.
        """
        state = self._fresh()
        found = state.epochs.get(epoch)
        if found is None:
            if 0 < epoch < state.primary:
                raise KeyDestroyed
            raise Tampered("A stored key names an epoch that this key ring does not know.")
        if found.cipher is None:
            raise Locked("The keys of this epoch are disabled; `keys enable` allows them again.")
        return found.cipher

    def secret(self, name: str) -> bytes:
        """One of ``SECRETS``, 32 bytes."""
        return self._fresh().secrets[name]

    def add_epoch(self) -> int:
        """Makes a new primary epoch, durably; the one before still opens. Answers its number."""
        made = 0

        def edit(document: dict[str, Any]) -> None:
            nonlocal made
            for entry in document["epochs"]:
                entry["state"] = "enabled" if entry["state"] == "primary" else entry["state"]
            made = document["primary"] = document["primary"] + 1
            document["epochs"].append(self._root.new_epoch(made))

        self._change(edit)
        return made

    def destroy_epoch(self, epoch: int) -> None:
        """Takes an epoch's key out of the ring, durably; one that is destroyed already is fine.

        Raises:
            Conflict: it is the primary epoch, or there never was such an epoch.
        """

        def edit(document: dict[str, Any]) -> None:
            if not 0 < epoch < document["primary"]:
                raise Conflict("Only an epoch that a newer one has replaced can be destroyed.")
            kept = [entry for entry in document["epochs"] if entry["epoch"] != epoch]
            document["epochs"] = kept

        self._change(edit)

    @property
    def ledger_end(self) -> tuple[int, str]:
        """Number and MAC of the erasure ledger's last line; 0 and "" before the first."""
        end = self._fresh().document.get("ledger", {})
        return int(end.get("n", 0)), str(end.get("mac", ""))

    def keep_ledger_end(self, number: int, mac: str) -> None:
        """Remembers the erasure ledger's last line, durably."""

        def edit(document: dict[str, Any]) -> None:
            document["ledger"] = {"n": number, "mac": mac}

        self._change(edit)

    def set_disabled(self, epoch: int, *, disabled: bool) -> bool:
        """Stops an epoch's key from being used, or allows it again, durably and everywhere at once.

        The primary epoch can be disabled as well: then nothing of anybody opens or is sealed.

        Returns:
            Whether anything changed.

        Raises:
            KeyDestroyed: the epoch was destroyed.
            Conflict: there never was such an epoch.
        """
        changed = False

        def edit(document: dict[str, Any]) -> bool:
            nonlocal changed
            entry = _find_epoch(document, epoch)
            opened = "primary" if epoch == document["primary"] else "enabled"
            before, entry["state"] = entry["state"], "disabled" if disabled else opened
            changed = bool(before != entry["state"])
            return changed

        self._change(edit)
        return changed

    def renew_root(self, key: bytes, slots: Sequence[Mapping[str, Any]]) -> None:
        """Wraps everything in the ring under a new root key, durably, with slots that hold it.

        Every slot that is not among them is gone. Other processes refuse the ring from then on,
        and so does this one: they have to be started again.

        Args:
            key: the new root key, 32 bytes.
            slots: made for it.
        """
        new = Root(key, self.install)

        def edit(document: dict[str, Any]) -> None:
            new.take_over(document, self._root)
            document["root"] = document.get("root", 1) + 1
            document["slots"] = list(slots)

        self._change(edit, seal=new)

    def change_slots(self, edit: Callable[[list[Any]], None]) -> None:
        """Changes the list of slots in place, durably, under the lock of all processes."""
        self._change(lambda document: edit(document["slots"]))

    def _change(self, edit: Callable[[dict[str, Any]], object], seal: Root | None = None) -> None:
        """Rewrites the ring; an edit that answers ``False`` leaves it as it is.

        The new file is read at the next use: what is durable must not be told as a failure.

        Args:
            edit: changes the document.
            seal: the root key that authenticates what is written, when it is a new one.
        """
        with self._lock, hold(self._disk, self._folder / LOCK_NAME):
            document = json.loads(json.dumps(self._load().document))
            if edit(document) is False:
                return
            document["generation"] += 1
            _write_ring(self._disk, self._folder, seal or self._root, document)

    def _fresh(self) -> _State:
        """The state, read again when another process (or thread) has replaced the file."""
        state = self._state
        if self._identity() == state.identity:
            return state
        with self._lock:
            if self._identity() != self._state.identity:
                self._state = self._load()
            return self._state

    def _identity(self) -> tuple[int, int, int]:
        try:
            return self._disk.identify(self._path)
        except OSError:
            # Named only now: a context manager costs as much as the call, on every key's use.
            with storage_errors(missing=NotFound):
                raise

    def _load(self) -> _State:
        # The identity first: if the file is replaced in between, the next use reads it again.
        identity = self._identity()
        document = read_ring(self._disk, self._folder)
        if document.get("root", 1) != self._root_number:
            raise Locked("The root key of the key ring was renewed; start this program again.")
        try:
            state = self._open(document, identity)
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError, Tampered):
            raise Tampered(DAMAGED) from None
        if state.generation < self._newest:
            raise Tampered("The key ring was replaced by an older one.")
        self._newest = state.generation
        return state

    def _open(self, document: Mapping[str, Any], identity: tuple[int, int, int]) -> _State:
        mac = str(document["mac"]).encode()
        if not hmac.compare_digest(mac, self._root.mac(document).encode()):
            raise Tampered
        if document["install"] != self.install:
            raise Tampered
        return _State(
            document=document,
            identity=identity,
            generation=document["generation"],
            primary=document["primary"],
            epochs={entry["epoch"]: self._open_epoch(entry) for entry in document["epochs"]},
            secrets={name: self._root.unwrap(name, document["secrets"][name]) for name in SECRETS},
        )

    def _open_epoch(self, entry: Mapping[str, Any]) -> _Epoch:
        epoch = entry["epoch"]
        key = self._root.unwrap(f"epoch-{epoch}", entry["wrapped"])
        cipher, commitment = self._root.epoch_cipher(epoch, key)
        if not hmac.compare_digest(commitment, str(entry["commitment"])):
            raise Tampered
        return _Epoch(cipher if entry["state"] in _OPENS else None)


def create_ring(folder: Path, *, ways_in: Sequence[WayIn], disk: Disk) -> KeyRing:
    """Makes a key ring with its first epoch and one slot per way in, durably.

    Raises:
        Conflict: the folder has a key ring.
        Locked: a key management service failed.
    """
    install, key = os.urandom(16).hex(), os.urandom(KEY_BYTES)
    root = Root(key, install)
    document: dict[str, Any] = {
        "format": FORMAT,
        "install": install,
        "generation": 0,
        "primary": 1,
        "epochs": [root.new_epoch(1)],
        "secrets": root.new_secrets(),
        "slots": [make_slot(way, root=key, install=install) for way in ways_in],
    }
    with hold(disk, folder / LOCK_NAME):
        refuse_second_ring(disk, folder)
        try:
            _write_ring(disk, folder, root, document)
            return KeyRing(folder, install=install, root=key, disk=disk)
        except BaseException:
            remove_quietly(disk, folder / RING_NAME)  # nobody was given a way into it
            raise


def unlock_ring(folder: Path, *, ways_in: Sequence[WayIn], disk: Disk) -> KeyRing:
    """Opens a key ring by whichever way in fits first.

    Raises:
        NotFound: there is no key ring.
        Locked: none fits.
        Tampered: the ring was changed.
    """
    document = read_ring(disk, folder)
    install = str(document.get("install"))
    root = find_root(document.get("slots"), ways_in, install=install)
    return KeyRing(folder, install=install, root=root, disk=disk)


def read_ring(disk: Disk, folder: Path) -> Mapping[str, Any]:
    """The ring's file, not yet authenticated.

    Raises:
        NotFound: there is no key ring.
        Conflict: its format is one of another version.
        Tampered: it cannot be read as a key ring.
    """
    try:
        text = b"".join(read_pieces(disk, folder / RING_NAME, first=1 << 20, size=1 << 20))
    except NotFound:
        raise NotFound("There is no key ring here; set the installation up first.") from None
    try:
        document = json.loads(text)
    except ValueError:
        raise Tampered(DAMAGED) from None
    if not isinstance(document, dict) or "format" not in document:
        raise Tampered(DAMAGED)
    if document["format"] != FORMAT:
        raise Conflict(f"The key ring is of another format than {FORMAT}; use a newer version.")
    return document


def refuse_second_ring(disk: Disk, folder: Path) -> None:
    """Never overwrites the keys of an installation.

    Raises:
        Conflict: the folder has a key ring.
    """
    if exists(disk, folder / RING_NAME):
        raise Conflict("There is a key ring here already.")


def _find_epoch(document: Mapping[str, Any], epoch: int) -> dict[str, Any]:
    for entry in document["epochs"]:
        if entry["epoch"] == epoch:
            found: dict[str, Any] = entry
            return found
    if 0 < epoch < document["primary"]:
        raise KeyDestroyed(f"Epoch {epoch} was destroyed.")
    raise Conflict(f"There is no epoch {epoch} in this key ring.")


def _write_ring(disk: Disk, folder: Path, root: Root, document: dict[str, Any]) -> None:
    document["mac"] = root.mac(document)
    text = json.dumps(document, indent=1).encode()
    blanks = (document["generation"] - len(text)) % _SIZES
    write_durably(disk, folder / RING_NAME, [text[:1], b" " * blanks, text[1:]])
