"""The upload zoo: pictures that are strange but honest, and files that mean harm.

Everything is built here from nothing. Wherever a format can carry words, ``CANARY`` stands in them,
so that a test can look for it in what comes out.
"""

import io
import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin

CANARY = b"canary-52.5200N-13.4050E-Jane-Doe"
"""Stands in every comment, position, profile and thumbnail."""

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


class Animal(NamedTuple):
    """One file and what must become of it.

    Attributes:
        data: the file.
        size: width and height of the upright picture; None if the file is refused.
        sentence: a regular expression that the refusal matches.
    """

    data: bytes
    size: tuple[int, int] | None = None
    sentence: str = ""


def picture(width: int = 64, height: int = 48) -> Image.Image:
    """A gradient with some noise, so that no encoder shrinks it to nothing."""
    rows, columns = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(5).integers(0, 40, (height, width))
    layers = [rows * 4 % 200 + noise, columns * 3 % 200 + noise, (rows + columns) % 200]
    return Image.fromarray(np.stack(layers, axis=-1).astype(np.uint8))


def save(image: Image.Image, kind: str, **options: object) -> bytes:
    """Encode with Pillow."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int = 1) -> bytes:
    """EXIF with a position, an owner, and a thumbnail that carries the canary in a comment."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x013B] = tags[0x8298] = CANARY.decode()
    place = tags.get_ifd(0x8825)
    place[1], place[2], place[3], place[4] = "N", (52.0, 31.0, 12.0), "E", (13.0, 24.0, 18.0)
    place[29] = CANARY.decode()
    tags.get_ifd(0x8769)[0x9286] = b"ASCII\x00\x00\x00" + CANARY
    thumbnail = save(picture(16, 12), "JPEG", comment=CANARY)
    # The thumbnail's own directory: Pillow does not write one, so it hangs behind as a maker note.
    tags.get_ifd(0x8769)[0x927C] = thumbnail
    return tags.tobytes()


def chunk(name: bytes, body: bytes, *, broken: bool = False) -> bytes:
    """One PNG chunk with its checksum."""
    checksum = zlib.crc32(name + body) ^ (1 if broken else 0)
    return struct.pack("!I", len(body)) + name + body + struct.pack("!I", checksum)


def png(
    width: int,
    height: int,
    rows: bytes,
    *,
    extra: Iterable[bytes] = (),
    depth: int = 8,
    colour: int = 0,
) -> bytes:
    """A PNG of packed rows with further chunks before them."""
    header = struct.pack("!IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows, 9))
    return PNG_MAGIC + chunk(b"IHDR", header) + b"".join(extra) + body + chunk(b"IEND", b"")


def black_png(width: int, height: int, **options: object) -> bytes:
    """A PNG of black rows, of any size, from few bytes; a bomb where the size is large."""
    return png(width, height, bytes(1 + width) * min(height, 40), **options)  # type: ignore[arg-type]


def jpeg_that_says(width: int, height: int) -> bytes:
    """A small JPEG whose header claims another size."""
    data = bytearray(save(picture(), "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack("!HH", height, width)
    return bytes(data)


def scan_bomb(side: int, scans: int) -> bytes:
    """A progressive JPEG that makes the decoder walk over all its blocks again and again."""
    data = bytearray(save(picture(16, 16).convert("L"), "JPEG", progressive=True))
    place = data.index(b"\xff\xc2") + 5
    data[place : place + 4] = struct.pack("!HH", side, side)
    first = data.index(b"\xff\xda")
    # Each scan announces the mean of every block again, and gives no bytes for it.
    head = bytes(data[first : first + 10])
    return bytes(data[:first]) + head * scans + b"\xff\xd9"


def riff(kind: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A RIFF file, which WebP is."""
    body = b"".join(
        name + struct.pack("<I", len(data)) + data + b"\x00" * (len(data) % 2)
        for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + kind + body


def carriers() -> dict[str, Animal]:
    """Honest pictures that carry words."""
    plain, said = picture(), CANARY.decode()
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", said)
    text.add_text("Packed", said * 9, zip=True)
    text.add_itxt("XML:com.adobe.xmp", f"<x:xmpmeta>{said}</x:xmpmeta>", zip=True)
    jpeg = save(
        *(plain, "JPEG"), exif=exif(6), comment=CANARY, xmp=CANARY, icc_profile=CANARY, quality=90
    )
    app = b"\xff\xed" + struct.pack("!H", 2 + 14 + len(CANARY)) + b"Photoshop 3.0\x00" + CANARY
    packed = save(plain, "PNG", exif=exif(8), pnginfo=text, icc_profile=CANARY)
    webp = save(plain, "WEBP", exif=exif(3), xmp=CANARY, icc_profile=CANARY, lossless=True)
    zipped = b"PK\x03\x04" + CANARY + b"PK\x05\x06" + bytes(18)
    size, turned = (64, 48), (48, 64)
    return {
        "jpeg with everything": Animal(jpeg[:2] + app + jpeg[2:], turned),
        "png with everything": Animal(packed, turned),
        "webp with everything": Animal(webp, size),
        "jpeg and zip": Animal(save(plain, "JPEG") + zipped, size),
        "png and page": Animal(save(plain, "PNG") + b"<script>" + CANARY + b"</script>", size),
        "jpeg with a program in its comment": Animal(
            save(plain, "JPEG", comment=b"<?php echo '" + CANARY + b"'; ?>"), size
        ),
        "webp with an unknown chunk": Animal(
            riff(b"WEBP", *_webp_chunks(save(plain, "WEBP")), (b"HIDE", CANARY)), size
        ),
        "png with words in its pixels' tail": Animal(
            png(4, 4, bytes(5) * 4 + CANARY, extra=[chunk(b"prVt", CANARY)]), (4, 4)
        ),
        "two jpegs in one": Animal(save(plain, "JPEG") + save(plain, "JPEG", comment=CANARY), size),
    }


def _webp_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, place = [], 12
    while place + 8 <= len(data):
        name, length = (
            data[place : place + 4],
            int.from_bytes(data[place + 4 : place + 8], "little"),
        )
        chunks.append((name, data[place + 8 : place + 8 + length]))
        place += 8 + length + length % 2
    return chunks


def oddities() -> dict[str, Animal]:
    """Honest pictures of rare kinds."""
    plain, size = picture(), (64, 48)
    grey16 = Image.fromarray((np.arange(64 * 48).reshape(48, 64) * 21).astype(np.uint16))
    palette = plain.quantize(8)
    clear = palette.copy()
    clear.info["transparency"] = bytes([0, 64, 128, 255, 255, 255, 255, 255])
    rgb16 = np.random.default_rng(2).integers(0, 255, (8, 1 + 8 * 6), dtype=np.uint8)
    rgb16[:, 0] = 0
    others = [Image.new("RGB", (30, 20), "red")]
    broken = b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"
    endless = (
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\xff\xff\xff\xff" + bytes(4)
    )
    return {
        "cmyk jpeg": Animal(save(plain.convert("CMYK"), "JPEG"), size),
        "progressive jpeg": Animal(save(plain, "JPEG", progressive=True), size),
        "jpeg without colour": Animal(save(plain.convert("L"), "JPEG"), size),
        "16-bit grey": Animal(save(grey16, "PNG"), size),
        "16-bit colour": Animal(png(8, 8, rgb16.tobytes(), depth=16, colour=2), (8, 8)),
        "palette": Animal(save(palette, "PNG"), size),
        "palette with transparency": Animal(save(clear, "PNG"), size),
        "grey with transparency": Animal(save(plain.convert("LA"), "PNG"), size),
        "one bit": Animal(save(plain.convert("1"), "PNG"), size),
        "interlaced": Animal(_interlaced(), (2, 2)),
        "webp with transparency": Animal(save(plain.convert("RGBA"), "WEBP"), size),
        "mpo": Animal(save(plain, "MPO", save_all=True, append_images=others), size),
        "one pixel": Animal(save(picture(1, 1), "PNG"), (1, 1)),
        "broken exif": Animal(save(plain, "JPEG", exif=broken), size),
        "endless exif": Animal(save(plain, "JPEG", exif=endless), size),
        "orientation of no meaning": Animal(save(plain, "JPEG", exif=exif(77)), size),
    }


def _interlaced() -> bytes:
    header = struct.pack("!IIBBBBB", 2, 2, 8, 0, 0, 0, 1)
    rows = b"\x00\x10" + b"\x00\x20" + b"\x00\x30\x40"
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return PNG_MAGIC + chunk(b"IHDR", header) + body


def strangers() -> dict[str, Animal]:
    """Files of other kinds, whatever they are called."""
    plain = picture()
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    film = {"save_all": True, "append_images": frames[1:], "duration": 40}
    animated = r"animated"
    return {
        "nothing": Animal(b"", sentence="empty"),
        "page": Animal(b"<!DOCTYPE html><script>alert(1)</script>", sentence="HTML"),
        "page with a mark": Animal(b"\xef\xbb\xbf  <HTML><body>", sentence="HTML"),
        "svg": Animal(b"<svg xmlns='http://www.w3.org/2000/svg'/>", sentence="SVG"),
        "svg behind a prologue": Animal(b"<?xml version='1.0'?><svg/>", sentence="SVG"),
        "gif": Animal(save(plain, "GIF"), sentence="GIF"),
        "animated gif": Animal(save(frames[0], "GIF", **film), sentence="GIF"),
        "gif and jpeg": Animal(b"GIF89a" + save(plain, "JPEG"), sentence="GIF"),
        "animated png": Animal(save(frames[0], "PNG", **film), sentence=animated),
        "animated webp": Animal(save(frames[0], "WEBP", **film), sentence=animated),
        "bmp": Animal(save(plain, "BMP"), sentence="BMP"),
        "tiff": Animal(save(plain, "TIFF"), sentence="TIFF"),
        "icon": Animal(save(plain, "ICO"), sentence="icon"),
        "jpeg 2000": Animal(b"\x00\x00\x00\x0cjP  \r\n\x87\n", sentence="JPEG 2000"),
        "heic": Animal(b"\x00\x00\x00\x18ftypheic" + bytes(40), sentence="HEIC"),
        "avif": Animal(b"\x00\x00\x00\x18ftypavif" + bytes(40), sentence="AVIF"),
        "video": Animal(b"\x00\x00\x00\x18ftypisom" + bytes(40), sentence="MP4"),
        "avi": Animal(riff(b"AVI ", (b"JUNK", b"")), sentence="AVI"),
        "pdf and jpeg": Animal(b"%PDF-1.7\n" + save(plain, "JPEG"), sentence="PDF"),
        "archive": Animal(b"PK\x03\x04" + bytes(60), sentence="ZIP"),
        "program": Animal(b"\x7fELF" + bytes(60), sentence="program"),
        "zeros": Animal(bytes(4096), sentence="no picture"),
        "jpeg inside a sentence": Animal(b"hello " + save(plain, "JPEG"), sentence="text|picture"),
    }


def attacks() -> dict[str, Animal]:
    """Files that want memory, time, or a fault."""
    plain = picture()
    bomb = zlib.compress(bytes(80 << 20), 9)
    cut = {
        f"{kind} cut at {share:.0%}": Animal(data[: int(len(data) * share)], sentence="cut|damaged")
        for kind in ("JPEG", "PNG", "WEBP")
        for data in [save(plain, kind)]
        for share in (0.02, 0.3, 0.8, 0.97)
    }
    millions, longer, damaged = r"64 million pixels", r"longer than 16,384", r"damaged|cut off"
    webp = bytearray(save(plain, "WEBP"))
    webp[26:30] = struct.pack("<HH", 16383, 16383)
    return cut | {
        "bomb of 900 million": Animal(black_png(30_000, 30_000), sentence=f"{millions}|{longer}"),
        "bomb of 81 million": Animal(black_png(9_000, 9_000), sentence=millions),
        "one by 65535": Animal(black_png(1, 65_535), sentence=longer),
        "65535 by one": Animal(black_png(65_535, 1), sentence=longer),
        "jpeg one by 65535": Animal(jpeg_that_says(1, 65_535), sentence=longer),
        "jpeg that says 65500 squared": Animal(
            jpeg_that_says(65_500, 65_500), sentence=f"{millions}|{longer}"
        ),
        "jpeg that says nothing": Animal(jpeg_that_says(0, 0), sentence=damaged),
        "jpeg without its lines": Animal(jpeg_that_says(64, 0), sentence=damaged),
        "png of no size": Animal(black_png(0, 0), sentence=damaged),
        "png that says two billion": Animal(
            _png_head(2**31 - 1, 2**31 - 1) + chunk(b"IDAT", b""), sentence=f"{millions}|{longer}"
        ),
        "webp that says 16383 squared": Animal(
            bytes(webp), sentence=f"{millions}|{longer}|{damaged}"
        ),
        "text bomb": Animal(
            black_png(4, 4, extra=[chunk(b"zTXt", b"Note\x00\x00" + bomb)]), sentence=damaged
        ),
        "profile bomb": Animal(
            black_png(4, 4, extra=[chunk(b"iCCP", b"icc\x00\x00" + bomb)]), sentence=damaged
        ),
        "wrong checksum": Animal(
            png(4, 4, bytes(5) * 4, extra=[chunk(b"gAMA", bytes(4), broken=True)]), sentence=damaged
        ),
        "no pixels": Animal(_png_head(4, 4) + chunk(b"IEND", b""), sentence=damaged),
        "a chunk longer than the file": Animal(
            _png_head(4, 4) + b"\x7f\xff\xff\xffIDAT" + bytes(9), sentence=damaged
        ),
        "magic alone": Animal(PNG_MAGIC, sentence=damaged),
        "jpeg magic alone": Animal(b"\xff\xd8\xff", sentence=damaged),
        "jpeg of markers": Animal(b"\xff\xd8" + b"\xff\xe0\x00\x02" * 5000, sentence=damaged),
        "riff of nothing": Animal(riff(b"WEBP"), sentence=damaged),
    }


def _png_head(width: int, height: int) -> bytes:
    return PNG_MAGIC + chunk(b"IHDR", struct.pack("!IIBBBBB", width, height, 8, 0, 0, 0, 0))


def zoo() -> dict[str, Animal]:
    """All of them, by name."""
    return carriers() | oddities() | strangers() | attacks()
