"""Change pictures at random and watch the decoder.

Every case must end as upright RGB pixels within the limits, with no word of the file in what is
encoded from them, or as one clear sentence. Anything else is a trouble, and its file is kept.

    python -m tests.imaging.fuzz [--cases 10000] [--seed 1] [--keep FOLDER]
"""

import argparse
import json
import random
import re
import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from annotator.core.errors import InvalidInput
from annotator.imaging.decode import Decoder, Limits, UInt8Array, encode_png
from tests.imaging.zoo import CANARY, PNG_MAGIC, zoo

Outcome = tuple[UInt8Array, bytes]
"""Pixels, and what is encoded from them."""

LIMITS = Limits(pixels=4_000_000, side=8_192, cpu_seconds=5, seconds=60.0, memory=512 << 20)
_EDGES = (0, 1, 0x7F, 0x80, 0xFF)
_LONG_EDGES = (
    b"\x00" * 4,
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\x00\x00\xff\xff",
)
_MAGICS = (PNG_MAGIC, b"\xff\xd8\xff\xe0", b"RIFF\x00\x10\x00\x00WEBP")


@dataclass
class Report:
    """What came of all cases.

    Attributes:
        cases: how many files were tried.
        taken: how many came out as pixels.
        refusals: how often each sentence was said.
        troubles: case number and what went wrong.
        slowest: seconds of the slowest case.
    """

    cases: int = 0
    taken: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)
    slowest: float = 0.0


@dataclass
class Verdict:
    """What came of one case: a sentence, a trouble, or neither, when it was taken."""

    sentence: str | None = None
    trouble: str | None = None


def mutate(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Change a file in one to four ways."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        rng.choice(_WAYS)(changed, other, rng)
    if rng.random() < 0.7:  # most cases must get past the first bytes
        magic = next((m for m in _MAGICS if data[:3] == m[:3]), b"")
        changed[: len(magic)] = data[: len(magic)]
    return bytes(changed)


def _flip(data: bytearray, _: bytes, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 8)):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(data: bytearray, _: bytes, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice(_EDGES)


def _set_long(data: bytearray, _: bytes, rng: random.Random) -> None:
    place = rng.randrange(len(data) + 1)
    data[place : place + 4] = rng.choice(_LONG_EDGES)


def _early(data: bytearray, _: bytes, rng: random.Random) -> None:
    """Headers are where sizes and lengths stand."""
    place = rng.randrange(min(len(data), 80) + 1)
    data[place : place + 1] = bytes([rng.randrange(256)])


def _cut(data: bytearray, _: bytes, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _drop(data: bytearray, _: bytes, rng: random.Random) -> None:
    place = rng.randrange(len(data) + 1)
    del data[place : place + rng.randint(1, 64)]


def _repeat(data: bytearray, _: bytes, rng: random.Random) -> None:
    place, length = rng.randrange(len(data) + 1), rng.randint(1, 200)
    data[place:place] = data[place : place + length] * rng.randint(1, 20)


def _splice(data: bytearray, other: bytes, rng: random.Random) -> None:
    data[rng.randrange(len(data) + 1) :] = other[rng.randrange(len(other) + 1) :]


def _append(data: bytearray, other: bytes, _: random.Random) -> None:
    data += other


_WAYS: tuple[Callable[[bytearray, bytes, random.Random], None], ...] = (
    *(_flip, _flip, _set, _set_long, _early, _early, _cut, _drop, _repeat, _splice, _append),
)


def check_sentence(sentence: str) -> None:
    """A refusal is one clear sentence without a path, a trace, or a word of the file."""
    assert re.fullmatch(r"[A-Z][^\n]{10,200}\.", sentence), sentence
    assert not re.search(r"/|\\x|Error|0x|None|canary", sentence), sentence


def judge(data: bytes, decode: Callable[[bytes], Outcome]) -> Verdict:
    """Try one file and say what came of it."""
    try:
        pixels, encoded = decode(data)
        height, width, layers = pixels.shape
        assert layers == 3, "no RGB"
        assert 0 < height * width <= LIMITS.pixels, "more pixels than allowed"
        assert CANARY[:12] not in encoded, "the canary came out"
    except InvalidInput as refusal:
        try:
            check_sentence(refusal.message)
        except AssertionError as error:
            return Verdict(trouble=f"no clear sentence: {error}")
        return Verdict(sentence=refusal.message)
    except BaseException as error:  # noqa: BLE001  (whatever else comes is what we look for)
        return Verdict(trouble=f"{type(error).__name__}: {error}")
    return Verdict()


def run(*, cases: int, seed: int, keep: Path | None = None) -> Report:
    """Try that many changed files on one decoder, always the same ones for a seed."""
    rng = random.Random(seed)
    sources = [animal.data for animal in zoo().values() if 20 < len(animal.data) < 200_000]
    honest = [animal.data for animal in zoo().values() if animal.size]
    report = Report()
    with Decoder(limits=LIMITS) as decoder:

        def decode(data: bytes) -> Outcome:
            pixels = decoder.decode(data).pixels
            return pixels, encode_png(pixels)

        for case in range(cases):
            source = rng.choice(honest if rng.random() < 0.8 else sources)
            data = mutate(source, rng.choice(sources), rng)
            start = time.monotonic()
            verdict = judge(data, decode)
            report.slowest = max(report.slowest, time.monotonic() - start)
            report.cases += 1
            report.taken += verdict.sentence is None and verdict.trouble is None
            if verdict.sentence:
                report.refusals[verdict.sentence] += 1
            if verdict.trouble:
                report.troubles.append(f"case {case}: {verdict.trouble}")
                if keep:
                    (keep / f"{seed}-{case}").write_bytes(data)
    return report


def main() -> None:
    """Run and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for the files that made trouble")
    options = parser.parse_args()
    start = time.monotonic()
    report = run(cases=options.cases, seed=options.seed, keep=options.keep)
    figures = {
        "cases": report.cases,
        "taken": report.taken,
        "refused": sum(report.refusals.values()),
        "troubles": report.troubles,
        "seconds": round(time.monotonic() - start, 1),
        "slowest_seconds": round(report.slowest, 2),
        "peak_mb_of_this_process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "peak_mb_of_a_child": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10,
        "refusals": dict(report.refusals.most_common()),
    }
    print(json.dumps(figures, indent=1))  # noqa: T201  (a command of its own)


if __name__ == "__main__":
    main()
