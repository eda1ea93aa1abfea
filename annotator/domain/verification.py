"""Checks an export with nothing but its files and a public key: no database, no vault.

The signature covers the exact bytes of ``manifest.json``, and the manifest the SHA-256 of every
other file, so a changed, lost or added byte is found, and the first bad file is named.
"""

import base64
import binascii
import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from annotator.core.errors import InvalidInput

FORMAT = "annotator-export"
FORMAT_VERSION = 1
MANIFEST, SIGNATURE, KEY = "manifest.json", "manifest.sig", "public_key.pem"
MAX_MANIFEST = 256 * 1024 * 1024  # bytes; about a million files
RAW_KEY_BYTES = 32
SMALL = 4096  # bytes; a signature or a key
PIECE = 1024 * 1024  # bytes read at once
_HEX_KEY = re.compile(rb"\s*[0-9a-fA-F]{64}\s*")
_PLAIN = re.compile(r"[^/\\\0]+(?:/[^/\\\0]+)*")  # no empty part, no backslash


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found.

    Attributes:
        ok: every byte is as it was signed.
        message: one sentence; when not ``ok`` it names the first bad file.
        fingerprint: of the key that was checked against; empty when none was found.
        trusted: the key was given, not taken from the export itself.
        files: how many files were found to be right.
        manifest: what was signed; empty when the signature is wrong.
    """

    ok: bool
    message: str
    fingerprint: str
    trusted: bool
    files: int
    manifest: dict[str, Any]


class _Bad(Exception):
    """Something is wrong; the message is the report's sentence."""


class _Place(Protocol):
    """Where an export lies."""

    def names(self) -> set[str]: ...
    def open(self, name: str) -> Any: ...


def fingerprint(public_key: bytes) -> str:
    """The SHA-256 of a raw public key in groups of four, to be read aloud or compared."""
    digest = hashlib.sha256(public_key).hexdigest()
    return " ".join(digest[at : at + 4] for at in range(0, len(digest), 4))


def to_pem(public_key: bytes) -> bytes:
    """A raw Ed25519 public key as a PEM file."""
    key = Ed25519PublicKey.from_public_bytes(public_key)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def read_key(data: bytes) -> bytes:
    """A raw Ed25519 public key (32 bytes) from PEM, 64 hexadecimal digits, or raw bytes.

    Raises:
        InvalidInput: it is none of these.
    """
    if len(data) == RAW_KEY_BYTES:
        return data
    if _HEX_KEY.fullmatch(data):
        return bytes.fromhex(data.decode())
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidInput("This is not a public key that can be read.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidInput("The public key is not an Ed25519 key.")
    return key.public_bytes_raw()


def verify_export(path: Path | BinaryIO, *, public_key: bytes | None = None) -> Report:
    """Checks signature and files of an export.

    Args:
        path: a folder, a ZIP, or an open ZIP that can be sought.
        public_key: raw, PEM or hex. Without it the key that lies in the export is used, which
            proves only that the export fits itself: compare the fingerprint with the sender's.

    Returns:
        What was found; a bad export is a report, not an error.

    Raises:
        InvalidInput: ``public_key`` cannot be read.
    """
    trusted = public_key is not None
    raw = read_key(public_key) if public_key is not None else b""
    manifest: dict[str, Any] = {}
    files = 0
    try:
        with _open(path) as place:
            names = place.names()
            raw = raw or _own_key(place, names)
            manifest = _signed_manifest(place, names, raw)
            for _name in _check_files(place, names, manifest["files"]):
                files += 1
    except _Bad as error:
        return Report(
            ok=False,
            message=str(error),
            fingerprint=fingerprint(raw) if raw else "",
            trusted=trusted,
            files=files,
            manifest=manifest,
        )
    end = "." if trusted else ", by the key in the export itself: compare its fingerprint."
    message = f"The signature and all {files} files are right{end}"
    return Report(
        ok=True,
        message=message,
        fingerprint=fingerprint(raw),
        trusted=trusted,
        files=files,
        manifest=manifest,
    )


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> set[str]:
        found = set()
        for path in sorted(self._root.rglob("*")):
            name = path.relative_to(self._root).as_posix()
            if path.is_symlink():
                raise _Bad(f"{name} is a link; an export holds plain files only.")
            if not path.is_dir():
                if not path.is_file():
                    raise _Bad(f"{name} is not a plain file.")
                found.add(name)
        return found

    def open(self, name: str) -> IO[bytes]:
        return (self._root / name).open("rb")


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def names(self) -> set[str]:
        found: set[str] = set()
        for info in self._archive.infolist():
            if info.is_dir():
                continue
            _check_name(info.filename)
            if info.filename in found:
                raise _Bad(f"{info.filename} is in the archive twice.")
            found.add(info.filename)
        return found

    def open(self, name: str) -> IO[bytes]:
        return self._archive.open(name)


@contextmanager
def _open(path: Path | BinaryIO) -> Iterator[_Place]:
    try:
        if isinstance(path, Path) and path.is_dir():
            yield _Folder(path)
        elif isinstance(path, Path) and not path.exists():
            raise _Bad("There is no export at this place.")
        else:
            with zipfile.ZipFile(path) as archive:
                yield _Zip(archive)
    except zipfile.BadZipFile as error:
        raise _Bad("This is neither a folder nor a whole ZIP archive.") from error
    except (OSError, NotImplementedError, RuntimeError, EOFError) as error:
        raise _Bad("The export cannot be read.") from error


def _check_name(name: str) -> None:
    """Refuses a path that would leave the folder."""
    if not _PLAIN.fullmatch(name) or {".", ".."} & set(name.split("/")) or ":" in name:
        raise _Bad(f"'{name[:80]}' is not a path that an export may hold.")


def _read(place: _Place, names: set[str], name: str, limit: int) -> bytes:
    if name not in names:
        raise _Bad(f"{name} is missing; this is not a whole export.")
    try:
        with place.open(name) as file:
            data: bytes = file.read(limit + 1)
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, zlib.error) as error:
        raise _Bad(f"{name} cannot be read.") from error
    if len(data) > limit:
        raise _Bad(f"{name} is too large.")
    return data


def _own_key(place: _Place, names: set[str]) -> bytes:
    try:
        return read_key(_read(place, names, KEY, SMALL))
    except InvalidInput as error:
        raise _Bad(f"{KEY} cannot be read as a public key.") from error


def _signed_manifest(place: _Place, names: set[str], key: bytes) -> dict[str, Any]:
    data = _read(place, names, MANIFEST, MAX_MANIFEST)
    sealed = _read(place, names, SIGNATURE, SMALL)
    try:
        signature = base64.b64decode(sealed.strip(), validate=True)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise _Bad(f"{MANIFEST} was changed or signed by another key.") from error
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _Bad(f"{MANIFEST} is not valid JSON.") from error
    _check_shape(manifest)
    return dict(manifest)


def _check_shape(manifest: Any) -> None:
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise _Bad(f"{MANIFEST} does not describe an export of Annotator.")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise _Bad(f"{MANIFEST} has a format that this version does not know.")
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(_is_entry(entry) for entry in files.values()):
        raise _Bad(f"{MANIFEST} has no valid list of files.")


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("sha256"), str)
        and isinstance(entry.get("bytes"), int)
    )


def _check_files(place: _Place, names: set[str], files: dict[str, dict[str, Any]]) -> Iterator[str]:
    for name in sorted(files.keys() | (names - {MANIFEST, SIGNATURE})):
        _check_name(name)
        if name not in names:
            raise _Bad(f"{name} is missing; this is not a whole export.")
        if name not in files:
            raise _Bad(f"{name} does not belong to the export.")
        if _digest(place, name, files[name]["bytes"]) != files[name]["sha256"]:
            raise _Bad(f"{name} was changed.")
        yield name


def _digest(place: _Place, name: str, size: int) -> str:
    """SHA-256 of a file; reads one piece more than it should have and no further."""
    digest, seen = hashlib.sha256(), 0
    try:
        with place.open(name) as file:
            while seen <= size and (piece := file.read(PIECE)):
                digest.update(piece)
                seen += len(piece)
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, zlib.error) as error:
        raise _Bad(f"{name} cannot be read.") from error
    return digest.hexdigest() if seen == size else ""
