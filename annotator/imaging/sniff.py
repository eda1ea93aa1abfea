"""Tell a picture's format by its first bytes, and name what else a file seems to be.

Pure Python on purpose: the web process calls this for every upload and must load neither Pillow
nor NumPy nor OpenCV.
"""

from annotator.core.errors import UnsupportedImage

HEAD_BYTES = 64
"""How many of a file's first bytes are enough for ``sniff``."""

_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"GIF87a", "a GIF"),
    (b"GIF89a", "a GIF"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"BM", "a BMP picture"),
    (b"II*\x00", "a TIFF or raw camera picture"),
    (b"MM\x00*", "a TIFF or raw camera picture"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"8BPS", "a Photoshop document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a program"),
)


def sniff(head: bytes) -> str:
    """Name the format of a picture.

    Args:
        head: the file's first bytes, ``HEAD_BYTES`` of them or more (fewer if the file is shorter).

    Returns:
        "JPEG", "PNG" or "WEBP".

    Raises:
        UnsupportedImage: with a sentence that says what the file seems to be.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if not head:
        raise UnsupportedImage("The file is empty.")
    raise UnsupportedImage(
        f"The file seems to be {_guess(head)}; only JPEG, PNG and WebP pictures are taken."
    )


def _guess(head: bytes) -> str:
    for magic, name in _OTHERS:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF":
        return "an AVI video" if head[8:12] == b"AVI " else "a sound or other RIFF file"
    if head[4:8] == b"ftyp":
        return _guess_iso_media(head[8:12])
    if b"\x00" in head[:4] and head[:2] not in {b"\xff\xfe", b"\xfe\xff"}:
        return "no picture"
    return _guess_text(head)


def _guess_iso_media(brand: bytes) -> str:
    if brand in {b"heic", b"heix", b"hevc", b"mif1", b"msf1"}:
        return "a HEIC picture"
    if brand in {b"avif", b"avis"}:
        return "an AVIF picture"
    return "an MP4 or QuickTime video"


def _guess_text(head: bytes) -> str:
    try:
        text = head.decode("utf-8").lstrip("\ufeff \t\r\n").lower()
    except UnicodeDecodeError as error:
        # A multi-byte letter cut at the end of the head is still text.
        if error.start < len(head) - 3:
            return "no picture"
        text = head[: error.start].decode("utf-8").lstrip("\ufeff \t\r\n").lower()
    if text.startswith(("<!doctype html", "<html")):
        return "a web page (HTML)"
    if text.startswith("<svg"):
        return "an SVG drawing"
    if text.startswith("<"):
        return "an SVG, HTML or XML file"
    return "a text file" if text.isprintable() or text.split() else "no picture"
