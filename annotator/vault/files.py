"""The one door to the file system: every file operation of the vault goes through a ``Disk``.

A test hands in a ``Disk`` whose calls fail, tear or forget, and so proves what happens at each of
them. ``Disk`` raises ``OSError`` as it comes; the functions below it turn that into the errors of
``annotator.core`` and keep the order that makes a write durable.

A failed fsync is never tried again: the kernel may have dropped the pages that it could not write,
and would say yes the next time. Nor does the process write on: what it believes to be on the disk
may not be there. Its ``Disk`` is ``broken`` from then on and refuses every write until a restart.
"""

import errno
import fcntl
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Self

from annotator.core.errors import (
    AnnotatorError,
    NotFound,
    StorageFailed,
    StorageFull,
    SyncFailed,
)

log = logging.getLogger(__name__)
TEMPORARY = "tmp-"
_FULL = {errno.ENOSPC, errno.EDQUOT}
# What open says and fsync never does.
_NOT_OPENED = {errno.ENOENT, errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ENOTDIR}


class Disk:
    """The system calls themselves, one a method; each may raise ``OSError``.

    Attributes:
        broken: an fsync failed in this process; nothing may be written any more.
    """

    broken = False

    def create(self, path: Path) -> int:
        """Opens an empty file for writing that only its owner may read; answers a descriptor."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path, flags, 0o600)

    def open(self, path: Path) -> int:
        """Opens for reading; answers a descriptor."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def read_at(self, descriptor: int, count: int, offset: int) -> bytes:
        """Reads up to ``count`` bytes."""
        return os.pread(descriptor, count, offset)

    def read_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
        """Reads up to as many bytes as the buffer holds, without a copy; answers how many."""
        return os.preadv(descriptor, [buffer], offset)

    def size(self, descriptor: int) -> int:
        """How many bytes an open file has."""
        return os.fstat(descriptor).st_size

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """Writes some of the bytes; answers how many."""
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        """Makes a file's bytes durable."""
        os.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        """Closes."""
        os.close(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        """Renames at once, over an existing target."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Removes a file."""
        path.unlink()

    def make_folder(self, path: Path) -> None:
        """Makes one folder that only its owner may enter."""
        path.mkdir(mode=0o700)

    def fsync_folder(self, path: Path) -> None:
        """Makes a folder's entries durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def scan(self, path: Path) -> list[tuple[str, float]]:
        """Name and time of last change (seconds since 1970) of everything in a folder."""
        with os.scandir(path) as entries:
            return [(entry.name, entry.stat(follow_symlinks=False).st_mtime) for entry in entries]

    def identify(self, path: Path) -> tuple[int, int, int]:
        """Inode, change time in nanoseconds and size: differ when the file was replaced."""
        found = os.stat(path)  # noqa: PTH116  a third of the time of Path.stat, on every key's use
        return found.st_ino, found.st_mtime_ns, found.st_size

    def permissions(self, path: Path) -> int:
        """The permission bits."""
        return path.stat().st_mode & 0o777

    def lock(self, path: Path) -> int:
        """Waits for a lock between threads and processes; closing the descriptor frees it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return descriptor


@contextmanager
def storage_errors(*, missing: type[AnnotatorError] = StorageFailed) -> Iterator[None]:
    """Turns ``OSError`` into the error that says what it means for the user.

    Args:
        missing: what to raise for a file or folder that is not there.

    Raises:
        StorageFull: no space or no quota is left.
        StorageFailed: anything else.
    """
    try:
        yield
    except OSError as error:
        raise _explain(error, missing) from error


def _explain(error: OSError, missing: type[AnnotatorError] = StorageFailed) -> type[AnnotatorError]:
    if isinstance(error, FileNotFoundError):
        return missing
    return StorageFull if error.errno in _FULL else StorageFailed


def _refuse_broken(disk: Disk) -> None:
    if disk.broken:
        raise SyncFailed


def _sync(disk: Disk, path: Path, sync: Callable[[], None]) -> None:
    """The one place where an fsync happens and where its failure is noticed."""
    try:
        sync()
    except OSError as error:
        if error.errno in _NOT_OPENED:
            raise  # the folder could not be opened, so nothing was lost
        disk.broken = True
        log.critical("an fsync failed (%s) in %s: nothing more is written", error, path.parent)
        raise SyncFailed from error


def write_durably(disk: Disk, path: Path, pieces: Iterable[bytes]) -> None:
    """Writes a file that is either wholly there, and stays there, or not there at all.

    Temporary file in the same folder, write, fsync, rename, fsync of the folder.

    Raises:
        SyncFailed: this or an earlier fsync failed.
        StorageFull, StorageFailed: the temporary file is gone again. When the last step failed,
            the file may have been replaced; the caller must not say that it was.
    """
    _refuse_broken(disk)
    temporary = path.with_name(TEMPORARY + path.name)
    with storage_errors():
        try:
            descriptor = disk.create(temporary)
            try:
                for piece in pieces:
                    _write_all(disk, descriptor, piece)
                _sync(disk, path, partial(disk.fsync, descriptor))
            finally:
                disk.close(descriptor)
            disk.replace(temporary, path)
        except BaseException:
            remove_quietly(disk, temporary)
            raise
        _sync(disk, path, partial(disk.fsync_folder, path.parent))


def write_new(disk: Disk, path: Path, pieces: Iterable[bytes]) -> None:
    """As ``write_durably``, for a name that nobody knows yet: when it raises, nothing is left.

    Raises:
        StorageFull, StorageFailed: nothing was written.
    """
    try:
        write_durably(disk, path, pieces)
    except BaseException:
        # Renamed, but perhaps not durably, or the caller was stopped.
        remove_quietly(disk, path)
        raise


def remove_quietly(disk: Disk, path: Path) -> None:
    """Removes what a failed step left, as far as the disk lets us."""
    with suppress(OSError):
        disk.remove(path)


def remove_durably(disk: Disk, path: Path) -> None:
    """Removes a file so that it stays away.

    Raises:
        NotFound: there is none, nor a folder for it.
        SyncFailed, StorageFull, StorageFailed: it may still be there, or come back.
    """
    _refuse_broken(disk)
    with storage_errors(missing=NotFound):
        # One that is gone may be so only until the power fails: the folder is synced either way.
        with suppress(FileNotFoundError):
            disk.remove(path)
        _sync(disk, path, partial(disk.fsync_folder, path.parent))


def _write_all(disk: Disk, descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[disk.write(descriptor, rest) :]


def read_pieces(disk: Disk, path: Path, *, first: int, size: int) -> Iterator[bytes]:
    """Reads a file from its beginning: a piece of ``first`` bytes, then pieces of ``size``.

    Raises:
        NotFound: there is no such file.
        StorageFailed: it cannot be read.
    """
    with storage_errors(missing=NotFound):
        descriptor = disk.open(path)
        try:
            offset, count = 0, first
            while piece := disk.read_at(descriptor, count, offset):
                yield piece
                offset += len(piece)
                count = size
        finally:
            disk.close(descriptor)


class OpenFile:
    """A file that is being read, by one thread; closed at the end of a ``with``.

    Raises:
        NotFound: there is no such file.
        StorageFailed: it cannot be read.
    """

    __slots__ = ("_descriptor", "_disk", "size")

    def __init__(self, disk: Disk, path: Path) -> None:
        self._disk = disk
        try:
            self._descriptor = disk.open(path)
        except OSError as error:
            raise _explain(error, NotFound) from error
        try:
            self.size = disk.size(self._descriptor)
        except OSError as error:
            self.__exit__()
            raise _explain(error) from error

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fills the buffer from an offset; fewer bytes at the end of the file. Answers how many."""
        done = 0
        try:
            while done < len(buffer) and (
                got := self._disk.read_into(self._descriptor, buffer[done:], offset + done)
            ):
                done += got
        except OSError as error:
            raise _explain(error) from error
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # nothing was written, so nothing is lost
            self._disk.close(self._descriptor)


def copy_file(source: Path, target: Path, *, disk: Disk | None = None) -> None:
    """Copies a file durably; only its owner may read the copy.

    Raises:
        NotFound: there is no such file.
        StorageFull, StorageFailed: nothing was written.
    """
    disk = disk or Disk()
    write_durably(disk, target, read_pieces(disk, source, first=1 << 20, size=1 << 20))


def make_folders(disk: Disk, path: Path) -> None:
    """Makes a folder and those above it, durably; one that is there is made durable as well.

    Another process may have made it a moment ago and not yet written it down, so existing is not
    enough.
    """
    _refuse_broken(disk)
    with storage_errors():
        try:
            disk.make_folder(path)
        except FileExistsError:
            pass
        except FileNotFoundError:
            make_folders(disk, path.parent)
            disk.make_folder(path)
        _sync(disk, path, partial(disk.fsync_folder, path.parent))


@contextmanager
def hold(disk: Disk, path: Path) -> Iterator[None]:
    """Holds a lock file's lock; it ends with the process that held it, whatever happens."""
    with storage_errors():
        descriptor = disk.lock(path)
    try:
        yield
    finally:
        with suppress(OSError):  # the descriptor is gone and the lock with it, whatever it says
            disk.close(descriptor)


def exists(disk: Disk, path: Path) -> bool:
    """Tells whether there is something under a name."""
    try:
        with storage_errors(missing=NotFound):
            disk.identify(path)
    except NotFound:
        return False
    return True
