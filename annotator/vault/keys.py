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
from collections.abc import Callable, Mapping
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
from annotator.vault.cipher import (
    FORMAT,
    KEY_BYTES,
    SIV_KEY_BYTES,
    Siv,
    authenticate,
    bind,
    derive_key,
)
from annotator.vault.files import (
    Disk,
    exists,
    hold,
    read_pieces,
    remove_quietly,
    storage_errors,
    write_durably,
)
from annotator.vault.slots import Slot, make_slot, open_slot

KEYS_FOLDER = "keys"
RING_NAME = "ring.json"
LOCK_NAME = "lock"
# Each its own random key, so that one can be replaced without the others.
INDEX, STORE, LOG, EXPORT = "index", "store", "log", "export"
SECRETS = (INDEX, STORE, LOG, EXPORT)
_DAMAGED = "The key ring is damaged or was changed."


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


class _Root:
    """What the root key does: it wraps the ring's secrets and authenticates the ring."""

    def __init__(self, key: bytes, install: str) -> None:
        keys = derive_key(key, info=bind("root-key", install), length=SIV_KEY_BYTES + KEY_BYTES)
        self._box, self._mac_key = Siv(keys[:SIV_KEY_BYTES]), keys[SIV_KEY_BYTES:]
        self.install = install

    def wrap(self, name: str, secret: bytes) -> str:
        return self._box.seal(secret, bind("secret", self.install, name)).hex()

    def unwrap(self, name: str, wrapped: str) -> bytes:
        return self._box.open(bytes.fromhex(wrapped), bind("secret", self.install, name))

    def mac(self, document: Mapping[str, Any]) -> str:
        """Over everything but the slots: a damaged slot must not lock the others out."""
        body = {name: value for name, value in document.items() if name not in {"slots", "mac"}}
        text = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
        return authenticate(self._mac_key, text).hex()

    def epoch_cipher(self, epoch: int, key: bytes) -> tuple[Siv, str]:
        """The cipher of an epoch and the commitment to its key (AES-SIV alone commits to none)."""
        info = bind("epoch-key", self.install, epoch)
        keys = derive_key(key, info=info, length=SIV_KEY_BYTES + KEY_BYTES)
        return Siv(keys[:SIV_KEY_BYTES]), keys[SIV_KEY_BYTES:].hex()

    def new_epoch(self, epoch: int) -> dict[str, Any]:
        key = os.urandom(KEY_BYTES)
        return {
            "epoch": epoch,
            "state": "primary",
            "wrapped": self.wrap(f"epoch-{epoch}", key),
            "commitment": self.epoch_cipher(epoch, key)[1],
        }


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
        self._root = _Root(root, install)
        self._lock = threading.RLock()
        self._newest = 0
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
            raise Locked("The keys of this epoch are disabled.")
        return found.cipher

    def secret(self, name: str) -> bytes:
        """One of ``SECRETS``, 32 bytes."""
        return self._fresh().secrets[name]

    def add_epoch(self) -> int:
        """Makes a new primary epoch, durably; the one before still opens. Answers its number."""

        def edit(document: dict[str, Any]) -> None:
            for entry in document["epochs"]:
                entry["state"] = "enabled" if entry["state"] == "primary" else entry["state"]
            document["primary"] += 1
            document["epochs"].append(self._root.new_epoch(document["primary"]))

        return self._change(edit).primary

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

    def _change(self, edit: Callable[[dict[str, Any]], None]) -> _State:
        with self._lock, hold(self._disk, self._folder / LOCK_NAME):
            document = json.loads(json.dumps(self._load().document))
            edit(document)
            document["generation"] += 1
            _write_ring(self._disk, self._folder, self._root, document)
            self._state = self._load()
            return self._state

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
        try:
            state = self._open(document, identity)
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError, Tampered):
            raise Tampered(_DAMAGED) from None
        if state.generation < self._newest:
            raise Tampered("The key ring was replaced by an older one.")
        self._newest = state.generation
        return state

    def _open(self, document: Mapping[str, Any], identity: tuple[int, int, int]) -> _State:
        if not hmac.compare_digest(str(document["mac"]), self._root.mac(document)):
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
        return _Epoch(cipher if entry["state"] in {"primary", "enabled"} else None)


def create_ring(folder: Path, *, ways_in: Mapping[str, bytes], disk: Disk) -> KeyRing:
    """Makes a key ring with its first epoch and one slot per way in (kind to secret), durably.

    Raises:
        Conflict: the folder has a key ring.
    """
    install, key = os.urandom(16).hex(), os.urandom(KEY_BYTES)
    root = _Root(key, install)
    document: dict[str, Any] = {
        "format": FORMAT,
        "install": install,
        "generation": 0,
        "primary": 1,
        "epochs": [root.new_epoch(1)],
        "secrets": {name: root.wrap(name, os.urandom(KEY_BYTES)) for name in SECRETS},
        "slots": [
            make_slot(kind, secret, root=key, install=install) for kind, secret in ways_in.items()
        ],
    }
    with hold(disk, folder / LOCK_NAME):
        refuse_second_ring(disk, folder)
        try:
            _write_ring(disk, folder, root, document)
            return KeyRing(folder, install=install, root=key, disk=disk)
        except BaseException:
            remove_quietly(disk, folder / RING_NAME)  # nobody was given a way into it
            raise


def unlock_ring(folder: Path, *, ways_in: Mapping[str, bytes], disk: Disk) -> KeyRing:
    """Opens a key ring by whichever of the secrets (by kind of slot) fits first.

    Raises:
        NotFound: there is no key ring.
        Locked: no secret fits.
        Tampered: the ring was changed.
    """
    document = read_ring(disk, folder)
    install, slots = str(document.get("install")), document.get("slots")
    candidates: list[Slot] = slots if isinstance(slots, list) else []
    for kind, secret in ways_in.items():
        for slot in candidates:
            if not isinstance(slot, dict) or slot.get("kind") != kind:
                continue
            if (root := open_slot(slot, secret, install=install)) is not None:
                return KeyRing(folder, install=install, root=root, disk=disk)
    tried = " or the ".join(kind.replace("-", " ") for kind in ways_in)
    raise Locked(f"The vault does not open: the {tried} is wrong.")


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
        raise Tampered(_DAMAGED) from None
    if not isinstance(document, dict) or "format" not in document:
        raise Tampered(_DAMAGED)
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


def _write_ring(disk: Disk, folder: Path, root: _Root, document: dict[str, Any]) -> None:
    document["mac"] = root.mac(document)
    text = json.dumps(document, indent=1).encode()
    write_durably(disk, folder / RING_NAME, [text])
