"""The ways into the vault. Each slot holds the root key, wrapped under one secret.

A slot is a JSON object in the key ring: ``id``, ``kind``, ``salt``, ``wrapped``, and its cost where
the secret is a passphrase. That is stretched with Argon2id (RFC 9106); the other secrets are random
and need no stretching. HKDF makes a key of the secret, and AES-SIV wraps the root key under it,
bound to install, kind and slot id.
"""

import base64
import os
import secrets
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from annotator.core.errors import Conflict, InvalidInput, Locked, NotFound, Tampered
from annotator.vault.cipher import KEY_BYTES, SIV_KEY_BYTES, Siv, bind, derive_key
from annotator.vault.files import (
    Disk,
    exists,
    make_folders,
    read_pieces,
    storage_errors,
    write_new,
)

PASSPHRASE = "passphrase"  # noqa: S105  a slot's kind, not a secret
KEY_FILE = "key-file"
RECOVERY_CODE = "recovery-code"
# RFC 9106, second recommended choice: 64 MiB, three passes, four lanes.
ARGON2 = {"memory_kib": 64 * 1024, "passes": 3, "lanes": 4}
_KEY_FILE_HEADER = "annotator-key-file:1:"
# 160 bits in Crockford's alphabet, eight groups of four: no letter that reads like a digit.
_CODE_BYTES = 20
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RFC4648 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_WRITE_CODE = str.maketrans(_RFC4648, _CROCKFORD)
_READ_CODE = str.maketrans(_CROCKFORD, _RFC4648)

Slot = Mapping[str, Any]


def make_slot(kind: str, secret: bytes, *, root: bytes, install: str) -> dict[str, Any]:
    """Wraps the root key under one secret of a kind."""
    slot: dict[str, Any] = {"id": secrets.token_hex(4), "kind": kind, "salt": os.urandom(16).hex()}
    if kind == PASSPHRASE:
        slot |= ARGON2
    box = _slot_cipher(slot, secret, install)
    return slot | {"wrapped": box.seal(root, _context(slot, install)).hex()}


def open_slot(slot: Slot, secret: bytes, *, install: str) -> bytes | None:
    """The root key, or nothing when the secret is another or the slot is damaged."""
    with suppress(Tampered, KeyError, ValueError, TypeError, OverflowError):
        sealed = bytes.fromhex(slot["wrapped"])
        return _slot_cipher(slot, secret, install).open(sealed, _context(slot, install))
    return None


def _slot_cipher(slot: Slot, secret: bytes, install: str) -> Siv:
    salt = bytes.fromhex(slot["salt"])
    if slot["kind"] == PASSPHRASE:
        secret = Argon2id(
            salt=salt,
            length=KEY_BYTES,
            iterations=slot["passes"],
            lanes=slot["lanes"],
            memory_cost=slot["memory_kib"],
        ).derive(secret)
    info = bind("slot", install, slot["kind"], slot["id"])
    return Siv(derive_key(secret, salt=salt, info=info, length=SIV_KEY_BYTES))


def _context(slot: Slot, install: str) -> bytes:
    return bind("root-key", install, slot["kind"], slot["id"])


def read_passphrase(text: str) -> bytes:
    """The bytes of a passphrase, alike from every keyboard (Unicode NFC).

    Raises:
        InvalidInput: it is empty.
    """
    if not text:
        raise InvalidInput("The passphrase is empty.")
    return unicodedata.normalize("NFC", text).encode()


def new_recovery_code() -> str:
    """A one-time code to write down, like ``7QK2-...``: eight groups of four."""
    code = base64.b32encode(os.urandom(_CODE_BYTES)).decode().translate(_WRITE_CODE)
    return "-".join(code[i : i + 4] for i in range(0, len(code), 4))


def read_recovery_code(text: str) -> bytes:
    """The bits of a code as a person typed it: case, spaces, hyphens, O, I and L are forgiven.

    Raises:
        Locked: it is no recovery code.
    """
    code = "".join(text.split()).replace("-", "").upper()
    code = code.replace("O", "0").replace("I", "1").replace("L", "1")
    with suppress(ValueError):
        bits = base64.b32decode(code.translate(_READ_CODE))
        if len(bits) == _CODE_BYTES and set(code) <= set(_CROCKFORD):
            return bits
    raise Locked("This is not a recovery code: it has eight groups of four letters and digits.")


def make_key_file(disk: Disk, path: Path) -> bytes:
    """Writes a new random secret to a file that only its owner may read.

    Raises:
        Conflict: there is a file already; it may be the key of something.
    """
    if exists(disk, path):
        raise Conflict("The key file exists already; choose another name.")
    secret = os.urandom(KEY_BYTES)
    make_folders(disk, path.parent)
    write_new(disk, path, [f"{_KEY_FILE_HEADER}{secret.hex()}\n".encode()])
    return secret


def read_key_file(disk: Disk, path: Path) -> bytes:
    """The secret in a key file.

    Raises:
        Locked: it is missing, open to others, or no key file.
    """
    try:
        text = b"".join(read_pieces(disk, path, first=4096, size=4096)).decode()
    except NotFound:
        raise Locked("The key file is not there.") from None
    except UnicodeDecodeError:
        text = ""
    with storage_errors():
        if disk.permissions(path) & 0o077:
            raise Locked("The key file can be read by others; set its mode to 0600.")
    with suppress(ValueError):
        secret = bytes.fromhex(text.strip().removeprefix(_KEY_FILE_HEADER))
        if text.startswith(_KEY_FILE_HEADER) and len(secret) == KEY_BYTES:
            return secret
    raise Locked("This is not a key file of this program.")
