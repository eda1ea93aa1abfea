"""Who goes where: splits by person, and the balance of the training split. No tables, no pixels."""

import hashlib
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

SPLITS = ("train", "valid", "test")
ENDS = (0.70, 0.85)  # of train and valid on the line from 0 to 1; the rest is test
SLACK = 0.03  # how far chance may take the shares off before people near an end are moved

Item = TypeVar("Item", bound=Hashable)


def place(seed: int, name: str) -> float:
    """A number from 0 to below 1 that depends on the seed and the name alone."""
    digest = hashlib.sha256(f"{seed}\x1f{name}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56


def split_people(people: Mapping[str, Counter[str]], *, seed: int) -> dict[str, str]:
    """Puts every person wholly into one split.

    Seed and id give every person a place on a line, and train, valid and test are 70, 15 and
    15 % of it, so that somebody who was tested on in one export is not trained on in the next
    with the same seed. People are moved only where chance was too unkind: those next to an end,
    when a share would be more than 3 points off, and as few as can be, where a split would lack a
    class that others can spare.

    Args:
        people: per person's id, how many faces of each class.
        seed: repeats the choice.

    Returns:
        Per person's id one of ``SPLITS``.
    """
    places = {person: place(seed, person) for person in people}
    order = sorted(people, key=lambda person: places[person])
    first, second = (_cut([places[person] for person in order], end) for end in ENDS)
    chosen = dict.fromkeys(order[:first], "train")
    chosen |= dict.fromkeys(order[first:second], "valid")
    chosen |= dict.fromkeys(order[second:], "test")
    holders = Counter(label for person in order for label in people[person])
    for label, count in sorted(holders.items(), key=lambda pair: (pair[1], pair[0])):
        _fill(chosen, order, people, label, "train")
        if count >= len(SPLITS):
            _fill(chosen, order, people, label, "test")
            _fill(chosen, order, people, label, "valid")
    return chosen


def _cut(places: Sequence[float], end: float) -> int:
    """How many of the places in order lie before an end, kept near the end's share of all."""
    before, count = bisect_left(places, end), len(places)
    least, most = math.floor((end - SLACK) * count), math.ceil((end + SLACK) * count)
    return min(max(before, least), most)


def _fill(
    chosen: dict[str, str],
    order: Sequence[str],
    people: Mapping[str, Counter[str]],
    label: str,
    split: str,
) -> None:
    """Moves one person with a class into a split that lacks it, if another split can spare one."""
    holders = [person for person in order if people[person][label]]
    if any(chosen[person] == split for person in holders):
        return
    donor = max(
        (other for other in SPLITS if other != split),
        key=lambda other: sum(chosen[person] == other for person in holders),
    )
    spare = [
        person
        for person in holders
        if chosen[person] == donor and _can_spare(chosen, people, person, split)
    ]
    if spare:
        # The one with the fewest faces disturbs the shares least; ties go by place.
        chosen[min(spare, key=lambda person: people[person].total())] = split


def _can_spare(
    chosen: Mapping[str, str], people: Mapping[str, Counter[str]], person: str, target: str
) -> bool:
    """Whether a split keeps every class of a person when they leave it."""
    home = chosen[person]
    if target == "train" and home != "train":
        return True  # a class that cannot be learned is worse than one that cannot be measured
    return all(
        any(people[other][label] and chosen[other] == home and other != person for other in chosen)
        for label in people[person]
    )


def balance_items(
    labels: Mapping[Item, str], *, how: str, seed: int
) -> dict[Item, tuple[int, float]]:
    """Balances the classes of a training split.

    Args:
        labels: per item its class.
        how: ``none``; ``undersample`` to the smallest class; ``oversample`` to the largest by
            whole repeats and a seeded rest; ``weights``, number of items / (classes x items of
            the class), which average to 1.
        seed: repeats the choice.

    Returns:
        Per item how often it is written (0: left out) and its weight.
    """
    groups: dict[str, list[Item]] = {}
    for item, label in labels.items():
        groups.setdefault(label, []).append(item)
    sizes = [len(items) for items in groups.values()]
    answer: dict[Item, tuple[int, float]] = {}
    for items in groups.values():
        ordered = sorted(items, key=lambda item: place(seed, f"balance-{item}"))
        weight = len(labels) / (len(groups) * len(items)) if how == "weights" else 1.0
        for rank, item in enumerate(ordered):
            answer[item] = (_copies(how, rank, len(items), min(sizes), max(sizes)), weight)
    return answer


def _copies(how: str, rank: int, size: int, smallest: int, largest: int) -> int:
    if how == "undersample":
        return int(rank < smallest)
    if how == "oversample":
        return largest // size + int(rank < largest % size)
    return 1
