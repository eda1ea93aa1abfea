"""The ways into the vault. Each slot holds the root key, wrapped under one secret.

A slot is a JSON object in the key ring: ``id``, ``kind``, ``salt``, ``wrapped``, ``label`` and
``created`` (which the first slots lack), and what its kind needs: the cost of stretching a
passphrase, or the secret as a key management service wrapped it. A passphrase is stretched with
Argon2id (RFC 9106); the other secrets are random and need no stretching. HKDF makes a key of the
secret, and AES-SIV wraps the root key under it, bound to install, kind and slot id.

A service never sees the root key: it wraps a random secret that is the slot's own.
"""

import base64
import os
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

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
from annotator.vault.kms import KmsCommand
from annotator.vault.root import timestamp

PASSPHRASE = "passphrase"  # noqa: S105  a slot's kind, not a secret
KEY_FILE = "key-file"
RECOVERY_CODE = "recovery-code"
KMS = "kms"
# RFC 9106, second recommended choice: 64 MiB, three passes, four lanes.
ARGON2 = {"memory_kib": 64 * 1024, "passes": 3, "lanes": 4}
# Slots are not authenticated before they are opened, so their cost has a ceiling.
_MOST_ARGON2 = {"memory_kib": 1024 * 1024, "passes": 32, "lanes": 64}
LABEL_LENGTH = 60
_KEY_FILE_HEADER = "annotator-key-file:1:"
# 160 bits in Crockford's alphabet, eight groups of four: no letter that reads like a digit.
_CODE_BYTES = 20
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RFC4648 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_WRITE_CODE = str.maketrans(_RFC4648, _CROCKFORD)
_READ_CODE = str.maketrans(_CROCKFORD, _RFC4648)

Slot = Mapping[str, Any]


class WayIn(Protocol):
    """Something that opens slots of one kind, and from which a new slot can be made."""

    @property
    def kind(self) -> str:
        """The kind of its slots."""

    def secret_of(self, slot: Slot) -> bytes:
        """The secret of a slot; ``Locked`` when a service does not give it."""

    def new_secret(self) -> tuple[bytes, dict[str, Any]]:
        """The secret of a new slot, and what the slot has to remember of it."""


@dataclass(frozen=True, slots=True)
class KnownSecret:
    """A passphrase, the content of a key file, or a recovery code."""

    kind: str
    secret: bytes = field(repr=False)

    def secret_of(self, slot: Slot) -> bytes:
        """The same for every slot."""
        del slot
        return self.secret

    def new_secret(self) -> tuple[bytes, dict[str, Any]]:
        """The secret itself; nothing of it is remembered."""
        return self.secret, dict(ARGON2) if self.kind == PASSPHRASE else {}


@dataclass(frozen=True, slots=True)
class Kms:
    """A key management service behind a command: each slot has a secret of its own."""

    command: KmsCommand
    kind: str = KMS

    def secret_of(self, slot: Slot) -> bytes:
        """Asks the service.

        Raises:
            Locked: the command failed.
            KeyError, ValueError, TypeError: the slot is damaged.
        """
        return self.command.unwrap(bytes.fromhex(slot["wrapped_secret"]))

    def new_secret(self) -> tuple[bytes, dict[str, Any]]:
        """A random secret, and what the service made of it, which it has opened again.

        Raises:
            Locked: the command failed, or does not give back what it was given.
        """
        secret = os.urandom(KEY_BYTES)
        wrapped = self.command.wrap(secret)
        if not secrets.compare_digest(self.command.unwrap(wrapped), secret):
            raise Locked("The KMS command does not give back the key that it wrapped.")
        return secret, {"wrapped_secret": wrapped.hex()}


@dataclass(frozen=True, slots=True)
class SlotInfo:
    """What may be told of a slot.

    Attributes:
        id: names it; 8 hexadecimal digits.
        kind: ``passphrase``, ``key-file``, ``recovery-code``, ``kms``, or one of a later version.
        label: what a person called it; may be empty.
        created: when it was made (ISO 8601, UTC); empty for the first ones, which did not say.
    """

    id: str
    kind: str
    label: str
    created: str


def make_slot(way: WayIn, *, root: bytes, install: str, label: str = "") -> dict[str, Any]:
    """Wraps the root key for one way in.

    Raises:
        InvalidInput: the label is too long or cannot be printed.
        Locked: a key management service failed.
    """
    label = check_label(label)
    secret, remembered = way.new_secret()
    slot: dict[str, Any] = {
        "id": secrets.token_hex(4),
        "kind": way.kind,
        "label": label,
        "created": timestamp(),
        "salt": os.urandom(16).hex(),
        **remembered,
    }
    box = _slot_cipher(slot, secret, install)
    return slot | {"wrapped": box.seal(root, _context(slot, install)).hex()}


def open_slot(slot: Slot, way: WayIn, *, install: str) -> bytes | None:
    """The root key, or nothing when the secret is another or the slot is damaged.

    Raises:
        Locked: a key management service failed.
    """
    with suppress(Tampered, KeyError, ValueError, TypeError, OverflowError):
        sealed = bytes.fromhex(slot["wrapped"])
        return _slot_cipher(slot, way.secret_of(slot), install).open(
            sealed, _context(slot, install)
        )
    return None


def find_root(slots: object, ways: Sequence[WayIn], *, install: str) -> bytes:
    """The root key, by whichever slot one of the ways in opens first.

    Args:
        slots: as they stand in the ring, not yet trusted.
        ways: tried in this order.
        install: the installation's id.

    Raises:
        Locked: none opens; the sentence says why.
    """
    listed = [slot for slot in slots if isinstance(slot, dict)] if isinstance(slots, list) else []
    trouble: Locked | None = None
    for way in ways:
        for slot in listed:
            if slot.get("kind") != way.kind:
                continue
            try:
                root = open_slot(slot, way, install=install)
            except Locked as error:  # a service that is down must not shut the other ways
                trouble = error
                continue
            if root is not None:
                return root
    if trouble is not None:
        raise trouble
    tried = " or the ".join(_WORDS.get(way.kind, way.kind) for way in ways)
    raise Locked(f"The vault does not open: the {tried} is wrong.")


_WORDS = {
    PASSPHRASE: "passphrase",
    KEY_FILE: "key file",
    RECOVERY_CODE: "recovery code",
    KMS: "KMS command",
}


def describe_slots(slots: object) -> list[SlotInfo]:
    """What may be told of a ring's slots; what is no slot is passed over.

    Labels are not authenticated, so what cannot be printed is taken out.
    """
    found = []
    for slot in slots if isinstance(slots, list) else []:
        if isinstance(slot, dict) and "id" in slot and "kind" in slot:
            texts = (slot["id"], slot["kind"], slot.get("label", ""), slot.get("created", ""))
            found.append(SlotInfo(*(_printable(text) for text in texts)))
    return found


def check_label(text: str) -> str:
    """A label without blanks around it.

    Raises:
        InvalidInput: it is too long, or holds what cannot be printed.
    """
    label = text.strip()
    if len(label) > LABEL_LENGTH or _printable(label) != label:
        raise InvalidInput(f"A label is at most {LABEL_LENGTH} characters that can be printed.")
    return label


def _printable(text: object) -> str:
    found = "".join(char for char in str(text) if char.isprintable())
    return found[:LABEL_LENGTH]


def _slot_cipher(slot: Slot, secret: bytes, install: str) -> Siv:
    salt = bytes.fromhex(slot["salt"])
    if slot["kind"] == PASSPHRASE:
        if any(not 0 < slot[name] <= most for name, most in _MOST_ARGON2.items()):
            raise Tampered
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
        raise Locked(
            "The key file is not there; name it in ANNOTATOR_KEY_FILE, or use another way in."
        ) from None
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
