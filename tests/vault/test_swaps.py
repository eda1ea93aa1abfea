"""Every sealed file opens in its own place and in none of the others, and no bit of it may flip.

Each is asked for at every door: whole, as a stream, and in part. A refusal comes before any byte.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotator.core.errors import Tampered
from annotator.vault import Vault, create_vault
from annotator.vault.cipher import CHUNK, HEADER_BYTES, SEALED_CHUNK

DATA = os.urandom(2 * CHUNK + 500)
Door = Callable[[], Iterator[bytes]]


@dataclass
class Place:
    """One sealed file and the doors that open it."""

    path: Path
    doors: tuple[Door, ...]

    def check_good(self) -> None:
        whole, stream, *part = self.doors
        assert b"".join(whole()) == DATA
        assert b"".join(stream()) == DATA
        for each in part:
            assert b"".join(each()) == DATA[CHUNK:]

    def check_bad(self, before: int = 0) -> None:
        """No door opens it; what comes out before one says so is true and not from there on.

        Args:
            before: the first byte of plaintext that may not come out.
        """
        for door in self.doors:
            released = bytearray()
            with pytest.raises(Tampered):
                list(map(released.extend, door()))
            assert released in (DATA[: len(released)], DATA[CHUNK:][: len(released)])
            assert len(released) <= before


def blob_place(vault: Vault, folder: Path, **name: Any) -> Place:
    blob = vault.seal_blob(**name, data=DATA)
    name["blob"] = blob
    return Place(
        folder / "blobs" / blob[:2] / blob[2] / blob,
        (
            lambda: iter([vault.open_blob(**name)]),
            lambda: vault.stream_blob(**name),
            lambda: vault.stream_blob(**name, start=CHUNK),
        ),
    )


def archive_place(vault: Vault, folder: Path, purpose: str) -> Place:
    name = {"purpose": purpose, "blob": vault.store_archive(purpose=purpose, data=DATA)}
    blob = name["blob"]
    return Place(
        folder / "blobs" / blob[:2] / blob[2] / blob,
        (
            lambda: vault.open_archive(**name),
            lambda: vault.open_archive(**name, start=0),
            lambda: vault.open_archive(**name, start=CHUNK),
        ),
    )


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> list[Place]:
    """Two installations, in each two people and two archives; of a person two crops alike, a later
    crop, and another kind."""
    found = []
    for install in ("one", "two"):
        folder = tmp_path_factory.mktemp(install)
        vault, _ = create_vault(folder, key_file=folder / "key-file")
        for subject in ("anna", "bert"):
            key = vault.create_key(subject)
            for kind, revision in (("crop", 1), ("crop", 1), ("crop", 2), ("original", 1)):
                name = {"subject": subject, "key": key, "kind": kind, "revision": revision}
                found.append(blob_place(vault, folder, **name))
        purposes = ("export", "export", "model")
        found += [archive_place(vault, folder, purpose) for purpose in purposes]
    return found


def test_swap_matrix(places: list[Place]) -> None:
    sealed = [place.path.read_bytes() for place in places]
    tried = 0
    for i, place in enumerate(places):
        for j, other in enumerate(sealed):
            place.path.write_bytes(other)
            if i == j:
                place.check_good()
            else:
                place.check_bad()
                tried += 1
        place.path.write_bytes(sealed[i])
    assert tried == 22 * 21


def test_parts_of_two_files_do_not_mix(places: list[Place]) -> None:
    """The header of one with the chunks of another, and chunks exchanged between two alike."""
    sealed = [place.path.read_bytes() for place in places]
    one, two = places[0], sealed[1]
    mine = sealed[0]
    cuts = [HEADER_BYTES + i * SEALED_CHUNK for i in range(3)]
    one.path.write_bytes(mine[: cuts[0]] + two[cuts[0] :])
    one.check_bad()
    for i in range(3):
        end = [*cuts, len(mine)][i + 1]
        one.path.write_bytes(mine[: cuts[i]] + two[cuts[i] : end] + mine[end:])
        # A part begins in the second chunk, so it does not see a change in the first.
        doors = one.doors if i else one.doors[:2]
        Place(one.path, doors).check_bad(before=i * CHUNK)
    one.path.write_bytes(mine)
    one.check_good()


@pytest.mark.parametrize("number", [0, 8])
def test_every_bit_of_the_header_and_of_each_chunk_edge(places: list[Place], number: int) -> None:
    """Of a crop and of an archive."""
    place = places[number]
    sealed = place.path.read_bytes()
    firsts = list(range(HEADER_BYTES, len(sealed), SEALED_CHUNK))
    edges = [*range(HEADER_BYTES), *firsts, *[first - 1 for first in firsts[1:]], len(sealed) - 1]
    assert len(edges) == HEADER_BYTES + 6
    for at in edges:
        for bit in range(8):
            check_flip(place, sealed, at, bit)
    place.path.write_bytes(sealed)
    place.check_good()


def check_flip(place: Place, sealed: bytes, at: int, bit: int) -> None:
    changed = bytearray(sealed)
    changed[at] ^= 1 << bit
    place.path.write_bytes(changed)
    chunk = max(0, at - HEADER_BYTES) // SEALED_CHUNK
    doors = place.doors if chunk or at < HEADER_BYTES else place.doors[:2]
    Place(place.path, doors).check_bad(before=chunk * CHUNK)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(number=st.integers(0, 21), at=st.integers(0), bit=st.integers(0, 7))
def test_any_bit_of_any_file(places: list[Place], number: int, at: int, bit: int) -> None:
    place = places[number]
    sealed = place.path.read_bytes()
    check_flip(place, sealed, at % len(sealed), bit)
    place.path.write_bytes(sealed)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(number=st.integers(0, 21), data=st.data())
def test_any_other_file(places: list[Place], number: int, data: st.DataObject) -> None:
    """Cut, grown, or made of pieces of the sealed files that there are."""
    place = places[number]
    sealed = place.path.read_bytes()
    pool = [each.path.read_bytes() for each in places]
    parts = data.draw(st.lists(st.tuples(st.integers(0, 21), st.integers(0, 2)), max_size=4))
    wrong = b"".join(pool[i][at * SEALED_CHUNK : (at + 1) * SEALED_CHUNK] for i, at in parts)
    if data.draw(st.booleans()):
        wrong = sealed[: data.draw(st.integers(0, len(sealed)))] + wrong
    if wrong == sealed:
        return
    place.path.write_bytes(wrong)
    try:
        place.check_bad(before=len(DATA))
    finally:
        place.path.write_bytes(sealed)
