"""Signed notes and checkpoints: c2sp.org/signed-note, tlog-checkpoint and tlog-cosignature.

A note is a text and signature lines; a checkpoint is a note whose text is a log's origin, the size
of its tree, and its root. The log signs with Ed25519 (type 0x01), a witness with a timestamped
Ed25519 cosignature (type 0x04).
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from annotator.core.errors import InvalidInput, Tampered
from annotator.vault.merkle import HASH_BYTES

ED25519, COSIGNATURE = 1, 4  # signature types
ID_BYTES, KEY_BYTES, TIME_BYTES = 4, 32, 8
MOST_BYTES = 64 * 1024
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_DAMAGED = "This is not a checkpoint: {}."

Sign = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key under the name that its signatures carry; ``str()`` gives its C2SP ``vkey``.

    Attributes:
        name: without spaces and plus signs.
        key: the raw 32 bytes of an Ed25519 public key.
        kind: ``ED25519`` or ``COSIGNATURE``.
    """

    name: str
    key: bytes
    kind: int = ED25519

    @property
    def id(self) -> bytes:
        """The four bytes by which a signature line names the key."""
        text = self.name.encode() + b"\n" + bytes([self.kind]) + self.key
        return hashlib.sha256(text).digest()[:ID_BYTES]

    def __str__(self) -> str:
        key = base64.b64encode(bytes([self.kind]) + self.key).decode()
        return f"{self.name}+{self.id.hex()}+{key}"

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """Reads a ``vkey``.

        Raises:
            InvalidInput: it is none, or not of Ed25519.
        """
        parts = text.strip().split("+", 2)
        try:
            name, number, encoded = parts
            data = base64.b64decode(encoded, validate=True)
            found = cls(name, data[1:], data[0])
            fits = found.id.hex() == number and len(found.key) == KEY_BYTES
        except (ValueError, IndexError):
            fits = False
        if not fits or found.kind not in {ED25519, COSIGNATURE} or not _is_name(found.name):
            raise InvalidInput("A verifier key looks like 'name+1a2b3c4d+AQ...': copy it whole.")
        return found


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says about itself.

    Attributes:
        origin: the log's own name.
        size: number of entries.
        root: the root of their tree, 32 bytes.
        text: the three lines (and extensions) that are signed.
        signatures: name, and key id with signature, of every line below.
    """

    origin: str
    size: int
    root: bytes
    text: str
    signatures: tuple[tuple[str, bytes], ...]


def write_checkpoint(*, origin: str, size: int, root: bytes, key: bytes, sign: Sign) -> str:
    """A checkpoint, signed by the log: the note as it is handed out.

    Args:
        origin: the log's name, which is also its key's.
        size: number of entries.
        root: 32 bytes.
        key: the log's public key.
        sign: signs with the private one.
    """
    verifier = Verifier(origin, key)
    if not _is_name(origin):
        raise InvalidInput("The name of a log has no spaces and no plus.")
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    return f"{text}\n{_line(verifier, sign(text.encode()))}"


def read_checkpoint(note: str) -> Checkpoint:
    """Takes a note apart; believe it only when ``is_signed`` says so.

    Raises:
        Tampered: it is no checkpoint.
    """
    if len(note) > MOST_BYTES or any(ord(sign) < ord(" ") and sign != "\n" for sign in note):
        raise Tampered(_DAMAGED.format("it has control characters or is too long"))
    head, gap, below = note.rpartition("\n\n")
    lines = head.split("\n")
    if not gap or len(lines) < 3 or not all(lines):  # noqa: PLR2004 - origin, size, root
        raise Tampered(_DAMAGED.format("its lines are missing"))
    if not _NUMBER.fullmatch(lines[1]):
        raise Tampered(_DAMAGED.format("its size is no number"))
    root = _decode(lines[2])
    if len(root) != HASH_BYTES:
        raise Tampered(_DAMAGED.format("its root has a wrong length"))
    if not below.endswith("\n"):
        raise Tampered(_DAMAGED.format("its last line does not end"))
    signatures = tuple(_read_line(line) for line in below[:-1].split("\n"))
    return Checkpoint(lines[0], int(lines[1]), root, head + "\n", signatures)


def is_signed(checkpoint: Checkpoint, verifier: Verifier) -> bool:
    """Whether the key signed it; every line that names the key must be right."""
    named = [
        signed[ID_BYTES:]
        for name, signed in checkpoint.signatures
        if name == verifier.name and signed[:ID_BYTES] == verifier.id
    ]
    return bool(named) and all(_is_right(checkpoint, verifier, item) for item in named)


def cosign(checkpoint: Checkpoint, *, verifier: Verifier, at: int, sign: Sign) -> str:
    """A witness's signature line: it saw this checkpoint, and nothing that contradicts it.

    Args:
        checkpoint: what is signed.
        verifier: the witness's own key, of kind ``COSIGNATURE``.
        at: seconds since 1970.
        sign: signs with the private key.
    """
    return _line(verifier, at.to_bytes(TIME_BYTES, "big") + sign(_cosigned(checkpoint, at)))


def _is_right(checkpoint: Checkpoint, verifier: Verifier, signature: bytes) -> bool:
    message = checkpoint.text.encode()
    if verifier.kind == COSIGNATURE:
        at, signature = int.from_bytes(signature[:TIME_BYTES], "big"), signature[TIME_BYTES:]
        message = _cosigned(checkpoint, at)
    try:
        Ed25519PublicKey.from_public_bytes(verifier.key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _cosigned(checkpoint: Checkpoint, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{checkpoint.text}".encode()


def _line(verifier: Verifier, signature: bytes) -> str:
    return f"\u2014 {verifier.name} {base64.b64encode(verifier.id + signature).decode()}\n"


def _read_line(line: str) -> tuple[str, bytes]:
    dash, name, encoded = [*line.split(" "), "", ""][:3]
    signed = _decode(encoded)
    if dash != "\u2014" or line.count(" ") != 2 or len(signed) <= ID_BYTES:  # noqa: PLR2004
        raise Tampered(_DAMAGED.format("a signature line is damaged"))
    return name, signed


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if base64.b64encode(data).decode() != text:
        raise Tampered(_DAMAGED.format("its base64 is damaged"))
    return data


def _is_name(text: str) -> bool:
    return bool(text) and "+" not in text and not any(sign.isspace() for sign in text)
