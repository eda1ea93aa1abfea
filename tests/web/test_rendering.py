import datetime as dt

import pytest

from annotator.core.db import now
from annotator.web.rendering import ago, label_named, number, percent, when


def test_numbers_as_people_write_them() -> None:
    assert number(3579) == "3,579"
    assert number(0.5) == "0.50"
    assert percent(0.874) == "87 %"
    assert number(None) == percent(None) == "\N{EN DASH}"


def test_moments() -> None:
    assert when(dt.datetime(2026, 5, 3, 9, 5, tzinfo=dt.UTC)) == "3 May 2026, 09:05 UTC"
    assert when(None) == "\N{EN DASH}"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "just now"), (150, "2 min ago"), (7300, "2 h ago"), (200000, "2 d ago")],
)
def test_distances(seconds: int, words: str) -> None:
    assert ago(now() - dt.timedelta(seconds=seconds)) == words


def test_a_label_of_another_schema_is_still_shown() -> None:
    assert label_named("happiness").shape == "triangle-up"
    assert (label_named("boredom").name, label_named("boredom").shape) == ("boredom", "ring")
