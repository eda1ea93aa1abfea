"""Strange pictures come out as pixels and nothing else; harmful files come out as a sentence."""

import io

import numpy as np
import pytest
from PIL import Image

from annotator.core.errors import InvalidInput
from annotator.imaging.decode import Decoder, Limits, decode, encode_jpeg, encode_png
from tests.imaging import fuzz
from tests.imaging.zoo import CANARY, Animal, exif, picture, save, scan_bomb, zoo

ZOO = zoo()
TAKEN = sorted(name for name, animal in ZOO.items() if animal.size)
REFUSED = sorted(name for name, animal in ZOO.items() if not animal.size)


def chunk_names(data: bytes) -> set[bytes]:
    names, place = set(), 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        names.add(data[place + 4 : place + 8])
        place += 12 + length
    return names


@pytest.mark.parametrize("name", TAKEN)
def test_an_honest_picture_comes_out_as_pixels_alone(name: str) -> None:
    animal = ZOO[name]
    pixels = decode(animal.data).pixels
    assert (pixels.shape[1], pixels.shape[0]) == animal.size
    assert pixels.dtype == np.uint8
    as_png, as_jpeg = encode_png(pixels), encode_jpeg(pixels)
    assert CANARY not in as_png
    assert CANARY not in as_jpeg
    assert chunk_names(as_png) == {b"IHDR", b"IDAT", b"IEND"}
    assert not Image.open(io.BytesIO(as_jpeg)).getexif()


@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_comes_out_as_a_sentence(name: str) -> None:
    with pytest.raises(InvalidInput, match=ZOO[name].sentence) as caught:
        decode(ZOO[name].data)
    fuzz.check_sentence(caught.value.message)


def test_the_carriers_do_carry() -> None:
    carriers = [name for name in TAKEN if "everything" in name]
    assert len(carriers) == 3
    for name in carriers:
        assert CANARY in ZOO[name].data
    tags = Image.open(io.BytesIO(ZOO["jpeg with everything"].data)).getexif()
    assert tags.get_ifd(0x8825)[2] == (52.0, 31.0, 12.0)


def test_the_orientation_of_the_file_counts_and_not_that_of_its_thumbnail() -> None:
    upright = np.asarray(picture())
    for orientation, turns in ((1, 0), (3, 2), (6, 3), (8, 1)):
        data = save(picture(), "PNG", exif=exif(orientation))
        assert np.array_equal(decode(data).pixels, np.rot90(upright, turns))


def test_a_jpeg_that_makes_its_decoder_walk_in_circles_is_ended() -> None:
    bomb = scan_bomb(8_000, 400)
    assert len(bomb) < 8_000
    limits = Limits(cpu_seconds=1, seconds=60.0)
    with Decoder(children=1, limits=limits) as decoder:
        with pytest.raises(InvalidInput, match="decoder failed"):
            decoder.decode(bomb)
        assert decoder.decode(save(picture(), "PNG")).pixels.shape == (48, 64, 3)


def test_a_picture_that_wants_more_memory_than_the_child_may_have_is_told() -> None:
    large = save(Image.new("RGB", (7_000, 7_000)), "PNG")
    with Decoder(children=1, limits=Limits(memory=160 << 20)) as decoder:
        with pytest.raises(InvalidInput, match=r"memory|decoder failed"):
            decoder.decode(large)
        assert decoder.decode(save(picture(), "PNG")).pixels.shape == (48, 64, 3)


def test_mutated_pictures_never_crash_and_never_tell() -> None:
    report = fuzz.run(cases=300, seed=11)
    assert report.cases == 300
    assert report.troubles == []
    assert report.taken > 20
    assert sum(report.refusals.values()) > 50


def test_the_fuzzer_notices_what_it_is_there_for() -> None:
    animal = Animal(save(picture(), "PNG"))
    leaky = fuzz.judge(animal.data, lambda _: (np.zeros((3, 3, 3), np.uint8), CANARY))
    assert "canary" in (leaky.trouble or "")

    def crash(_: bytes) -> fuzz.Outcome:
        raise MemoryError

    assert "MemoryError" in (fuzz.judge(animal.data, crash).trouble or "")
