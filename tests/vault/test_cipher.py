"""The ciphers: published vectors, round trips, and every way to be wrong."""

import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.core.errors import Tampered
from annotator.vault import cipher

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))
CHUNK = cipher.CHUNK
# How many of the published vectors must be met: headers of Cobblestone-256 that fail, and AES-GCM
# through the opener of chunks, through its cipher, and with nonces that no cipher of ours takes.
HEADERS = 10
GCM = (145, 138, 33)
# Around every edge of the chunking: empty, one byte, one chunk, two, and a piece of the reader.
SIZES = [0, 1, 2000, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 77, 4 * CHUNK, 9 * CHUNK]


def vectors(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    folder = os.environ.get("ANNOTATOR_TEST_VECTORS")
    if not folder:
        pytest.skip("ANNOTATOR_TEST_VECTORS is not set: the published test vectors are not here")
    found = json.loads((Path(folder) / "wycheproof" / name).read_text())
    pairs = [(group, test) for group in found["testGroups"] for test in group["tests"]]
    assert len(pairs) == found["numberOfTests"]
    return pairs


def cut(data: bytes, size: int) -> Iterator[bytes]:
    yield from (data[i : i + size] for i in range(0, len(data), size))


def seal(data: bytes, *, key: bytes = KEY, context: bytes = b"context") -> bytes:
    return b"".join(cipher.seal_stream(key, context, cut(data, 50_000)))


def unseal(
    sealed: bytes, *, key: bytes = KEY, context: bytes = b"context", piece: int = 65_600
) -> bytes:
    return b"".join(cipher.open_stream(key, context, cut(sealed, piece)))


def release(stream: Iterator[bytes]) -> tuple[int, bool]:
    """How many bytes came out before the end, and whether the end was good."""
    released = 0
    try:
        for piece in stream:
            released += len(piece)
    except (Tampered, ValueError):
        return released, False
    return released, True


def open_part(key: bytes, context: bytes, sealed: bytes, start: int, stop: int) -> bytes:
    source = cipher.HeldBytes(sealed)
    return b"".join(cipher.open_range(key, context, source, start=start, stop=stop))


def open_whole_range(key: bytes, context: bytes, sealed: bytes) -> bytes:
    return open_part(key, context, sealed, 0, 1 << 60)


def open_at_once(key: bytes, context: bytes, sealed: bytes) -> bytes:
    return cipher.open_whole(key, context, cipher.HeldBytes(sealed))


def bits(test: dict[str, Any], *names: str) -> list[bytes]:
    return [bytes.fromhex(test[name]) for name in names]


def unpack_cobblestone(test: dict[str, Any]) -> bytes:
    return zlib.decompress(bytes.fromhex(test["ct"]))


def cobblestone_verdict(opened: Any, test: dict[str, Any]) -> bool:
    try:
        message = opened()
    except (Tampered, ValueError):
        return False
    assert len(message) == test["msgLength"]
    assert hashlib.sha512(message).hexdigest() == test["msgSha512"]
    return True


@pytest.mark.parametrize("piece", [65_600, 1000])
def test_cobblestone_vectors_as_a_stream(piece: int) -> None:
    pairs = vectors("c2sp_chunked_encryption_aes_256_gcm_test.json")
    for _, test in pairs:
        key, context = bits(test, "key", "ctx")
        sealed = b"\x01" + unpack_cobblestone(test)
        good = cobblestone_verdict(
            lambda: unseal(sealed, key=key, context=context, piece=piece),  # noqa: B023  called now
            test,
        )
        assert good == (test["result"] == "valid"), test["comment"]
    assert len(pairs) == 35


def test_cobblestone_headers_that_fail_release_nothing() -> None:
    tried = 0
    for _, test in vectors("c2sp_chunked_encryption_aes_256_gcm_test.json"):
        if "HeaderFailure" not in test["flags"]:
            continue
        tried += 1
        key, context = bits(test, "key", "ctx")
        pieces = [b"\x01" + unpack_cobblestone(test)]
        assert release(cipher.open_stream(key, context, pieces)) == (0, False), test["comment"]
    assert tried == HEADERS


@pytest.mark.parametrize("door", ["at once", "by random access"])
def test_cobblestone_vectors_in_one(door: str) -> None:
    open_sealed = open_at_once if door == "at once" else open_whole_range
    tried = 0
    for _, test in vectors("c2sp_chunked_encryption_aes_256_gcm_test.json"):
        key, context = bits(test, "key", "ctx")
        sealed = b"\x01" + unpack_cobblestone(test)
        good = cobblestone_verdict(lambda: open_sealed(key, context, sealed), test)  # noqa: B023  called now
        assert good == (test["result"] == "valid"), test["comment"]
        tried += 1
    assert tried == 35


@pytest.mark.parametrize(
    ("name", "count"), [("aes_siv_cmac_test.json", 442), ("aead_aes_siv_cmac_test.json", 900)]
)
def test_siv_vectors(name: str, count: int) -> None:
    pairs = vectors(name)
    for _, test in pairs:
        key, message, aad, sealed = bits(test, "key", "msg", "aad", "ct")
        context = [aad]
        if "iv" in test:  # the AEAD form of RFC 5297: the nonce is the last associated part
            nonce, tag = bits(test, "iv", "tag")
            context, sealed = [aad, nonce], tag + sealed
        box = cipher.Siv(key)
        if test["result"] == "valid":
            assert box.open(b"\x01" + sealed, *context) == message
            assert box.seal(message, *context) == b"\x01" + sealed
        else:
            with pytest.raises(Tampered):
                box.open(b"\x01" + sealed, *context)
    assert len(pairs) == count


def test_gcm_vectors() -> None:
    """All that fit through the function that opens a chunk; the others through its cipher."""
    chunks = others = refused = 0
    for group, test in vectors("aes_gcm_test.json"):
        key, nonce, aad, message, sealed, tag = bits(test, "key", "iv", "aad", "msg", "ct", "tag")
        if not 64 <= group["ivSize"] <= 1024:
            refused += 1  # the library takes no such nonce; ours have 96 bits
            with pytest.raises(ValueError, match="Nonce"):
                AESGCM(key).decrypt(nonce, sealed + tag, aad)
            continue
        box = AESGCM(key)
        if (group["ivSize"], group["tagSize"], aad) == (96, 128, b""):
            chunks += 1
            index = test["tcId"]  # the nonce is the base with the chunk's number in it
            base = int.from_bytes(nonce, "big") ^ index
            opened = partial(cipher._open_chunk, box, base, index, sealed + tag)
        else:
            others += 1
            opened = partial(box.decrypt, nonce, sealed + tag, aad)
        if test["result"] == "valid":
            assert opened() == message
            assert box.encrypt(nonce, message, aad) == sealed + tag
        else:
            with pytest.raises(InvalidTag):
                opened()
    assert (chunks, others, refused) == GCM


def test_hkdf_vectors() -> None:
    tried = 0
    for _, test in vectors("hkdf_sha512_test.json"):
        secret, salt, info, expected = bits(test, "ikm", "salt", "info", "okm")
        tried += 1
        if test["result"] == "valid":
            derived = cipher.derive_key(secret, salt=salt, info=info, length=test["size"])
            assert derived == expected
        else:
            with pytest.raises(ValueError, match="large"):
                cipher.derive_key(secret, salt=salt, info=info, length=test["size"])
    assert tried == 83


def test_hmac_vectors() -> None:
    tried = 0
    for group, test in vectors("hmac_sha256_test.json"):
        key, message, tag = bits(test, "key", "msg", "tag")
        same = cipher.authenticate(key, message)[: group["tagSize"] // 8] == tag
        assert same == (test["result"] == "valid"), test["comment"]
        tried += 1
    assert tried == 174


def test_ed25519_vectors() -> None:
    tried = 0
    for group, test in vectors("ed25519_test.json"):
        public = bytes.fromhex(group["publicKey"]["pk"])
        message, signature = bits(test, "msg", "sig")
        good = cipher.verify_signature(public, message, signature)
        assert good == (test["result"] == "valid"), test["comment"]
        tried += 1
    assert tried == 151


@pytest.mark.parametrize("size", SIZES)
def test_stream_round_trip_and_length(size: int) -> None:
    data = os.urandom(size)
    sealed = seal(data)
    assert unseal(sealed) == data
    assert unseal(sealed, piece=1009) == data
    assert open_at_once(KEY, b"context", sealed) == data
    assert open_whole_range(KEY, b"context", sealed) == data
    assert len(sealed) == cipher.HEADER_BYTES + size + 16 * (size // CHUNK + 1)
    assert cipher.plain_size(len(sealed)) == size


@settings(max_examples=60, deadline=None)
@given(size=st.sampled_from(SIZES), start=st.integers(0, 160_000), length=st.integers(0, 60_000))
def test_a_range_is_the_slice(size: int, start: int, length: int) -> None:
    data = bytes(i * 7 % 251 for i in range(size))
    sealed = seal(data)
    got = open_part(KEY, b"context", sealed, start, start + length)
    assert got == data[start : start + length]


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300), place=st.integers(0), bit=st.integers(0, 7))
def test_no_flipped_bit_opens(data: bytes, place: int, bit: int) -> None:
    sealed = bytearray(seal(data))
    sealed[place % len(sealed)] ^= 1 << bit
    with pytest.raises(Tampered):
        unseal(bytes(sealed))
    with pytest.raises(Tampered):
        open_whole_range(KEY, b"context", bytes(sealed))


class Claiming(cipher.HeldBytes):
    """Says that it has another size than it has."""

    def __init__(self, sealed: bytes, size: int) -> None:
        super().__init__(sealed)
        self.size = size


@pytest.mark.parametrize("wrong", [-20_000, -16_400, -17, -1, 1, 17, 16_400, 1 << 30])
def test_a_size_that_is_not_true_opens_nothing_else(wrong: int) -> None:
    data = os.urandom(3 * CHUNK + 77)
    sealed = seal(data)
    source = Claiming(sealed, len(sealed) + wrong)
    with pytest.raises(Tampered):
        cipher.open_whole(KEY, b"context", source)
    with suppress(Tampered):  # claiming a little more changes nothing: the last chunk is the last
        assert b"".join(cipher.open_range(KEY, b"context", source, start=0, stop=1 << 60)) == data


def edges(sealed: bytes) -> list[int]:
    """Every byte of the header, and of each chunk the first and the last."""
    head, step = cipher.HEADER_BYTES, cipher.SEALED_CHUNK
    firsts = list(range(head, len(sealed), step))
    return [*range(head), *firsts, *[first - 1 for first in firsts[1:]], len(sealed) - 1]


def check_released(pieces: Iterator[bytes], data: bytes, place: int) -> None:
    """What came out before the stream failed is the truth from before the changed chunk."""
    released = bytearray()
    with pytest.raises(Tampered):
        list(map(released.extend, pieces))
    chunk = (place - cipher.HEADER_BYTES) // cipher.SEALED_CHUNK
    assert released == data[: len(released)]
    assert len(released) <= max(0, chunk) * CHUNK


@pytest.mark.parametrize("size", [500, 2 * CHUNK + 500, 8 * CHUNK, 9 * CHUNK + 1])
def test_every_bit_of_the_header_and_of_each_chunk_edge_counts(size: int) -> None:
    """At every door, and no byte of a chunk comes out that is not authentic."""
    data = os.urandom(size)
    sealed = seal(data)
    tried = 0
    for place in edges(sealed):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[place] ^= 1 << bit
            source = cipher.HeldBytes(bytes(changed))
            for pieces in (cipher.read_pieces(source), cut(bytes(changed), 1009)):
                check_released(cipher.open_stream(KEY, b"context", pieces), data, place)
            check_released(
                cipher.open_range(KEY, b"context", source, start=0, stop=size), data, place
            )
            with pytest.raises(Tampered):
                cipher.open_whole(KEY, b"context", source)
            tried += 1
    assert tried == 8 * (cipher.HEADER_BYTES + 2 * (size // CHUNK + 1))


def test_a_range_needs_its_own_chunks_and_the_last_and_no_other() -> None:
    data = os.urandom(20 * CHUNK + 5)
    sealed = seal(data)
    head, step = cipher.HEADER_BYTES, cipher.SEALED_CHUNK
    for chunk in range(21):
        changed = bytearray(sealed)
        changed[head + chunk * step] ^= 1
        source = cipher.HeldBytes(bytes(changed))
        for first in range(0, 19, 3):
            start, stop = first * CHUNK + 7, (first + 1) * CHUNK + 9  # two chunks
            pieces = cipher.open_range(KEY, b"context", source, start=start, stop=stop)
            if chunk in {first, first + 1, 20}:
                with pytest.raises(Tampered):
                    next(pieces)
            else:
                assert b"".join(pieces) == data[start:stop]


@pytest.mark.parametrize("length", [0, 1, 25, 56, 57, 72, 73])
def test_what_is_cut_does_not_open(length: int) -> None:
    sealed = seal(os.urandom(20_000))[:length]
    with pytest.raises(Tampered):
        unseal(sealed)
    with pytest.raises(Tampered):
        open_whole_range(KEY, b"context", sealed)


def test_chunks_cannot_be_dropped_swapped_or_added() -> None:
    sealed = seal(os.urandom(3 * CHUNK))
    head, step = cipher.HEADER_BYTES, cipher.SEALED_CHUNK
    header, first, second = sealed[:head], sealed[head : head + step], sealed[head + step :][:step]
    rest = sealed[head + 2 * step :]
    for wrong in (
        header + second + first + rest,
        header + first + rest,
        header + first + first + second + rest,
        header + first + second,
        sealed + b"\x00",
        sealed + sealed[-16:],
    ):
        with pytest.raises(Tampered):
            unseal(wrong)
        with pytest.raises(Tampered):
            open_whole_range(KEY, b"context", wrong)


def test_another_key_or_context_opens_nothing() -> None:
    sealed = seal(b"face")
    for key, context in ((OTHER_KEY, b"context"), (KEY, b"contexu"), (KEY, b"")):
        with pytest.raises(Tampered):
            unseal(sealed, key=key, context=context)
        with pytest.raises(Tampered):
            open_whole_range(key, context, sealed)


def test_an_unknown_format_is_refused_by_its_number() -> None:
    sealed = seal(b"face")
    with pytest.raises(Tampered, match="format 2"):
        unseal(b"\x02" + sealed[1:])
    box = cipher.Siv(bytes(64))
    with pytest.raises(Tampered, match="format 9"):
        box.open(b"\x09" + box.seal(b"text", b"")[1:], b"")


def test_the_same_data_never_seals_alike() -> None:
    assert seal(b"face") != seal(b"face")


@settings(max_examples=200, deadline=None)
@given(text=st.binary(max_size=200), context=st.binary(max_size=50), place=st.integers(0))
def test_siv_round_trip_and_flips(text: bytes, context: bytes, place: int) -> None:
    box = cipher.Siv(bytes(range(64)))
    sealed = box.seal(text, context)
    assert box.open(sealed, context) == text
    changed = bytearray(sealed)
    changed[place % len(changed)] ^= 1
    with pytest.raises(Tampered):
        box.open(bytes(changed), context)
    with pytest.raises(Tampered):
        box.open(sealed, context + b"x")


FIELDS = st.lists(st.one_of(st.text(), st.binary(), st.integers(0, 2**63)), max_size=4)


@given(one=FIELDS, two=FIELDS)
def test_contexts_differ_where_fields_do(one: list[Any], two: list[Any]) -> None:
    def raw(fields: list[Any]) -> list[bytes]:
        return [
            f.encode() if isinstance(f, str) else f.to_bytes(8, "big") if isinstance(f, int) else f
            for f in fields
        ]

    assert (cipher.bind(*one) == cipher.bind(*two)) == (raw(one) == raw(two))
    assert cipher.bind("ab", "c") != cipher.bind("a", "bc")


def test_a_public_key_that_is_none_verifies_nothing() -> None:
    assert not cipher.verify_signature(b"short", b"message", bytes(64))
    assert not cipher.verify_signature(bytes(32), b"message", b"")
