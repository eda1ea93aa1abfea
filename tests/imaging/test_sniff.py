import subprocess
import sys
from pathlib import Path

import pytest

from annotator.core.errors import UnsupportedImage
from annotator.imaging.sniff import sniff

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "JPEG"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "PNG"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "WEBP"),
    ],
)
def test_knows_the_three_formats(head: bytes, kind: str) -> None:
    assert sniff(head) == kind


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"", "empty"),
        (b"GIF89a\x01\x00", "GIF"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04\x14\x00", "ZIP"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b'  <svg xmlns="http://www.w3.org/2000/svg">', "SVG"),
        (b'<?xml version="1.0"?>', "XML"),
        (b"BM\x36\x00\x0c\x00", "BMP"),
        (b"II*\x00\x08\x00", "TIFF"),
        (b"\x00\x00\x00\x18ftypheic", "HEIC"),
        (b"\x00\x00\x00\x18ftypisom", "video"),
        (b"RIFF\x24\x00\x00\x00AVI LIST", "AVI"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "RIFF"),
        ("Grüße aus dem Urlaub, heute ohne Bild".encode(), "text file"),
        (b"x" * 63 + "é".encode()[:1], "text file"),
        (b"\x00\x01\x02\x03", "no picture"),
        (b"\x81\x82\x83\x84\x85\x86\x87\x88", "no picture"),
    ],
)
def test_names_what_else_it_seems_to_be(head: bytes, name: str) -> None:
    with pytest.raises(UnsupportedImage, match=name) as caught:
        sniff(head)
    assert caught.value.message.endswith(".")


def test_loads_neither_pillow_nor_numpy_nor_opencv() -> None:
    program = (
        "import sys; import annotator.imaging.sniff; "
        "print(sorted({'PIL', 'numpy', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
