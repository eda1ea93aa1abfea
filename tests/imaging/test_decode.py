import contextlib
import io
import os
import struct
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from annotator.core.errors import InvalidInput, TooLarge, UnsupportedImage
from annotator.imaging import decode_child
from annotator.imaging.decode import (
    Decoder,
    Limits,
    UInt8Array,
    decode,
    encode_jpeg,
    encode_png,
    to_grey,
)

SECRET = b"GPS-and-names-that-must-not-stay"


def gradient(height: int = 48, width: int = 64) -> UInt8Array:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 4, columns * 3, rows + columns], axis=-1).astype(np.uint8)


def save(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def blank_png(width: int, height: int) -> bytes:
    """A PNG of any size from a few bytes: rows of zeros compress to almost nothing."""

    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = struct.pack("!I", zlib.crc32(name + body))
        return struct.pack("!I", len(body)) + name + body + checksum

    packer = zlib.compressobj(1)
    rows = bytes(1 + width)
    packed = b"".join(packer.compress(rows) for _ in range(min(height, 50))) + packer.flush()
    header = struct.pack("!IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


def exif_with_gps(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = SECRET.decode()
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    return exif


@contextlib.contextmanager
def decoder_running(tmp_path: Path, body: str, **limits: float) -> Iterator[Decoder]:
    """A decoder whose child runs ``body`` instead of Pillow on the file b'...BAD', limits on."""
    script = tmp_path / "child.py"
    script.write_text(
        f"""
import os, runpy, time
child = runpy.run_path({decode_child.__file__!r})
def hostile():
    {body}
def decode(data, kind):
    if data.endswith(b"BAD"):
        hostile()
    return child["decode_picture"](data, kind, max_pixels=10**6, max_side=10**4)
import sys
child["serve"](decode, memory=int(sys.argv[1]), cpu_seconds=int(sys.argv[2]))
"""
    )
    with Decoder(children=1, script=script, limits=Limits(**limits)) as decoder:
        yield decoder


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_decodes_to_rgb(kind: str) -> None:
    data = save(Image.fromarray(gradient()), kind)
    decoded = decode(data)
    assert decoded.format == kind
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.shape == (48, 64, 3)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(decoded.pixels, expected)


def test_a_file_that_is_no_picture_is_refused_by_its_bytes() -> None:
    with pytest.raises(UnsupportedImage, match="empty"):
        decode(b"")
    with pytest.raises(UnsupportedImage, match="text file"):
        decode(b"this is holiday.jpg, honestly")
    with pytest.raises(UnsupportedImage, match="GIF"):
        decode(save(Image.fromarray(gradient()), "GIF"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(kind: str, share: float) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    data = save(Image.fromarray(noise), kind)
    with pytest.raises(UnsupportedImage, match=r"cut off|damaged"):
        decode(data[: int(len(data) * share)])


@pytest.mark.parametrize("size", [(30_000, 30_000), (9_000, 9_000)])
def test_too_many_pixels_are_refused_before_they_are_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(TooLarge, match="64 million pixels"):
        decode(blank_png(*size))


def test_a_side_that_is_too_long_is_refused() -> None:
    with pytest.raises(TooLarge, match="16,384"):
        decode(blank_png(1, 65_535))


def test_a_file_with_too_many_bytes_is_refused() -> None:
    with (
        Decoder(limits=Limits(bytes=1 << 20)) as decoder,
        pytest.raises(TooLarge, match="1 MiB"),
    ):
        decoder.decode(b"\xff\xd8\xff" + bytes(1 << 20))


def test_cmyk_is_converted() -> None:
    red = Image.new("CMYK", (20, 10), (0, 255, 255, 0))
    pixels = decode(save(red, "JPEG", quality=95)).pixels
    assert pixels.shape == (10, 20, 3)
    assert pixels[5, 5, 0] > 200
    assert pixels[5, 5, 1:].max() < 60


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65_535, 256).astype(np.uint16).reshape(16, 16)
    pixels = decode(save(Image.fromarray(ramp), "PNG")).pixels
    assert np.abs(pixels[..., 0].astype(int).ravel() - np.arange(256)).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_modes_without_transparency_keep_their_look(mode: str) -> None:
    picture = Image.fromarray(gradient()).convert(mode)
    pixels = decode(save(picture, "PNG")).pixels
    assert np.array_equal(pixels, np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    picture = Image.new(mode, (8, 8), 0)
    assert (decode(save(picture, "PNG")).pixels == 255).all()


def test_a_palette_with_transparency_becomes_white_where_it_is_clear() -> None:
    picture = Image.new("P", (8, 8), 0)
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((3, 3), 1)
    pixels = decode(save(picture, "PNG", transparency=0)).pixels
    assert pixels[3, 3].tolist() == [200, 100, 50]
    assert pixels[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animated_file_is_refused(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = save(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    with pytest.raises(UnsupportedImage, match="animated"):
        decode(data)


def test_the_first_picture_of_an_mpo_is_taken() -> None:
    frames = [Image.fromarray(gradient()), Image.new("RGB", (16, 16))]
    data = save(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert decode(data).pixels.shape == (48, 64, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_comes_out_upright(orientation: int) -> None:
    upright = Image.fromarray(gradient())
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.get(orientation)
    stored = upright if undo is None else upright.transpose(Image.Transpose(undo))
    data = save(stored, "PNG", exif=exif_with_gps(orientation))
    assert np.array_equal(decode(data).pixels, gradient())


def test_broken_exif_is_no_reason_to_refuse() -> None:
    data = save(Image.fromarray(gradient()), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert decode(data).pixels.shape == (48, 64, 3)


def test_no_metadata_comes_out() -> None:
    data = save(
        Image.fromarray(gradient()),
        "JPEG",
        exif=exif_with_gps(6),
        comment=SECRET,
        xmp=SECRET,
        icc_profile=SECRET,
    )
    data += b"PK\x03\x04" + SECRET
    assert data.count(SECRET) == 5
    pixels = decode(data).pixels
    for rebuilt in (encode_png(pixels), encode_jpeg(pixels)):
        assert SECRET not in rebuilt
        picture = Image.open(io.BytesIO(rebuilt))
        assert not picture.getexif()
        assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_the_encoders_take_grey_and_colour() -> None:
    assert np.array_equal(decode(encode_png(gradient())).pixels, gradient())
    grey = to_grey(gradient())
    assert grey.shape == (48, 64)
    assert to_grey(grey) is grey
    assert np.array_equal(decode(encode_png(grey)).pixels[..., 1], grey)
    difference = np.abs(decode(encode_jpeg(gradient(), 95)).pixels.astype(int) - gradient())
    assert difference.mean() < 3


def test_random_damage_is_a_sentence_or_a_picture() -> None:
    rng = np.random.default_rng(7)
    sources = [save(Image.fromarray(gradient()), kind) for kind in ("JPEG", "PNG", "WEBP")]
    for number in range(150):
        data = bytearray(sources[number % 3])
        for place in rng.integers(12, len(data), 4):
            data[place] = rng.integers(0, 256)
        with contextlib.suppress(InvalidInput):
            assert decode(bytes(data)).pixels.ndim == 3


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("hoard = [bytearray(1 << 24) for _ in range(1000)]", "too much memory"),
        ("os._exit(11)", "decoder failed"),
        ("os.abort()", "decoder failed"),
        ("time.sleep(60)", "more than 2 seconds"),
        ("open('/etc/hostname')", "damaged"),
        ("os.write(os.memfd_create('x'), b'x')", "damaged"),
    ],
)
def test_a_child_that_misbehaves_is_reported_and_replaced(
    tmp_path: Path, body: str, sentence: str
) -> None:
    good = encode_png(gradient())
    seconds = 2.0 if "sleep" in body else 60.0  # a busy machine is slow to hoard
    with decoder_running(tmp_path, body, seconds=seconds, memory=512 << 20) as decoder:
        assert decoder.decode(good).pixels.shape == (48, 64, 3)
        with pytest.raises(UnsupportedImage, match=sentence):
            decoder.decode(good + b"BAD")
        assert decoder.decode(good).pixels.shape == (48, 64, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="the CPU limit is checked on Linux")
def test_a_child_that_spins_is_ended_by_its_cpu_limit(tmp_path: Path) -> None:
    good = encode_png(gradient())
    body = "\n    while True: pass"
    with decoder_running(tmp_path, body, cpu_seconds=1, seconds=60.0) as decoder:
        with pytest.raises(UnsupportedImage, match="decoder failed"):
            decoder.decode(good + b"BAD")
        assert decoder.decode(good).pixels.shape == (48, 64, 3)


def test_a_child_sees_none_of_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNOTATOR_PASSPHRASE", "open sesame")
    good = encode_png(gradient())
    body = "assert 'ANNOTATOR_PASSPHRASE' not in os.environ; raise MemoryError"
    with (
        decoder_running(tmp_path, body) as decoder,
        pytest.raises(UnsupportedImage, match="too much memory"),
    ):
        decoder.decode(good + b"BAD")


def test_children_are_recycled_and_none_is_left_behind() -> None:
    before = {child.pid for child in psutil.Process().children()}

    def ours() -> set[int]:
        return {child.pid for child in psutil.Process().children()} - before

    with Decoder(children=1, pictures_per_child=2) as decoder:
        seen: list[set[int]] = []
        for _ in range(4):
            decoder.decode(encode_png(gradient()))
            seen.append(ours())
        assert len(set().union(*seen)) == 2
    assert not ours()


def test_threads_share_a_pool() -> None:
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        pixels = np.random.default_rng(seed).integers(0, 255, (40, 40, 3), dtype=np.uint8)
        try:
            for _ in range(10):
                assert np.array_equal(decoder.decode(encode_png(pixels)).pixels, pixels)
        except BaseException as error:  # noqa: BLE001  (told in the main thread)
            failures.append(error)

    with Decoder(children=2) as decoder:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_uses_children_of_its_own() -> None:
    expected = decode(encode_png(gradient())).pixels
    pid = os.fork()
    if pid == 0:
        same = np.array_equal(decode(encode_png(gradient())).pixels, expected)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert np.array_equal(decode(encode_png(gradient())).pixels, expected)
