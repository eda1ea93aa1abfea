"""Vaults on temporary folders, and a disk that fails where it is told."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.vault import Vault, create_vault
from annotator.vault.files import Disk

# Everything that can fail on the way of a write, and what only reads.
WRITING = ("create", "write", "fsync", "replace", "make_folder", "fsync_folder", "remove", "lock")
READING = ("open", "read_at", "read_into", "size", "scan", "identify", "permissions")


class FaultyDisk(Disk):
    """Counts the calls, records them, and fails the one it is told to, or all from there on.

    A failing write first writes half of its bytes, as a full disk does. A call that fails has
    otherwise no effect.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.error = 0
        self.fail_at: int | None = None
        for name in (*WRITING, *READING, "close"):
            setattr(self, name, self._watch(name, getattr(super(), name)))

    def plan(self, fail_at: int, error: int) -> None:
        self.calls, self.fail_at, self.error = [], fail_at, error

    def heal(self) -> None:
        """The disk is good again, and the program was restarted."""
        self.fail_at, self.broken = None, False

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def _watch(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any) -> Any:
            self.calls.append((name, str(args[0])))
            if self.fail_at is not None and len(self.calls) - 1 == self.fail_at:
                if name == "write":
                    call(args[0], args[1][: len(args[1]) // 2])
                elif name == "close":
                    call(*args)
                raise OSError(self.error, os.strerror(self.error))
            return call(*args)

        return watched


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


@pytest.fixture
def make_vault(tmp_path: Path) -> Callable[[str], Vault]:
    """Makes an installation in a folder of that name, with a key file beside its keys."""

    def make(name: str) -> Vault:
        return create_vault(tmp_path / name, key_file=tmp_path / name / "key-file")[0]

    return make


@pytest.fixture
def vault(make_vault: Callable[[str], Vault]) -> Vault:
    return make_vault("one")
