"""Where checkpoints of the log are mirrored: a file, standard output, or a second machine."""

import contextlib
import http.client
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from annotator.core.config import Settings
from annotator.core.errors import InvalidInput, Tampered, WitnessFailed
from annotator.domain import ports
from annotator.vault import notes
from annotator.vault.witness import Request, write_request

TIMEOUT_SECONDS = 10
MOST_BYTES = 64 * 1024
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
_CONFLICT = 409
Prove = Callable[[int], Sequence[bytes]]


def open_witness(settings: Settings) -> ports.Witness | None:
    """The witness that the settings name, or none.

    Raises:
        InvalidInput: the setting cannot be understood.
    """
    text = settings.witness
    if not text:
        return None
    if text == "stdout":
        return Printed()
    kind, _, rest = text.partition(":")
    if kind == "file" and rest.startswith("/"):
        return Filed(Path(rest))
    address = urllib.parse.urlsplit(text)
    if kind == "https" or (kind == "http" and address.hostname in LOOPBACK):
        key = notes.Verifier.parse(settings.witness_key) if settings.witness_key else None
        return Remote(text.rstrip("/"), key)
    raise InvalidInput(
        "ANNOTATOR_WITNESS is 'file:/path', 'stdout' or the https address of a witness."
    )


class Printed:
    """Standard output, which whoever runs the process collects."""

    place = "standard output"

    def add(self, note: str, *, old: int, prove: Prove) -> str:
        """Prints it."""
        del old, prove
        sys.stdout.write(f"{note}\n")
        sys.stdout.flush()
        return ""

    def read(self, origin: str) -> list[str]:
        """Nothing can be read back."""
        del origin
        return []


class Filed:
    """A file to which is only appended, on a disk that the app cannot rewrite."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.place = f"the file {path}"

    def add(self, note: str, *, old: int, prove: Prove) -> str:
        """Appends the note, durably.

        Raises:
            WitnessFailed: it cannot be written.
        """
        del old, prove
        try:
            descriptor = os.open(
                self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644
            )
            try:
                os.write(descriptor, f"{note}\n".encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise WitnessFailed(
                f"The witness's file cannot be written: {error.strerror}."
            ) from None
        return ""

    def read(self, origin: str) -> list[str]:
        """The notes in the file, of every log."""
        del origin
        try:
            return split_notes(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError):
            raise WitnessFailed("The witness's file cannot be read.") from None


class Remote:
    """A second machine that signs what continues what it signed before (C2SP tlog-witness).

    Args:
        address: without a slash at its end.
        key: what its signatures are checked with; ``None`` takes them unchecked.
    """

    def __init__(self, address: str, key: notes.Verifier | None) -> None:
        self._address, self._key = address, key
        self.place = f"the witness at {address}"

    def add(self, note: str, *, old: int, prove: Prove) -> str:
        """Sends the note with the proof that it continues what the witness knows.

        Raises:
            WitnessFailed: it cannot be reached, or refuses.
            Tampered: it has seen more of this log than there is: the log was set back.
        """
        size = notes.read_checkpoint(note).size
        status, text = self._send(note, old, prove)
        if status == _CONFLICT and text.strip().isdigit() and int(text) != old:
            known = int(text)
            if known > size:
                raise Tampered(
                    f"The witness has seen {known} entries and the log has {size}: the log was set "
                    "back."
                )
            status, text = self._send(note, known, prove)
        if status != http.client.OK:
            raise WitnessFailed(f"The witness refuses the checkpoint (answer {status}).")
        if self._key is not None and not self._is_right(note, text):
            raise WitnessFailed("The witness's signature is not by the key that was set.")
        return text

    def read(self, origin: str) -> list[str]:
        """The newest note that the witness signed.

        Raises:
            WitnessFailed: it cannot be reached.
        """
        query = urllib.parse.urlencode({"origin": origin})
        status, text = self._call(f"/checkpoint?{query}")
        return split_notes(text) if status == http.client.OK else []

    def _is_right(self, note: str, lines: str) -> bool:
        assert self._key is not None
        with contextlib.suppress(Tampered):
            return notes.is_signed(notes.read_checkpoint(note + lines), self._key)
        return False

    def _send(self, note: str, old: int, prove: Prove) -> tuple[int, str]:
        body = write_request(Request(old, prove(old) if old else (), note))
        return self._call("/add-checkpoint", body.encode())

    def _call(self, path: str, body: bytes | None = None) -> tuple[int, str]:
        request = urllib.request.Request(  # noqa: S310 - http and https only, see open_witness
            f"{self._address}{path}", data=body, headers={"Content-Type": "text/plain"}
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                return answer.status, answer.read(MOST_BYTES).decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(MOST_BYTES).decode(errors="replace")
        except (OSError, http.client.HTTPException, ValueError):
            raise WitnessFailed from None


def split_notes(text: str) -> list[str]:
    """The notes in a file, one after the other with an empty line between."""
    parts = text.split("\n\n")
    found = []
    for head, lines in zip(parts[::2], parts[1::2], strict=False):
        found.append(f"{head.lstrip(chr(10))}\n\n{lines.rstrip(chr(10))}\n")
    return found
