"""Checkpoints whose weights belong elsewhere: to another step, or to another run.

Of three successive checkpoints of a training, the outer two are the farthest apart: the shorter way to the middle one
is 0.71 of that for a random walk and 0.5 for a drift. At a noise floor, where all are equally far apart, it is 1, and
rates that are raised again and again make it 2 now and then. Whatever is beyond that did not come out of the training.

References:
    docs/method.md, "Impostors".
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from wsanalyze.likeness.samples import Distances, FloatArray
from wsanalyze.likeness.swaps import Order, Swap, compare_ways, line_up, look_around

# How much farther than its neighbours from each other, and what share of that way to the nearest of the others at most.
_EVIDENCE: Final = ((3.0, 1.0), (1.25, 0.5), (0.85, 0.1))
# What is beyond that of a training, though it may be no evidence, and how much weaker evidence is counted with it.
_MIN_ODD_RATIO: Final = 1.25
_MARGIN: Final = 2.0
_MAX_TURN: Final = 4
_MAX_SHARE: Final = 3


@dataclass(frozen=True, slots=True)
class Impostor:
    """A checkpoint whose neighbours are near each other, and far from it.

    Attributes:
        position: Its index.
        before: The index of the nearest checkpoint before it that is no impostor itself.
        after: The same after it.
        to_before: Its distance to the neighbour before it: relative, 0 to 2, in the median over tensors.
        to_after: That to the neighbour after it.
        between: That of the neighbours to each other.
        nearest: The index of the checkpoint whose weights are nearest to its own.
        to_nearest: Its distance to that one.
    """

    position: int
    before: int
    after: int
    to_before: float
    to_after: float
    between: float
    nearest: int
    to_nearest: float

    @property
    def way(self) -> float:
        """Its distance to the nearer of its neighbours."""
        return min(self.to_before, self.to_after)


def find_impostors(distances: Distances, rounding: FloatArray, swaps: Sequence[Swap] = ()) -> list[Impostor]:
    """Find checkpoints that are far from both neighbours while those are near each other.

    Three times as far is enough by itself. A quarter farther is where the weights of another step are nearer than half
    as far, and as far is where they are ten times nearer: hardly anything but those weights. The clearest one is taken
    out first, and its neighbours are judged without it, so that they are not taken for impostors because of it. The
    first and the last checkpoint have only one neighbour, see `strange_ends`.

    Args:
        distances: Distances between T checkpoints, in order.
        rounding: float64 of shape (T,): the relative precision of the dtype of each; what is explained by a change of
            dtype is no evidence.
        swaps: Those that are told already: the sequence is judged with them put right.

    Returns:
        The impostors, in order; none where the sequence swings by itself.
    """
    line = line_up(len(distances), swaps)
    ratios = {middle: _middle_ratio(distances, rounding, line, middle) for middle in line[1:-1]}
    if _swings(distances, line, ratios):
        return []
    found: list[Impostor] = []
    while ratios:
        worst = max(ratios, key=lambda position: ratios[position])
        ratio = ratios.pop(worst)
        if ratio <= min(least for least, _ in _EVIDENCE):
            break
        impostor = _describe(distances, worst, line)
        if not _is_evident(impostor, ratio):
            continue
        found.append(impostor)
        index = line.index(worst)
        line.remove(worst)
        for neighbour in line[index - 1 : index + 1]:
            if neighbour in ratios:
                ratios[neighbour] = _middle_ratio(distances, rounding, line, neighbour)
    if len(found) * _MAX_SHARE > max(_MAX_SHARE, len(distances)):
        return []
    order = Order(distances, rounding)
    found = [one for one in found if _stands_out(order, line, one.position, line_up(len(distances), swaps))]
    return sorted(found, key=lambda impostor: impostor.position)


def find_nearest(distances: Distances, position: int) -> tuple[int, float]:
    """Find the checkpoint whose weights are nearest to those of another one.

    Args:
        distances: As for `find_impostors`.
        position: The other one; something must be at a finite distance from it.

    Returns:
        Its position and its distance: relative, in the median over tensors.
    """
    others = {other: distances.relative(position, other) for other in range(len(distances)) if other != position}
    nearest = min((other for other in others if np.isfinite(others[other])), key=lambda other: others[other])
    return nearest, others[nearest]


def _stands_out(order: Order, rest: Sequence[int], position: int, line: Sequence[int]) -> bool:
    """Whether none of those that are left contradict the order of the others more than this one does.

    Where two have changed places, what lies between them may be nearer to neither of its neighbours.
    """
    with_it = [other for other in line if other == position or other in rest]
    place = with_it.index(position)
    own = order.disorder(with_it, (place,), look_around(with_it, place))
    near = range(max(0, place - 3), min(len(rest), place + 3))
    return all(order.disorder(rest, (other,), look_around(rest, other)) < own for other in near)


def _swings(distances: Distances, line: Sequence[int], ratios: Mapping[int, float]) -> bool:
    """Whether the sequence goes to and fro: more than half stand out, or the same weights do in every turn."""
    odd: list[tuple[int, Impostor]] = []
    for index, middle in enumerate(line[1:-1], 1):
        if ratios[middle] > min(least for least, _ in _EVIDENCE):
            impostor = _describe(distances, middle, line)
            if ratios[middle] > _MIN_ODD_RATIO or _is_evident(impostor, ratios[middle], _MARGIN):
                odd.append((index, impostor))
    if len(odd) <= 1 or 2 * len(odd) > len(ratios):
        return len(odd) > 1 or any(_recurs_at_both_ends(distances, line, impostor) for _, impostor in odd)
    turns = {after - before for (before, _), (after, _) in itertools.pairwise(odd)}
    turn = min(turns)
    whole = odd[0][0] - turn < 1 and odd[-1][0] + turn > len(line) - 2
    return (
        len(turns) == 1
        and turn <= _MAX_TURN
        and whole
        and all(
            impostor.to_nearest < impostor.way / 2 and (index - line.index(impostor.nearest)) % turn == 0
            for index, impostor in odd
        )
    )


def _recurs_at_both_ends(distances: Distances, line: Sequence[int], impostor: Impostor) -> bool:
    """Whether the sequence began and ended with weights like these."""
    return all(distances.relative(impostor.position, end) < impostor.way / 2 for end in (line[0], line[-1]))


def _is_evident(impostor: Impostor, ratio: float, margin: float = 1.0) -> bool:
    return any(ratio > least and impostor.to_nearest <= margin * most * impostor.way for least, most in _EVIDENCE)


def _middle_ratio(distances: Distances, rounding: FloatArray, line: Sequence[int], middle: int) -> float:
    """How much farther a checkpoint is from the nearer of its neighbours than those are from each other."""
    index = line.index(middle)
    before, after = line[index - 1], line[index + 1]
    return min(
        compare_ways(distances, rounding, (before, middle), (before, after)),
        compare_ways(distances, rounding, (middle, after), (before, after)),
    )


def _describe(distances: Distances, position: int, line: Sequence[int]) -> Impostor:
    index = line.index(position)
    before, after = line[index - 1], line[index + 1]
    to_before, to_after = distances.relative(position, before), distances.relative(position, after)
    between = distances.relative(before, after)
    return Impostor(position, before, after, to_before, to_after, between, *find_nearest(distances, position))
