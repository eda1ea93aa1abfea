"""Where templates and static files are, in a checkout and in a wheel, and their version."""

import hashlib
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def find_folder(name: str) -> Path:
    """The folder ``templates`` or ``static``.

    Args:
        name: as in a checkout; a wheel carries it inside the package with an underscore.
    """
    packaged = _PACKAGE / f"_{name}"
    return packaged if packaged.is_dir() else _PACKAGE.parent / name


def hash_tree(folder: Path) -> str:
    """A version of a folder's content: 16 hex digits over the names and bytes of its files.

    It stands in the path of every static address, so modules that import each other by relative
    names stay in one version, and browsers may keep what they have for ever.
    """
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
