"""A witness: a second machine that signs a checkpoint if the log has grown and never changed.

After c2sp.org/tlog-witness: whoever sends a checkpoint proves that it continues the one that the
witness signed last. The witness keeps that one, durably, before it answers.
"""

import base64
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from annotator.core.errors import InvalidInput, Tampered
from annotator.vault import merkle, notes
from annotator.vault.files import Disk, exists, hold, read_pieces, write_durably

NAME = "annotator-witness"
SEED_BYTES = 32
MOST_PROOF = 63
MOST_BODY = 128 * 1024
_OK, _BAD, _STRANGER, _UNKNOWN, _CONFLICT, _UNPROVEN = 200, 400, 403, 404, 409, 422
_PIECE = 1 << 20


class Answer(NamedTuple):
    """What the witness answers: an HTTP status, a text, and its type."""

    status: int
    text: str
    kind: str = "text/plain; charset=utf-8"


class Request(NamedTuple):
    """What is sent to a witness: the size that it knows, the proof, and the checkpoint."""

    old: int
    proof: Sequence[bytes]
    note: str


class Witness:
    """One witness with its state file; safe between threads and processes.

    Args:
        state: the file that keeps the last checkpoint of every log.
        seed: the private key, 32 bytes.
        name: the name under which it signs.
        disk: the door to the file system.
    """

    def __init__(
        self, state: Path, *, seed: bytes, name: str = NAME, disk: Disk | None = None
    ) -> None:
        self._path, self._disk = state, disk or Disk()
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._key.public_key().public_bytes_raw()
        self.verifier = notes.Verifier(name, public, notes.COSIGNATURE)

    def trust(self, verifier: notes.Verifier) -> None:
        """Takes a log on, by its public key; one that is known under another key stays."""
        with self._held():
            state = self._read()
            known = state.get(verifier.name)
            if known is not None and known["key"] != str(verifier):
                raise InvalidInput("This log is known under another key; use another state file.")
            state.setdefault(verifier.name, {"key": str(verifier), "note": ""})
            self._write(state)

    @property
    def logs(self) -> list[str]:
        """The names of the logs that it watches."""
        return sorted(self._read())

    def newest(self, origin: str) -> str:
        """The last checkpoint of a log that it signed, as a note; empty when there is none."""
        known = self._read().get(origin)
        return str(known["note"]) if known else ""

    def add(self, body: str) -> Answer:
        """Answers ``add-checkpoint``."""
        try:
            request = read_request(body)
            new = notes.read_checkpoint(request.note)
        except (Tampered, InvalidInput) as error:
            return Answer(_BAD, f"{error.message}\n")
        with self._held():
            state = self._read()
            known = state.get(new.origin)
            if known is None:
                return Answer(_UNKNOWN, "This log is not watched here.\n")
            if not notes.is_signed(new, notes.Verifier.parse(known["key"])):
                return Answer(_STRANGER, "The log's key did not sign this checkpoint.\n")
            old = notes.read_checkpoint(known["note"]) if known["note"] else None
            refusal = _judge(request, new, old)
            if refusal is not None:
                return refusal
            line = notes.cosign(
                new, verifier=self.verifier, at=int(time.time()), sign=self._key.sign
            )
            known["note"] = f"{request.note}{line}"
            self._write(state)
        return Answer(_OK, line)

    def _held(self) -> AbstractContextManager[None]:
        return hold(self._disk, self._path.with_name(f"{self._path.name}.lock"))

    def _read(self) -> dict[str, dict[str, str]]:
        if not exists(self._disk, self._path):
            return {}
        data = b"".join(read_pieces(self._disk, self._path, first=_PIECE, size=_PIECE))
        try:
            found: dict[str, dict[str, str]] = json.loads(data)
        except ValueError:
            raise Tampered("The witness's state file is damaged.") from None
        return found

    def _write(self, state: Mapping[str, Any]) -> None:
        write_durably(self._disk, self._path, [json.dumps(state, indent=1).encode()])


def _judge(request: Request, new: notes.Checkpoint, old: notes.Checkpoint | None) -> Answer | None:
    if request.old > new.size:
        return Answer(_BAD, "The old size is above the checkpoint's.\n")
    size = old.size if old else 0
    if request.old != size:
        return Answer(_CONFLICT, f"{size}\n", "text/x.tlog.size")
    if old is None or size == 0:
        fits = not request.proof and (new.size > 0 or new.root == merkle.EMPTY_ROOT)
        return None if fits else Answer(_UNPROVEN, "Nothing follows from nothing.\n")
    if new.size == size and new.root != old.root:
        return Answer(_CONFLICT, f"{size}\n", "text/x.tlog.size")
    proven = merkle.check_consistency(
        old=size, size=new.size, old_root=old.root, root=new.root, proof=request.proof
    )
    return None if proven else Answer(_UNPROVEN, "The log was changed: the proof fails.\n")


def write_request(request: Request) -> str:
    """The body of ``add-checkpoint``."""
    proof = "".join(f"{base64.b64encode(item).decode()}\n" for item in request.proof)
    return f"old {request.old}\n{proof}\n{request.note}"


def read_request(body: str) -> Request:
    """Takes the body of ``add-checkpoint`` apart.

    Raises:
        InvalidInput: it is none.
    """
    head, gap, note = body.partition("\n\n")
    first, *lines = head.split("\n")
    word, _, number = first.partition(" ")
    try:
        proof = [base64.b64decode(line, validate=True) for line in lines]
    except ValueError:
        proof = [b""]
    fits = gap and word == "old" and number.isascii() and number.isdigit()
    if not fits or len(proof) > MOST_PROOF or any(len(x) != merkle.HASH_BYTES for x in proof):
        raise InvalidInput("This is no request to add a checkpoint.")
    return Request(int(number), proof, note)


def open_seed(path: Path, *, disk: Disk | None = None) -> bytes:
    """The witness's private key; made, durably and for its owner alone, when there is none.

    Raises:
        InvalidInput: the file holds something else.
    """
    disk = disk or Disk()
    if not exists(disk, path):
        write_durably(disk, path, [base64.b64encode(os.urandom(SEED_BYTES)) + b"\n"])
    data = b"".join(read_pieces(disk, path, first=_PIECE, size=_PIECE))
    try:
        seed = base64.b64decode(data.strip(), validate=True)
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise InvalidInput("The witness's key file does not hold a key.")
    return seed
