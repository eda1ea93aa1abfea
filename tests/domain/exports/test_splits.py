from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.domain.exports.splits import SPLITS, balance_items, split_people

CLASSES = st.sampled_from(["neutral", "happiness", "surprise", "fear"])
PEOPLE = st.dictionaries(
    st.text("0123456789abcdef", min_size=4, max_size=8),
    st.lists(CLASSES, min_size=1, max_size=6).map(Counter),
    max_size=40,
)
SEEDS = st.integers(0, 2**31 - 1)


@given(PEOPLE, SEEDS)
def test_everybody_is_in_one_split_and_the_seed_alone_decides(people: Any, seed: int) -> None:
    chosen = split_people(people, seed=seed)
    assert chosen.keys() == people.keys()
    assert set(chosen.values()) <= set(SPLITS)
    backwards = dict(reversed(people.items()))
    assert split_people(backwards, seed=seed) == chosen


@given(PEOPLE, SEEDS)
def test_every_class_can_be_learned(people: Any, seed: int) -> None:
    chosen = split_people(people, seed=seed)
    everything = {label for labels in people.values() for label in labels}
    learned = {
        label for who, labels in people.items() if chosen[who] == "train" for label in labels
    }
    assert learned == everything


def test_the_shares_are_about_70_15_15() -> None:
    people = {f"{number:032x}": Counter({"neutral": 1}) for number in range(4000)}
    counts = Counter(split_people(people, seed=3).values())
    assert abs(counts["train"] / 4000 - 0.70) < 0.02
    assert abs(counts["valid"] / 4000 - 0.15) < 0.02
    assert abs(counts["test"] / 4000 - 0.15) < 0.02


def test_nearly_everybody_stays_where_they_are_when_others_come() -> None:
    few = {f"{number:032x}": Counter({"neutral": 1, "fear": 1}) for number in range(100)}
    many = few | {f"{number:032x}": Counter({"neutral": 1}) for number in range(100, 300)}
    for seed in range(20):
        before, after = split_people(few, seed=seed), split_people(many, seed=seed)
        assert sum(after[who] != before[who] for who in few) <= 8


@pytest.mark.parametrize("count", [10, 30, 40, 100])
def test_chance_does_not_take_the_shares_far_off(count: int) -> None:
    people = {f"{number:032x}": Counter({"neutral": 1}) for number in range(count)}
    for seed in range(50):
        counts = Counter(split_people(people, seed=seed).values())
        assert abs(counts["train"] - 0.70 * count) <= 0.03 * count + 1
        assert counts["valid"] >= 1
        assert counts["test"] >= 1


@pytest.mark.parametrize("seed", range(20))
def test_a_rare_class_is_in_every_split_when_three_people_show_it(seed: int) -> None:
    people = {f"{number:032x}": Counter({"neutral": 1}) for number in range(60)}
    people |= {f"rare-{number}": Counter({"fear": 1, "neutral": 1}) for number in range(3)}
    chosen = split_people(people, seed=seed)
    assert {chosen[f"rare-{number}"] for number in range(3)} == set(SPLITS)


def test_another_seed_gives_another_split() -> None:
    people = {f"{number:032x}": Counter({"neutral": 1}) for number in range(50)}
    assert split_people(people, seed=1) != split_people(people, seed=2)


LABELS = {number: "neutral" if number < 30 else "fear" for number in range(37)}


def written(how: str, seed: int = 5) -> Any:
    answer = balance_items(LABELS, how=how, seed=seed)
    counts = Counter()
    for item, (copies, _) in answer.items():
        counts[LABELS[item]] += copies
    return answer, counts


def test_no_balance_writes_everything_once() -> None:
    answer, counts = written("none")
    assert counts == {"neutral": 30, "fear": 7}
    assert set(answer.values()) == {(1, 1.0)}


def test_undersampling_goes_down_to_the_smallest_class() -> None:
    answer, counts = written("undersample")
    assert counts == {"neutral": 7, "fear": 7}
    assert answer == written("undersample")[0]
    assert answer != written("undersample", seed=6)[0]


def test_oversampling_goes_up_to_the_largest_class_evenly() -> None:
    answer, counts = written("oversample")
    assert counts == {"neutral": 30, "fear": 30}
    assert {copies for item, (copies, _) in answer.items() if LABELS[item] == "fear"} == {4, 5}


def test_weights_average_to_one_and_even_the_classes_out() -> None:
    answer, counts = written("weights")
    assert counts == {"neutral": 30, "fear": 7}
    assert sum(weight for _, weight in answer.values()) == pytest.approx(len(LABELS))
    of_class = Counter()
    for item, (_, weight) in answer.items():
        of_class[LABELS[item]] += weight
    assert of_class["neutral"] == pytest.approx(of_class["fear"])


def test_nothing_to_balance_is_fine() -> None:
    assert balance_items({}, how="oversample", seed=1) == {}
