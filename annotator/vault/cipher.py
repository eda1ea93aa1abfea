"""The ciphers of the vault, each with its context, none with a choice.

Everything sealed starts with one format byte, and every context starts with the same number, so a
format can neither be mistaken for another nor be rewritten into one. The primitives are those of
the ``cryptography`` package; nothing here knows about files, subjects or key rings.

* Streams: Cobblestone-256 of https://c2sp.org/chunked-encryption, version 1 (HKDF-Expand with
  SHA-512, AES-256-GCM, 16 KiB chunks, a key commitment in the header).
* Short values: AES-SIV (RFC 5297), which needs no nonce and survives its reuse.
* Key derivation: HKDF with SHA-512 (RFC 5869). Indexes: HMAC-SHA-256. Signatures: Ed25519.
"""

import hmac
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Protocol

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from annotator.core.errors import Tampered

FORMAT = 1
KEY_BYTES = 32
SIV_KEY_BYTES = 64
CHUNK = 16 * 1024
TAG_BYTES = 16
SEALED_CHUNK = CHUNK + TAG_BYTES
# Format byte, salt, commitment: what stands before the first chunk of a stream.
SALT_BYTES = 24
COMMITMENT_BYTES = 32
HEADER_BYTES = 1 + SALT_BYTES + COMMITMENT_BYTES
# What is read and written at a time: 128 KiB, so that a call costs little beside its work.
PIECE_CHUNKS = 8
PIECE = PIECE_CHUNKS * SEALED_CHUNK
_STREAM_INFO = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"


def bind(*fields: str | int | bytes) -> bytes:
    """Encodes a context without ambiguity, the format number first.

    Each field is a 4-byte big-endian length and its bytes: text as UTF-8, a whole number as
    8 bytes, big-endian and unsigned.
    """
    return extend(b"", FORMAT, *fields)


def extend(context: bytes, *fields: str | int | bytes) -> bytes:
    """Adds fields to a context: ``extend(bind(a), b)`` is ``bind(a, b)``."""
    for field in fields:
        if isinstance(field, str):
            raw = field.encode()
        elif isinstance(field, int):
            raw = field.to_bytes(8, "big")
        else:
            raw = field
        context += len(raw).to_bytes(4, "big") + raw
    return context


def derive_key(secret: bytes, *, info: bytes, length: int, salt: bytes = b"") -> bytes:
    """HKDF with SHA-512 (RFC 5869): ``length`` bytes bound to ``info``."""
    return HKDF(SHA512(), length, salt, info).derive(secret)


def authenticate(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256 of the message, 32 bytes."""
    return hmac.digest(key, message, "sha256")


def verify_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Tells whether an Ed25519 signature (RFC 8032) is good.

    Args:
        public_key: the raw 32 bytes; anything that is no key makes the answer no.
        message: what was signed.
        signature: 64 bytes.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def check_format(sealed: bytes | memoryview) -> None:
    """Refuses everything but the one format that we write.

    Raises:
        Tampered: empty, or of a format that this version does not know.
    """
    if not sealed:
        raise Tampered
    if sealed[0] != FORMAT:
        raise Tampered(
            f"A stored item is damaged, or of format {sealed[0]}, which this version cannot open."
        )


class Siv:
    """AES-SIV under one key, for keys and short texts; safe to share between threads.

    Args:
        key: 64 bytes (two 256-bit keys). Test vectors use 32 and 48 as well.
    """

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        self._cipher = AESSIV(key)

    def seal(self, data: bytes, *context: bytes) -> bytes:
        """Format byte, 16 bytes of synthetic IV, ciphertext as long as ``data``."""
        return bytes([FORMAT]) + self._cipher.encrypt(data, list(context))

    def open(self, sealed: bytes, *context: bytes) -> bytes:
        """What was sealed under the same key and context.

        Raises:
            Tampered: in every other case.
        """
        check_format(sealed)
        try:
            return self._cipher.decrypt(sealed[1:], list(context))
        except (InvalidTag, ValueError):
            raise Tampered from None


def seal_stream(key: bytes, context: bytes, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Seals pieces of any size into a format byte and one Cobblestone-256 message.

    Memory is bounded by the largest piece. The same input never seals to the same bytes twice.
    """
    encryptor = Cobblestone256Encryptor(key, context)
    yield bytes([FORMAT])
    for piece in pieces:
        yield encryptor.update(piece)
    yield encryptor.finalize()


def open_stream(
    key: bytes, context: bytes, pieces: Iterable[bytes | memoryview]
) -> Iterator[bytes]:
    """Opens what ``seal_stream`` made; nothing comes out before the commitment was checked.

    Each piece that comes out is authentic and in its place, but only the end of the iteration
    says that the message is whole: a reader keeps nothing of a stream that raised.

    Raises:
        Tampered: the key or the context is another one, or any byte was changed, cut or added.
    """
    try:
        decryptor = Cobblestone256Decryptor(key, context)
        started = False
        for piece in pieces:
            if not started and piece:
                check_format(piece)
                started = True
                yield decryptor.update(memoryview(piece)[1:])
            else:
                yield decryptor.update(piece)
        if not started:
            raise Tampered
        yield decryptor.finalize()
    except InvalidTag:
        raise Tampered from None


class Source(Protocol):
    """Sealed bytes that can be read from any place."""

    @property
    def size(self) -> int:
        """How many there are; a claim, never trusted."""

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fills the buffer from an offset; fewer bytes at the end. Answers how many."""


class HeldBytes:
    """Sealed bytes in memory as a ``Source``."""

    def __init__(self, sealed: bytes) -> None:
        self._sealed = sealed
        self.size = len(sealed)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Copies from an offset."""
        part = memoryview(self._sealed)[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)


def read_pieces(source: Source) -> Iterator[memoryview]:
    """The sealed bytes from the beginning, cut where chunks end.

    All pieces share one buffer: each is gone when the next is asked for. Fresh memory for each
    would cost as much as the cipher.
    """
    buffer = memoryview(bytearray(min(HEADER_BYTES + PIECE, max(1, source.size))))
    offset, want = 0, HEADER_BYTES + PIECE
    while got := source.read_into(buffer[:want], offset):
        yield buffer[:got]
        offset, want = offset + got, PIECE


def plain_size(sealed: int) -> int:
    """How many bytes a whole sealed stream of a size opens to; 0 when that is no such size."""
    chunks, rest = divmod(sealed - HEADER_BYTES, SEALED_CHUNK)
    return max(0, chunks * CHUNK + rest - TAG_BYTES)


def open_whole(key: bytes, context: bytes, source: Source) -> bytes:
    """Opens what ``seal_stream`` made, into one ``bytes`` that is claimed once.

    Joining the pieces of ``open_stream`` would touch twice the memory.

    Raises:
        Tampered: as for ``open_stream``.
    """
    # Zeros that nobody touched cost nothing, and nobody else holds them, so they can be written.
    whole = BytesIO(bytes(plain_size(source.size)))
    decryptor, done, started = Cobblestone256Decryptor(key, context), 0, False
    try:
        with whole.getbuffer() as plain:
            for piece in read_pieces(source):
                sealed = piece
                if not started:
                    check_format(piece)
                    sealed, started = piece[1:], True
                done += decryptor.update_into(sealed, plain[done:])
            tail = decryptor.finalize()
            plain[done:] = tail
    except (InvalidTag, ValueError):  # ValueError: more, or less, than the size had claimed
        raise Tampered from None
    return whole.getvalue()


def open_range(
    key: bytes, context: bytes, source: Source, *, start: int, stop: int
) -> Iterator[bytes]:
    """Opens the plaintext bytes ``start`` to ``stop`` alone, clipped to the message, in pieces.

    The commitment and the last chunk are checked first, so that the length is authentic too; then
    only the chunks of the range are read. Every byte that comes out was authenticated before.

    Args:
        key: 32 bytes.
        context: as it was sealed.
        source: the sealed message, the format byte included.
        start: first byte, 0 or more.
        stop: the byte after the last.

    Raises:
        Tampered: as for ``open_stream``, as far as the chunks of the range and the last one tell.
    """
    header = _read_exactly(source, 0, HEADER_BYTES)
    check_format(header)
    last, rest = divmod(source.size - HEADER_BYTES, SEALED_CHUNK)
    if len(header) < HEADER_BYTES or rest < TAG_BYTES:
        raise Tampered
    cipher, base = _chunk_cipher(key, context, header)
    try:
        tail = _read_exactly(source, HEADER_BYTES + last * SEALED_CHUNK, rest)
        length = last * CHUNK + len(_open_chunk(cipher, base, last, tail))
        stop = min(stop, length)
        index, end = start // CHUNK, -(-stop // CHUNK)
        while start < stop and index < end:
            count = min(PIECE_CHUNKS, end - index)
            sealed = _read_exactly(
                source, HEADER_BYTES + index * SEALED_CHUNK, count * SEALED_CHUNK
            )
            plain = b"".join(
                _open_chunk(cipher, base, index + i, sealed[at : at + SEALED_CHUNK])
                for i, at in enumerate(range(0, len(sealed), SEALED_CHUNK))
            )
            yield plain[max(0, start - index * CHUNK) : stop - index * CHUNK]
            index += count
    except (InvalidTag, ValueError):
        raise Tampered from None


def _chunk_cipher(key: bytes, context: bytes, header: bytes | memoryview) -> tuple[AESGCM, int]:
    """The specification's HKDF-Expand: key, base nonce and commitment in one; checks the last."""
    if len(key) != KEY_BYTES:
        raise ValueError("a key of Cobblestone-256 has 32 bytes")
    salt, commitment = bytes(header[1 : 1 + SALT_BYTES]), bytes(header[1 + SALT_BYTES :])
    material = HKDFExpand(
        SHA512(), KEY_BYTES + 12 + COMMITMENT_BYTES, _STREAM_INFO + salt + context
    ).derive(key)
    if not hmac.compare_digest(material[-COMMITMENT_BYTES:], commitment):
        raise Tampered
    return AESGCM(material[:KEY_BYTES]), int.from_bytes(
        material[KEY_BYTES:-COMMITMENT_BYTES], "big"
    )


def _open_chunk(cipher: AESGCM, base: int, index: int, sealed: bytes | memoryview) -> bytes:
    return cipher.decrypt((base ^ index).to_bytes(12, "big"), sealed, None)


def _read_exactly(source: Source, offset: int, count: int) -> memoryview:
    """Up to ``count`` bytes; the ciphers notice when some are missing."""
    buffer = memoryview(bytearray(max(0, min(count, source.size - offset))))
    return buffer[: source.read_into(buffer, offset)]
