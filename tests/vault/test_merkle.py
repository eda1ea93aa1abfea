"""Trees against published vectors, and against a definition that is only slow."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from annotator.core.errors import InvalidInput, Tampered
from annotator.vault import merkle

LEAVES = [merkle.hash_leaf(bytes([number])) for number in range(70)]


def slow_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1, word by word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\1" + slow_root(leaves[:half]) + slow_root(leaves[half:])).digest()


def read_vectors(kind: str) -> list[dict[str, Any]]:
    folder = os.environ.get("ANNOTATOR_TEST_VECTORS")
    if not folder:
        pytest.skip("no test vectors: ANNOTATOR_TEST_VECTORS is not set")
    return [json.loads(path.read_text()) for path in Path(folder, "merkle", kind).rglob("*.json")]


def read_hash(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def test_inclusion_vectors() -> None:
    vectors = read_vectors("inclusion")
    for vector in vectors:
        found = merkle.check_inclusion(
            leaf=read_hash(vector["leafHash"]),
            index=vector["leafIdx"],
            size=vector["treeSize"],
            root=read_hash(vector["root"]),
            proof=[read_hash(item) for item in vector["proof"] or []],
        )
        assert found is not vector["wantErr"], vector
    assert len(vectors) == 98
    assert 0 < sum(vector["wantErr"] for vector in vectors) < 98


def test_consistency_vectors() -> None:
    vectors = read_vectors("consistency")
    for vector in vectors:
        found = merkle.check_consistency(
            old=vector["size1"],
            size=vector["size2"],
            old_root=read_hash(vector["root1"]),
            root=read_hash(vector["root2"]),
            proof=[read_hash(item) for item in vector["proof"] or []],
        )
        assert found is not vector["wantErr"], vector
    assert len(vectors) == 98
    assert 0 < sum(vector["wantErr"] for vector in vectors) < 98


def test_a_frontier_knows_the_root_of_every_size() -> None:
    frontier = merkle.Frontier()
    for size, leaf in enumerate(LEAVES):
        assert frontier.root == slow_root(LEAVES[:size])
        frontier = merkle.Frontier(frontier.size, frontier.data)  # stored and read again
        nodes = frontier.append(leaf)
        for node in nodes:
            start = node.number << node.level
            assert node.hash == slow_root(LEAVES[start : start + (1 << node.level)])
        assert len(nodes) == (size ^ (size + 1)).bit_length()


def test_a_frontier_that_does_not_fit_its_size_is_refused() -> None:
    for size, data in ((1, b""), (0, LEAVES[0]), (3, LEAVES[0]), (-1, b""), (1, LEAVES[0] + b"x")):
        with pytest.raises(Tampered):
            merkle.Frontier(size, data)


def test_every_entry_is_proven_in_every_tree_and_nowhere_else() -> None:
    for size in range(1, 20):
        leaves, root = LEAVES[:size], slow_root(LEAVES[:size])
        for index in range(size):
            proof = merkle.prove_inclusion(index=index, size=size, source=merkle.source_of(leaves))
            fits = [
                (leaf, at)
                for leaf in range(size)
                for at in range(size)
                if merkle.check_inclusion(
                    leaf=leaves[leaf], index=at, size=size, root=root, proof=proof
                )
            ]
            assert fits == [(index, index)]


def test_every_tree_follows_from_every_smaller_one() -> None:
    roots = [slow_root(LEAVES[:size]) for size in range(40)]
    for size in range(40):
        source = merkle.source_of(LEAVES[:size])
        assert merkle.root_at(size=size, source=source) == roots[size]
        for old in range(1, size + 1):
            proof = merkle.prove_consistency(old=old, size=size, source=source)
            same = {"old": old, "size": size, "old_root": roots[old], "root": roots[size]}
            assert merkle.check_consistency(**same, proof=proof)
            assert not merkle.check_consistency(**same, proof=[*proof, LEAVES[0]])
            assert not merkle.check_consistency(**(same | {"root": LEAVES[1]}), proof=proof)
            assert not merkle.check_consistency(**(same | {"old_root": LEAVES[1]}), proof=proof)


def test_there_are_no_proofs_of_what_is_not_there() -> None:
    source = merkle.source_of(LEAVES[:3])
    for index, size in ((3, 3), (-1, 3), (0, 0)):
        with pytest.raises(InvalidInput):
            merkle.prove_inclusion(index=index, size=size, source=source)
    with pytest.raises(InvalidInput):
        merkle.prove_consistency(old=4, size=3, source=source)
    assert not merkle.check_inclusion(leaf=LEAVES[0], index=-1, size=1, root=LEAVES[0], proof=[])
