"""Pairs of checkpoints that stand in each other's place, whether side by side or far apart.

Of any three checkpoints of a training, the two that are the farthest apart in time are so in distance as well.
An exchange of two breaks that wherever one of them takes part, and among all exchanges only the one that puts the same
two right mends it all: what others mend they break elsewhere.

References:
    docs/method.md, "Impostors".
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from wsanalyze.likeness.samples import Distances, FloatArray

# How much shorter than the ways to the one between, in its logarithm, is out of order.
_TOLERANCE: Final = 0.05
# How much nearer the two must be to their neighbours the other way round, and how much of the disorder may remain.
_MIN_GAIN: Final = 1.1
_MAX_LEFT: Final = 0.1
# How much is disorder, and how much more of it the best exchange must mend than any other.
_MIN_MENDED: Final = 0.4
_MIN_LEAD: Final = 1.15
_MAX_EXPLANATIONS: Final = 2
# How much farther apart the outer two of three must be than the nearer of the ways between, so that there is an order.
_MIN_PROGRESS: Final = 1.1
# How many times the way beside it an end's way may be: the first steps of a training are often long, the last are not.
_MAX_FIRST_JUMP: Final = 3.0
_MAX_LAST_JUMP: Final = 2.0
_MAX_JUMP: Final = 20.0
_WINDOW: Final = 6
_MAX_SUSPECTS: Final = 32
_MAX_SHARE: Final = 3
_MIN_CHECKPOINTS: Final = 4


@dataclass(frozen=True, slots=True)
class Swap:
    """Two checkpoints whose weights say that they stand in each other's place.

    Attributes:
        first: The index of the one that stands first.
        second: The index of the other.
        gain: How many times shorter the ways to their neighbours would be the other way round.
        instead: Two others that may have changed places instead, which explains what is seen as well. Of four or five
            checkpoints it always does: what remains is the same sequence from its end to its start.
    """

    first: int
    second: int
    gain: float
    instead: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What the exchange of two would do: by how much it mends the disorder, and what share of that is left."""

    first: int
    second: int
    gain: float
    mended: float
    left: float


class Order:
    """How well an order agrees with the distances."""

    def __init__(self, distances: Distances, rounding: FloatArray) -> None:
        self._distances, self._rounding = distances, rounding
        self._way = cache(self._measure)
        self.excess = cache(self._compare)

    def ratio(self, far: Sequence[tuple[int, int]], near: Sequence[tuple[int, int]]) -> float:
        """The ratio of two ways, in the median over tensors; see `compare_ways`."""
        with np.errstate(invalid="ignore"):
            longer = np.sum([self._way(*sorted(pair))[0] for pair in far], axis=0)
            shorter = np.sum([self._way(*sorted(pair))[1] for pair in near], axis=0)
        return _take_median(longer, shorter)

    def disorder(self, line: Sequence[int], places: Iterable[int], window: Sequence[int]) -> float:
        """By how much triples of an order that contain one of some places contradict it.

        Args:
            line: The checkpoints in that order.
            places: Indices of the line.
            window: Those among which triples are looked at, increasing.
        """
        some = set(places)
        return sum(
            self.excess(line[middle], *sorted((line[before], line[after])))
            for before, middle, after in itertools.combinations(window, 3)
            if some & {before, middle, after}
        )

    def _measure(self, one: int, other: int) -> tuple[FloatArray, FloatArray]:
        way = self._distances.per_tensor(one, other)
        return take_rounding_off(self._distances, self._rounding, (one, other), way), way

    def _compare(self, middle: int, one: int, other: int) -> float:
        outer = self._way(one, other)[1]
        sides = (self._way(*sorted((end, middle)))[0] for end in (one, other))
        ratio = _take_median(np.maximum(*sides), outer)
        return max(0.0, min(1.0, float(np.log(ratio))) - _TOLERANCE) if ratio > 1 else 0.0


def find_swaps(distances: Distances, rounding: FloatArray) -> list[Swap]:
    """Find pairs that stand in each other's place.

    All exchanges of two that would shorten the way through both places are compared by how much of the disorder around
    them they would mend. The best one is told if it mends nearly all and clearly more than any other, and then the next
    is looked for.

    Args:
        distances: As for `find_impostors`.
        rounding: As for `find_impostors`.

    Returns:
        The swaps, in order; none where the sequence swings by itself.
    """
    order, line = Order(distances, rounding), list(range(len(distances)))
    swaps: list[Swap] = []
    while swap := _find_best(order, line, {place for swap in swaps for place in (swap.first, swap.second)}):
        line[swap.first], line[swap.second] = line[swap.second], line[swap.first]
        swaps.append(swap)
        if 2 * len(swaps) * _MAX_SHARE > max(2 * _MAX_SHARE, len(line)):
            return []
    return sorted(swaps, key=lambda swap: swap.first)


def line_up(length: int, swaps: Sequence[Swap]) -> list[int]:
    """Put swaps right.

    Returns:
        The positions of the checkpoints, in the order in which they belong.
    """
    line = list(range(length))
    for swap in swaps:
        line[swap.first], line[swap.second] = swap.second, swap.first
    return line


def compare_ways(distances: Distances, rounding: FloatArray, far: tuple[int, int], near: tuple[int, int]) -> float:
    """The ratio of two distances, in the median over the tensors that differ at all; 0 where none does.

    What a dtype of lower precision on one side only can have done to the longer distance is taken off it first.
    """
    longer = take_rounding_off(distances, rounding, far, distances.per_tensor(*far))
    return _take_median(longer, distances.per_tensor(*near))


def take_rounding_off(distances: Distances, rounding: FloatArray, pair: tuple[int, int], way: FloatArray) -> FloatArray:
    """Take off distances what a dtype of lower precision on one side only can have done to them.

    Args:
        distances: Distances between T checkpoints.
        rounding: float64 of shape (T,): the relative precision of the dtype of each.
        pair: Two of them.
        way: float64 of shape (tensors,): their distances.
    """
    if rounding[pair[0]] == rounding[pair[1]]:
        return way
    norms = np.maximum(distances.norms[pair[0]], distances.norms[pair[1]])
    left: FloatArray = np.maximum(0.0, way - rounding[list(pair)].max() * norms)
    return left


def _take_median(longer: FloatArray, shorter: FloatArray) -> float:
    known = np.isfinite(longer) & np.isfinite(shorter) & ((longer > 0) | (shorter > 0))
    if not known.any():
        return 0.0
    with np.errstate(divide="ignore"):
        return float(np.median(longer[known] / shorter[known]))


def _find_best(order: Order, line: Sequence[int], told: set[int]) -> Swap | None:
    if len(line) < _MIN_CHECKPOINTS:
        return None
    found = _rank_exchanges(order, line)
    least = found[0].mended / _MIN_LEAD if found else 0.0
    best = sorted((one for one in found if one.mended > least), key=lambda one: one.second - one.first)
    if not 1 <= len(best) <= _MAX_EXPLANATIONS or not all(_is_sound(order, line, one, told) for one in best):
        return None
    others = [(one.first, one.second) for one in best[1:]]
    return Swap(best[0].first, best[0].second, best[0].gain, *others)


def _rank_exchanges(order: Order, line: Sequence[int]) -> list[_Exchange]:
    """The exchanges of two that make the way shorter and the order better, the best one first."""
    found = []
    for first, second in itertools.combinations(_list_suspects(order, line), 2):
        if (gain := _measure_gain(order, line, first, second)) <= 1:
            continue
        window = look_around(line, first, second)
        before = order.disorder(line, (first, second), window)
        after = order.disorder(_exchange(line, first, second), (first, second), window)
        if after < before:
            found.append(_Exchange(first, second, gain, before - after, after / before))
    return sorted(found, key=lambda one: -one.mended)


def _is_sound(order: Order, line: Sequence[int], found: _Exchange, told: set[int]) -> bool:
    """Whether an exchange mends nearly all of what is much, and what remains is a way that leads on."""
    places = found.first, found.second
    if told & set(places) or found.gain < _MIN_GAIN:
        return False
    if found.mended < _MIN_MENDED or found.left > _MAX_LEFT:
        return False
    return _is_in_order(order, _exchange(line, *places), places)


def _list_suspects(order: Order, line: Sequence[int]) -> list[int]:
    """Places at which three in a row are out of order, and both ends; none where that is all over the sequence."""
    places = {0, len(line) - 1}
    for middle in range(1, len(line) - 1):
        if order.excess(line[middle], *sorted((line[middle - 1], line[middle + 1]))) > 0:
            places |= {middle - 1, middle, middle + 1}
    return sorted(places) if len(places) <= _MAX_SUSPECTS else []


def look_around(line: Sequence[int], *places: int) -> list[int]:
    """Places of an order that are near one of some."""
    return [place for place in range(len(line)) if min(abs(place - at) for at in places) <= _WINDOW]


def _exchange(line: Sequence[int], first: int, second: int) -> list[int]:
    other = list(line)
    other[first], other[second] = line[second], line[first]
    return other


def _measure_gain(order: Order, line: Sequence[int], first: int, second: int) -> float:
    """How many times shorter the ways to their neighbours would be."""
    other = _exchange(line, first, second)
    # The ways between the two, and from both to one between them, are the same either way round.
    inner = {first, second, *({first + 1} & {second - 1})}
    steps = [(place, at) for place in (first, second) for at in (place - 1, place + 1)]
    steps = [(place, at) for place, at in steps if 0 <= at < len(line) and at not in inner]
    if not steps:
        return 0.0
    far, near = ([(some[place], some[at]) for place, at in steps] for some in (line, other))
    return order.ratio(far, near)


def _is_in_order(order: Order, line: Sequence[int], places: tuple[int, int]) -> bool:
    """Whether both places, put right, lie on a way that leads on, with steps of a usual length.

    An end that remains far from all others is strange wherever it stands; and where a neighbour is nearly the same, one
    checkpoint holds the weights of another step.
    """
    for place in places:
        middle = min(max(place, 1), len(line) - 2)
        one, way, other = ((line[middle + a], line[middle + b]) for a, b in ((-1, 0), (-1, 1), (0, 1)))
        if max(order.ratio([way], [one]), order.ratio([way], [other])) < _MIN_PROGRESS:
            return False
        back, on = order.ratio([one], [other]), order.ratio([other], [one])
        most = {0: (_MAX_FIRST_JUMP, _MAX_JUMP), len(line) - 1: (_MAX_JUMP, _MAX_LAST_JUMP)}
        if any(jump > limit for jump, limit in zip((back, on), most.get(place, (_MAX_JUMP,) * 2), strict=True)):
            return False
    return True
