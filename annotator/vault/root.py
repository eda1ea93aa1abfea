"""The root key at work: it wraps what is in the key ring, and authenticates the ring."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from annotator.vault.cipher import KEY_BYTES, SIV_KEY_BYTES, Siv, authenticate, bind, derive_key

# Each its own random key, so that one can be replaced without the others.
INDEX, STORE, LOG, EXPORT = "index", "store", "log", "export"
SECRETS = (INDEX, STORE, LOG, EXPORT)


class Root:
    """What is derived from a root key; the key itself is not kept.

    Args:
        key: the root key, 32 bytes.
        install: the installation's id.
    """

    __slots__ = ("_box", "_mac_key", "install")

    def __init__(self, key: bytes, install: str) -> None:
        keys = derive_key(key, info=bind("root-key", install), length=SIV_KEY_BYTES + KEY_BYTES)
        self._box, self._mac_key = Siv(keys[:SIV_KEY_BYTES]), keys[SIV_KEY_BYTES:]
        self.install = install

    def wrap(self, name: str, secret: bytes) -> str:
        """A named secret of the ring, wrapped, in hexadecimal."""
        return self._box.seal(secret, bind("secret", self.install, name)).hex()

    def unwrap(self, name: str, wrapped: str) -> bytes:
        """What ``wrap`` wrapped under the same name.

        Raises:
            Tampered: in every other case; ``ValueError`` when it is no hexadecimal.
        """
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
        """A new primary epoch as the ring lists it."""
        key = os.urandom(KEY_BYTES)
        return {
            "epoch": epoch,
            "state": "primary",
            "created": timestamp(),
            "wrapped": self.wrap(f"epoch-{epoch}", key),
            "commitment": self.epoch_cipher(epoch, key)[1],
        }

    def new_secrets(self) -> dict[str, str]:
        """Every named secret, new and wrapped."""
        return {name: self.wrap(name, os.urandom(KEY_BYTES)) for name in SECRETS}

    def take_over(self, document: dict[str, Any], old: "Root") -> None:
        """Wraps everything in a ring's document anew that another root key wrapped."""
        for entry in document["epochs"]:
            name = f"epoch-{entry['epoch']}"
            entry["wrapped"] = self.wrap(name, old.unwrap(name, entry["wrapped"]))
        secrets = document["secrets"]
        for name in secrets:
            secrets[name] = self.wrap(name, old.unwrap(name, secrets[name]))


def timestamp() -> str:
    """The present moment as the ring writes it, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
