"""Merkle trees: the hashes of RFC 6962, proofs and their checks after RFC 9162, section 2.1.

Bytes in, bytes out. A node is named by its level (0 for leaves) and its number on that level; it
stands for the ``2**level`` entries from ``number << level`` on. What computes proofs asks a
``Source`` for nodes, so that it does not matter whether they are stored or computed.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from annotator.core.errors import InvalidInput, Tampered

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

Source = Callable[[int, int], bytes]  # level and number of a whole node to its hash


class Node(NamedTuple):
    """One whole node: all of its ``2**level`` entries are in the tree."""

    level: int
    number: int
    hash: bytes


def hash_leaf(entry: bytes) -> bytes:
    """The hash of an entry, 32 bytes (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def hash_children(left: bytes, right: bytes) -> bytes:
    """The hash of a node over its two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a tree: all that is needed to append in O(log n) and to know the root.

    Args:
        size: number of entries.
        data: one hash per set bit of ``size``, the largest whole node first, concatenated.

    Raises:
        Tampered: the number of hashes does not fit the size.
    """

    def __init__(self, size: int = 0, data: bytes = b"") -> None:
        if size < 0 or len(data) != size.bit_count() * HASH_BYTES:
            raise Tampered("The log's frontier does not fit its size.")
        self.size = size
        self._hashes = [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]

    @property
    def data(self) -> bytes:
        """The hashes, concatenated, to be stored."""
        return b"".join(self._hashes)

    @property
    def root(self) -> bytes:
        """The root of the tree, 32 bytes."""
        if not self._hashes:
            return EMPTY_ROOT
        root = self._hashes[-1]
        for left in reversed(self._hashes[:-1]):
            root = hash_children(left, root)
        return root

    def append(self, leaf: bytes) -> list[Node]:
        """Adds a leaf hash; answers the nodes that it made whole, the leaf itself first."""
        index, level = self.size, 0
        node = Node(level, index, leaf)
        made = [node]
        while index >> level & 1:
            level += 1
            node = Node(level, index >> level, hash_children(self._hashes.pop(), node.hash))
            made.append(node)
        self._hashes.append(node.hash)
        self.size += 1
        return made


def compute_root(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root


def source_of(leaves: Sequence[bytes]) -> Source:
    """A source of nodes over leaf hashes in memory."""

    def node(level: int, number: int) -> bytes:
        start = number << level
        return compute_root(leaves[start : start + (1 << level)])

    return node


def prove_inclusion(*, index: int, size: int, source: Source) -> list[bytes]:
    """The audit path of an entry in the tree of the first ``size`` entries.

    Raises:
        InvalidInput: there is no such entry in such a tree.
    """
    if not 0 <= index < size:
        raise InvalidInput("There is no such entry in a tree of this size.")
    path, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_hash_range(middle, end, source))
            end = middle
        else:
            path.append(_hash_range(start, middle, source))
            start = middle
    return path[::-1]


def prove_consistency(*, old: int, size: int, source: Source) -> list[bytes]:
    """Shows that the tree of ``size`` entries begins with the tree of ``old`` entries.

    Raises:
        InvalidInput: the old tree is larger.
    """
    if not 0 <= old <= size:
        raise InvalidInput("A smaller tree cannot follow from a larger one.")
    if old in {0, size}:
        return []
    path, start, end, whole = [], 0, size, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_hash_range(middle, end, source))
            end = middle
        else:
            path.append(_hash_range(start, middle, source))
            start, whole = middle, False
    if not whole:
        path.append(_hash_range(start, end, source))
    return path[::-1]


def root_at(*, size: int, source: Source) -> bytes:
    """The root of the tree of the first ``size`` entries."""
    return _hash_range(0, size, source) if size else EMPTY_ROOT


def check_inclusion(
    *, leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether a leaf hash is at an index of the tree with this size and root.

    The way of RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size or not _are_hashes(leaf, root, *proof):
        return False
    here, last, found = index, size - 1, leaf
    for item in proof:
        if last == 0:
            return False
        if here & 1 or here == last:
            found = hash_children(item, found)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            found = hash_children(found, item)
        here, last = here >> 1, last >> 1
    return last == 0 and hmac.compare_digest(found, root)


def check_consistency(
    *, old: int, size: int, old_root: bytes, root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether a tree begins with an older one that is not empty (RFC 9162, section 2.1.4.2)."""
    if not 0 < old <= size:
        return False
    if old == size:
        return not proof and hmac.compare_digest(old_root, root)
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not proof or not _are_hashes(old_root, root, *proof):
        return False
    return _fold_consistency(path, old - 1, size - 1) == (old_root, root)


def _fold_consistency(path: Sequence[bytes], here: int, last: int) -> tuple[bytes, bytes] | None:
    """Both roots that a path leads to; ``None`` when its length does not fit."""
    while here & 1:
        here, last = here >> 1, last >> 1
    old = new = path[0]
    for item in path[1:]:
        if last == 0:
            return None
        if here & 1 or here == last:
            old, new = hash_children(item, old), hash_children(item, new)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            new = hash_children(new, item)
        here, last = here >> 1, last >> 1
    return (old, new) if last == 0 else None


def _are_hashes(*items: bytes) -> bool:
    return all(len(item) == HASH_BYTES for item in items)


def _split(count: int) -> int:
    """The largest power of two below a count above one."""
    return 1 << (count - 1).bit_length() - 1


def _hash_range(start: int, end: int, source: Source) -> bytes:
    """The hash over the entries from ``start`` to before ``end``, as RFC 6962 divides them."""
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return source(level, start >> level)
    middle = start + _split(count)
    return hash_children(_hash_range(start, middle, source), _hash_range(middle, end, source))
