"""Servers are killed in the middle of uploads; see ``killing`` for what is done and checked."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
KILLS = 500


def kill(kills: int, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, ROOT / "tests/faults/killing.py", "--kills", str(kills), *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_five_hundred_kills_lose_nothing() -> None:
    code, found = kill(KILLS)
    assert (code, found["wrong"], found["kills"]) == (0, [], KILLS)
    assert found["acknowledged"] > 20  # there was something to lose
    assert found["rows"] >= found["acknowledged"]


@pytest.mark.parametrize("harm", ["early", "sweep"])
def test_the_check_sees_a_product_that_is_broken(harm: str) -> None:
    # Chance decides what is hit: on a busy machine a round may pass without a hit.
    for seed in range(1, 5):
        code, found = kill(60, "--harm", harm, "--seed", str(seed))
        if code:
            assert found["wrong"]
            return
    pytest.fail("four rounds found nothing")
