"""The erasure ledger: who was erased, in a file that no backup holds.

An old backup knows nothing of those who withdrew since. The ledger does, so it lies apart from what
is backed up, and a restore replays it before anything opens. It holds no personal data: a subject
is a random id.

One JSON object a line. Each carries ``n``, counted from 1, and ``mac``: HMAC-SHA-256, under a key
of the key ring, of the line before and of its own content, so that no line can be changed, dropped
from the middle, or added without the keys. The ring remembers number and MAC of the last line, so
that a ledger whose end was cut off is noticed as well.
"""

import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from annotator.core.errors import NotFound, Tampered
from annotator.vault.files import Disk, hold, make_folders, read_pieces, write_durably

LEDGER_NAME = "erasures.jsonl"
PURPOSE = "erasure-ledger"  # of the MAC's key
_OWN = ("n", "mac")
_PIECE = 1 << 20
CUT = "The erasure ledger is missing or its end was cut off; put a copy of the newest back."
_CHANGED = "The erasure ledger was changed at line {n}; put a copy of the newest back."


class Seals(Protocol):
    """What the ledger needs of the vault."""

    @property
    def ledger_end(self) -> tuple[int, str]:
        """Number and MAC of the last line that the key ring knows of; 0 and "" before the first."""

    def keep_ledger_end(self, number: int, mac: str) -> None:
        """Has the key ring remember the last line."""

    def blind_index(self, purpose: str, value: str | bytes) -> bytes:
        """HMAC-SHA-256 under a key of the ring."""


class Ledger:
    """The ledger of one installation; safe to share between processes.

    Args:
        path: the file; made with the first line.
        seals: the vault, also of other copies of the same ledger.
        disk: the door to the file system.
    """

    def __init__(self, path: Path, *, seals: Seals, disk: Disk | None = None) -> None:
        self.path = path
        self.seals = seals
        self._disk = disk or Disk()

    def append(self, record: Mapping[str, Any]) -> None:
        """Adds a line; it is durable when this returns. One that is there already is fine.

        Args:
            record: what JSON can hold; not ``n`` and ``mac``.

        Raises:
            Tampered: the ledger is not the one that the ring knows.
            StorageFull, StorageFailed: nothing was added.
        """
        make_folders(self._disk, self.path.parent)
        with hold(self._disk, self.path.with_name(f"{self.path.name}.lock")):
            lines = self._load()
            known = any(_content(line) == dict(record) for line in lines)
            if not known:
                before = lines[-1]["mac"] if lines else ""
                line = {**record, "n": len(lines) + 1}
                lines.append({**line, "mac": self._mac(before, line)})
                write_durably(self._disk, self.path, [_write(lines)])
            # Also for a known line: a crash may have come between the two files.
            end = (lines[-1]["n"], lines[-1]["mac"])
            if self.seals.ledger_end != end:
                self.seals.keep_ledger_end(*end)

    def read(self) -> list[dict[str, Any]]:
        """Every record, in order, without ``n`` and ``mac``.

        Raises:
            Tampered: a line was changed, or the file ends before the line that the ring knows.
        """
        return [_content(line) for line in self._load()]

    def adopt(self, other: "Ledger") -> int:
        """Takes the lines of another copy of the same ledger, if it has more; counts the lines.

        Raises:
            Tampered: one of the two was changed, they are no copies of each other, or both are
                shorter than the key ring says.
        """
        mine, theirs = self.read_lines(), other.read_lines()
        shorter, longer = sorted((mine, theirs), key=len)
        if longer[: len(shorter)] != shorter:
            raise Tampered("These are not two copies of one erasure ledger.")
        self._check_end(longer)
        if longer != mine:
            make_folders(self._disk, self.path.parent)
            write_durably(self._disk, self.path, [_write(longer)])
        if longer:
            self.seals.keep_ledger_end(longer[-1]["n"], longer[-1]["mac"])
        return len(longer)

    def _load(self) -> list[dict[str, Any]]:
        lines = self.read_lines()
        self._check_end(lines)
        return lines

    def _check_end(self, lines: Sequence[Mapping[str, Any]]) -> None:
        number, mac = self.seals.ledger_end
        if number and (len(lines) < number or lines[number - 1]["mac"] != mac):
            raise Tampered(CUT)

    def read_lines(self) -> list[dict[str, Any]]:
        """Every line with ``n`` and ``mac``, whatever the ring knows of the end.

        Raises:
            Tampered: a line was changed.
        """
        try:
            text = b"".join(read_pieces(self._disk, self.path, first=_PIECE, size=_PIECE))
        except NotFound:
            return []
        lines: list[dict[str, Any]] = []
        for number, raw in enumerate(text.splitlines(), start=1):
            before = lines[-1]["mac"] if lines else ""
            line = self._check(raw, number, before)
            if line is None:
                raise Tampered(_CHANGED.format(n=number))
            lines.append(line)
        return lines

    def _check(self, raw: bytes, number: int, before: str) -> dict[str, Any] | None:
        try:
            line = json.loads(raw)
            body = {name: value for name, value in line.items() if name != "mac"}
            good = hmac.compare_digest(str(line["mac"]), self._mac(before, body))
        except (ValueError, KeyError, AttributeError, TypeError):
            return None
        return line if good and line.get("n") == number else None

    def _mac(self, before: str, line: Mapping[str, Any]) -> str:
        return self.seals.blind_index(PURPOSE, before.encode() + b"\n" + _dump(line)).hex()


def _dump(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, sort_keys=True, separators=(",", ":")).encode()


def _write(lines: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(_dump(line) + b"\n" for line in lines)


def _content(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in _OWN}
