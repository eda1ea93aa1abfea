"""Every file operation of the vault passes through ``files.Disk``, which a test can replace.

The source is read for other ways to a file, and the operations are run on a disk in memory while
Python reports every file that is touched.
"""

import ast
import sys
from pathlib import Path
from typing import Any

import pytest

from annotator.vault import create_vault, open_vault
from tests.vault.simulated_disk import FOLDER, KEY_FILE, SimulatedDisk

VAULT = Path(__file__).resolve().parents[2] / "annotator" / "vault"
# ``kms.py`` talks to a program through pipes and has no path in it.
MODULES = sorted(p for p in VAULT.rglob("*.py") if p.name not in {"files.py", "kms.py"})
# What touches no file, of a module that mostly does.
HARMLESS = {"os": {"urandom", "getpid"}, "io": {"BytesIO"}}
FORBIDDEN = {"fcntl", "glob", "mmap", "shutil", "tempfile"}
ON_PATHS = {
    *("chmod", "exists", "glob", "hardlink_to", "is_dir", "is_file", "is_symlink", "iterdir"),
    *("lchmod", "lstat", "mkdir", "owner", "read_bytes", "read_text", "readlink", "rename"),
    *("resolve", "rglob", "rmdir", "samefile", "stat", "symlink_to", "touch", "unlink"),
    *("write_bytes", "write_text"),
}


def other_ways(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [each.name for each in node.names if each.name in FORBIDDEN]
        elif isinstance(node, ast.ImportFrom):
            allowed = HARMLESS.get(str(node.module))
            if node.module in FORBIDDEN or node.module == "os.path":
                found.append(str(node.module))
            elif allowed is not None:
                found += [each.name for each in node.names if each.name not in allowed]
        elif isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if (owner in HARMLESS and node.attr not in HARMLESS[owner]) or node.attr in ON_PATHS:
                found.append(f"{owner}.{node.attr}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found += [node.func.id] if node.func.id == "open" else []
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(VAULT).as_posix())
def test_no_module_has_another_way_to_a_file(path: Path) -> None:
    assert other_ways(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    "code",
    [
        "open('x')",
        "import os\nos.open('x', 0)",
        "from os import replace",
        "import shutil",
        "from pathlib import Path\nPath('x').write_bytes(b'')",
        "import io\nio.open('x')",
        "from os.path import exists",
    ],
)
def test_another_way_would_be_seen(code: str) -> None:
    assert other_ways(ast.parse(code)) != []


TOUCHED: list[tuple[str, Any]] = []
WATCHING = [False]


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if WATCHING[0] and (event == "open" or event.startswith(("os.", "shutil.", "tempfile."))):
        TOUCHED.append((event, arguments[:1]))


def test_no_operation_touches_a_file_behind_the_door(tmp_path: Path) -> None:
    disk = SimulatedDisk()
    sys.addaudithook(watch)  # stays for ever, so it looks only while it is told to
    WATCHING[0] = True
    try:
        (tmp_path / "seen").write_bytes(b"")
        assert [event for event, _ in TOUCHED] == ["open"]  # it does look
        TOUCHED.clear()
        create_vault(FOLDER, key_file=KEY_FILE, disk=disk)
        vault = open_vault(FOLDER, key_file=KEY_FILE, disk=disk)
        key, name = vault.create_key("anna"), {"subject": "anna", "kind": "crop"}
        blob = vault.seal_blob(**name, key=key, data=b"face")
        archive = vault.store_archive(purpose="export", data=b"faces")
        ((_, key),) = vault.rotate([("anna", key)])
        vault.destroy_epoch(1)
        assert vault.open_blob(**name, key=key, blob=blob) == b"face"
        assert b"".join(vault.stream_blob(**name, key=key, blob=blob, start=1)) == b"ace"
        assert b"".join(vault.open_archive(purpose="export", blob=archive)) == b"faces"
        assert len(list(vault.list_blobs())) == 2
        assert vault.delete_unfinished(before=1e12) == 0
        vault.delete_blob(blob)
    finally:
        WATCHING[0] = False
    assert TOUCHED == []
