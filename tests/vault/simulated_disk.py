"""A disk in memory that crashes: what was not synced may be gone, torn or out of order.

Every call of ``annotator.vault.files.Disk`` is answered from memory, so that a whole operation can
be stopped at each of its calls, and looked at in every state in which a real disk might wake up::

    disk = SimulatedDisk()
    vault, _ = create_vault(FOLDER, key_file=KEY_FILE, disk=disk)
    for crash in crash_points(disk, lambda d: rotate(open_vault(FOLDER, ..., disk=d))):
        for woken in crash.wakings():           # a fresh, healthy SimulatedDisk each
            check(open_vault(FOLDER, ..., disk=woken), acknowledged=crash.answered)

What may happen to a thing that was not synced (after Pillai et al., OSDI 2014, and POSIX):

* A write to a file is dropped, is there by half, or whole, each write for itself and in any order;
  a hole reads as zeros; the file may have its full length with nothing but zeros in it.
* A change of a folder (create, rename, remove, make a folder) is there or not, each for itself and
  in any order. A rename is one change: it never leaves both names or neither.
* ``fsync`` makes a file's bytes durable but not its name; ``fsync_folder`` makes names durable.

For a sequence with other stores in it (a database), set ``crash_at`` yourself, run it until
``Crash`` is raised, and take ``disk.wakings()``; or run it once to its end and take them in
``before_call``, which is called before each call: what would be left if the power went there.
After a ``Crash`` every call raises it again, as nothing works without power; ``Crash`` is no
``Exception``, so no handler of errors swallows it. ``fail_at`` makes one call raise an ``OSError``
instead; a failed ``fsync`` then loses the bytes for good, though they can still be read and the
next ``fsync`` says that all is well, as Linux does.
"""

import errno
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from annotator.vault.files import Disk

FOLDER = Path("/simulated")
KEY_FILE = FOLDER / "key-file"


class Crash(BaseException):
    """The power is gone."""


@dataclass(eq=False)
class _File:
    """One file: what a reader sees, what is durable, and the writes in between."""

    number: int
    changed: float
    seen: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    # Offset and bytes; a truncation is (-1, nothing).
    unsynced: list[tuple[int, bytes]] = field(default_factory=list)
    mode: int = 0o600
    lock: threading.Lock = field(default_factory=threading.Lock)

    def contents(self) -> set[bytes]:
        """Everything that may be found in it after a crash."""
        if not self.unsynced:
            return {self.durable}
        found = {self.durable}
        for fates in itertools.product((0, 1, 2), repeat=len(self.unsynced)):
            content, length = bytearray(self.durable), len(self.durable)
            for (offset, data), fate in zip(self.unsynced, fates, strict=True):
                if offset < 0:
                    if fate:
                        content.clear()
                    length = 0
                    continue
                length = max(length, offset + len(data))
                part = data[: len(data) * fate // 2]
                if part:
                    content.extend(bytes(max(0, offset - len(content))))
                    content[offset : offset + len(part)] = part
            found.add(bytes(content))
            found.add(bytes(content) + bytes(max(0, length - len(content))))
        return found


@dataclass(eq=False)
class _Folder:
    """One folder: the names that are seen, those that are durable, and the changes in between."""

    number: int
    changed: float
    seen: dict[str, "_Node"] = field(default_factory=dict)
    durable: dict[str, "_Node"] = field(default_factory=dict)
    unsynced: list[Mapping[str, "_Node | None"]] = field(default_factory=list)

    def change(self, names: Mapping[str, "_Node | None"]) -> None:
        _apply(self.seen, names)
        self.unsynced.append(names)

    def names(self) -> Iterator[dict[str, "_Node"]]:
        """All sets of names that may be found in it after a crash."""
        for fates in itertools.product((False, True), repeat=len(self.unsynced)):
            found = dict(self.durable)
            for names, kept in zip(self.unsynced, fates, strict=True):
                if kept:
                    _apply(found, names)
            yield found


_Node = _File | _Folder


def _apply(names: dict[str, _Node], change: Mapping[str, _Node | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


class SimulatedDisk(Disk):
    """See the module.

    Args:
        root: a folder that is there; all paths lie below it.
        clock: seconds since 1970, for times of change.
    """

    def __init__(self, root: Path = FOLDER, clock: Callable[[], float] = time.time) -> None:
        self.calls: list[tuple[str, str]] = []
        self.crash_at: int | None = None
        self.fail_at: int | None = None
        self.error = errno.EIO
        self.lost_power = False
        self.before_call: Callable[[], None] | None = None
        self._root, self._clock = root, clock
        self._numbers = itertools.count(2)
        self._descriptors: dict[int, _File] = {}
        self._free = itertools.count(3)
        self._top = _Folder(1, clock())
        self._guard = threading.RLock()

    def restart_counting(self, *, crash_at: int | None = None, fail_at: int | None = None) -> None:
        """Forgets the calls so far; call number ``crash_at`` (or ``fail_at``) will not happen."""
        self.calls, self.crash_at, self.fail_at = [], crash_at, fail_at

    # What a crash leaves

    def wakings(self) -> Iterator["SimulatedDisk"]:
        """A healthy disk for every state in which this one may be found after a crash now."""
        for top in self._variants(self._top):
            woken = SimulatedDisk(self._root, self._clock)
            woken._top = _copy_folder(top)  # variants share what is alike in them
            woken._numbers = itertools.count(next(self._numbers) + 1_000_000)
            yield woken

    def files(self) -> dict[Path, bytes]:
        """Every file that has a name, as a reader sees it."""
        return dict(_walk(self._root, self._top))

    def _variants(self, folder: _Folder) -> list[_Folder]:
        """Durable copies of a folder and all below it, one for each state, none twice."""
        found: dict[object, _Folder] = {}
        for names in folder.names():
            ways = [self._node_variants(node) for node in names.values()]
            for chosen in itertools.product(*ways):
                kept = dict(zip(names, (node for node, _ in chosen), strict=True))
                state = tuple(sorted(zip(names, (s for _, s in chosen), strict=True), key=_first))
                found[state] = _Folder(folder.number, folder.changed, dict(kept), dict(kept))
        return list(found.values())

    def _node_variants(self, node: _Node) -> list[tuple[_Node, object]]:
        if isinstance(node, _Folder):
            return [(each, _describe(each)) for each in self._variants(node)]
        return [
            (_File(node.number, node.changed, bytearray(c), c, mode=node.mode), c)
            for c in node.contents()
        ]

    # The calls

    def create(self, path: Path) -> int:
        with self._call("create", path):
            folder, name = self._place(path)
            found = folder.seen.get(name)
            if found is None:
                found = _File(next(self._numbers), self._clock())
                folder.change({name: found})
            elif isinstance(found, _Folder):
                raise _error(errno.EISDIR, path)
            elif found.seen:
                found.seen.clear()
                found.unsynced.append((-1, b""))
            return self._open(found)

    def open(self, path: Path) -> int:
        with self._call("open", path):
            return self._open(self._file(path))

    def read_at(self, descriptor: int, count: int, offset: int) -> bytes:
        with self._call("read_at", descriptor):
            return bytes(self._opened(descriptor).seen[offset : offset + count])

    def read_into(self, descriptor: int, buffer: memoryview, offset: int) -> int:
        with self._call("read_into", descriptor):
            part = self._opened(descriptor).seen[offset : offset + len(buffer)]
            buffer[: len(part)] = part
            return len(part)

    def size(self, descriptor: int) -> int:
        with self._call("size", descriptor):
            return len(self._opened(descriptor).seen)

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        with self._call("write", descriptor):
            file, raw = self._opened(descriptor), bytes(data)
            file.unsynced.append((len(file.seen), raw))
            file.seen += raw
            file.changed = self._clock()
            return len(raw)

    def fsync(self, descriptor: int) -> None:
        file = self._opened(descriptor)
        with self._call("fsync", descriptor, on_failure=file.unsynced.clear):
            if file.unsynced:
                file.durable, file.unsynced = bytes(file.seen), []

    def close(self, descriptor: int) -> None:
        file = self._opened(descriptor)

        def let_go() -> None:
            del self._descriptors[descriptor]
            if file.lock.locked():
                file.lock.release()

        with self._call("close", descriptor, on_failure=let_go):
            let_go()

    def replace(self, source: Path, target: Path) -> None:
        with self._call("replace", source):
            folder, name = self._place(source)
            into, new_name = self._place(target)
            assert into is folder, "the simulation knows renames within one folder only"
            folder.change({name: None, new_name: self._file(source)})

    def remove(self, path: Path) -> None:
        with self._call("remove", path):
            folder, name = self._place(path)
            self._file(path)
            folder.change({name: None})

    def make_folder(self, path: Path) -> None:
        with self._call("make_folder", path):
            folder, name = self._place(path)
            if name in folder.seen:
                raise _error(errno.EEXIST, path)
            folder.change({name: _Folder(next(self._numbers), self._clock())})

    def fsync_folder(self, path: Path) -> None:
        with self._call("fsync_folder", path):
            folder = self._folder(path)
            folder.durable, folder.unsynced = dict(folder.seen), []

    def scan(self, path: Path) -> list[tuple[str, float]]:
        with self._call("scan", path):
            return [(name, node.changed) for name, node in self._folder(path).seen.items()]

    def identify(self, path: Path) -> tuple[int, int, int]:
        with self._call("identify", path):
            folder, name = self._place(path)
            node = folder.seen.get(name)
            if node is None:
                raise _error(errno.ENOENT, path)
            size = len(node.seen) if isinstance(node, _File) else 0
            return node.number, int(node.changed * 1e9), size

    def permissions(self, path: Path) -> int:
        with self._call("permissions", path):
            return self._file(path).mode

    def lock(self, path: Path) -> int:
        with self._call("lock", path):
            folder, name = self._place(path)
            if name not in folder.seen:
                folder.change({name: _File(next(self._numbers), self._clock())})
            file = self._file(path)
            descriptor = self._open(file)
        file.lock.acquire()
        return descriptor

    # Inside

    @contextmanager
    def _call(
        self, name: str, on: object, on_failure: Callable[[], None] | None = None
    ) -> Iterator[None]:
        """Counts a call; stops here when this is the one."""
        with self._guard:
            if self.before_call is not None:
                self.before_call()
            number = len(self.calls)
            self.calls.append((name, str(on)))
            if self.lost_power or number == self.crash_at:
                self.lost_power = True
                raise Crash
            if number == self.fail_at:
                if on_failure is not None:
                    on_failure()
                raise OSError(self.error, os.strerror(self.error))
            yield

    def _open(self, file: _File) -> int:
        descriptor = next(self._free)
        self._descriptors[descriptor] = file
        return descriptor

    def _opened(self, descriptor: int) -> _File:
        if descriptor not in self._descriptors:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._descriptors[descriptor]

    def _file(self, path: Path) -> _File:
        folder, name = self._place(path)
        found = folder.seen.get(name)
        if not isinstance(found, _File):
            raise _error(errno.ENOENT if found is None else errno.EISDIR, path)
        return found

    def _folder(self, path: Path) -> _Folder:
        if path == self._root.parent:
            return _Folder(0, 0.0, {self._root.name: self._top})
        folder = self._top
        for part in path.relative_to(self._root).parts:
            found = folder.seen.get(part)
            if not isinstance(found, _Folder):
                raise _error(errno.ENOENT if found is None else errno.ENOTDIR, path)
            folder = found
        return folder

    def _place(self, path: Path) -> tuple[_Folder, str]:
        return self._folder(path.parent), path.name


@dataclass(frozen=True)
class CrashPoint:
    """An operation that was stopped.

    Attributes:
        disk: as it was when the power went.
        call: the call that did not happen, by name; empty when all happened.
        answered: what the operation answered, in a list; empty when it did not come to that.
    """

    disk: SimulatedDisk
    call: str
    answered: list[object]

    def wakings(self) -> Iterator[SimulatedDisk]:
        """See ``SimulatedDisk.wakings``."""
        return self.disk.wakings()


def crash_points(
    disk: SimulatedDisk, operation: Callable[[SimulatedDisk], object]
) -> Iterator[CrashPoint]:
    """Runs an operation again and again, on a copy of the disk, stopped at each call in turn.

    The last point is the one after the answer. Everything on ``disk`` counts as synced.
    """
    for number in itertools.count():
        copy = _copy(disk)
        copy.restart_counting(crash_at=number)
        answered: list[object] = []
        try:
            answered.append(operation(copy))
        except Crash:
            yield CrashPoint(copy, copy.calls[number][0], answered)
        else:
            yield CrashPoint(copy, "", answered)
            return


def failure_points(
    disk: SimulatedDisk, operation: Callable[[SimulatedDisk], object], error: int
) -> Iterator[tuple[SimulatedDisk, str, BaseException | None]]:
    """As ``crash_points``, but each call in turn answers an error instead; the last one none.

    Yields:
        The disk, the name of the call, and what the operation raised.
    """
    for number in itertools.count():
        copy = _copy(disk)
        copy.error = error
        copy.restart_counting(fail_at=number)
        caught: BaseException | None = None
        try:
            operation(copy)
        except Exception as raised:  # noqa: BLE001  the caller looks at it
            caught = raised
        reached = len(copy.calls) > number
        yield copy, copy.calls[number][0] if reached else "", caught
        if not reached:
            return


def _copy(disk: SimulatedDisk) -> SimulatedDisk:
    whole = SimulatedDisk(disk._root, disk._clock)
    whole._top = _copy_folder(disk._top)
    whole._numbers = itertools.count(next(disk._numbers) + 1_000_000)
    return whole


def _copy_folder(folder: _Folder) -> _Folder:
    names: dict[str, _Node] = {}
    for name, node in folder.seen.items():
        if isinstance(node, _Folder):
            names[name] = _copy_folder(node)
        else:
            content = bytes(node.seen)
            names[name] = _File(
                node.number, node.changed, bytearray(content), content, mode=node.mode
            )
    return _Folder(folder.number, folder.changed, dict(names), dict(names))


def _walk(path: Path, folder: _Folder) -> Iterator[tuple[Path, bytes]]:
    for name, node in folder.seen.items():
        if isinstance(node, _Folder):
            yield from _walk(path / name, node)
        else:
            yield path / name, bytes(node.seen)


def _describe(folder: _Folder) -> tuple[object, ...]:
    """Names and bytes below a folder, to tell states apart."""
    return tuple(
        (name, _describe(node) if isinstance(node, _Folder) else bytes(node.seen))
        for name, node in sorted(folder.seen.items())
    )


def _first(pair: tuple[str, object]) -> str:
    return pair[0]


def _error(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))
