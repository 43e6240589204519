"""A first or last checkpoint that belongs to another training: it has one neighbour only, and is unlike all others.

References:
    docs/method.md, "Copies and impostors".
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from wsanalyze.likeness.impostors import Impostor, find_nearest
from wsanalyze.likeness.samples import Distances
from wsanalyze.likeness.swaps import Swap, line_up

# How many times the largest other distance, and how far at least: unrelated weights of equal norm are sqrt(2) apart;
# but the first steps from random weights can be long. Whatever is added to weights and does not depend on them raises
# their norm by more than this before they are so far from where they were.
_MIN_JUMP: Final = 10.0
_MIN_TO_FIRST: Final = 1.3
_MIN_TO_LAST: Final = 1.0
_MAX_NORM_RATIO: Final = 1.5
_MIN_JUDGES: Final = 4


@dataclass(frozen=True, slots=True)
class StrangeEnd:
    """The first or the last checkpoint, far from its only neighbour while all others are near theirs.

    Attributes:
        position: Its index.
        neighbour: The index of the nearest checkpoint in the sequence that is no impostor.
        to_neighbour: Its distance to that one: relative, 0 to 2, in the median over tensors.
        elsewhere: The largest distance between any other two successive checkpoints.
        nearest: The index of the checkpoint whose weights are nearest to its own.
        to_nearest: Its distance to that one.
    """

    position: int
    neighbour: int
    to_neighbour: float
    elsewhere: float
    nearest: int
    to_nearest: float


def find_strange_ends(
    distances: Distances,
    steps: Sequence[int | None],
    impostors: Sequence[Impostor] = (),
    swaps: Sequence[Swap] = (),
) -> list[StrangeEnd]:
    """Find out whether the first and the last checkpoint are as far from all others as unrelated weights are.

    Args:
        distances: As for `find_impostors`.
        steps: The training step of each. Where more steps lie beside an end than between any others, it may be as many
            times farther. A first checkpoint without one is not judged: it may be the model that training began with.
        impostors: Those that are told already: the sequence is judged without them.
        swaps: As for `find_impostors`.

    Returns:
        Those of the two that are; none of fewer than four checkpoints.
    """
    strange = {impostor.position for impostor in impostors}
    line = [position for position in line_up(len(distances), swaps) if position not in strange]
    if len(line) < _MIN_JUDGES:
        return []
    pairs = list(itertools.pairwise(line))
    ways = [distances.relative(*pair) for pair in pairs]
    gaps = [_count_steps(steps[before], steps[after]) for before, after in pairs]
    if not all(np.isfinite(ways)):
        return []
    found = []
    for index, position, least in ((0, line[0], _MIN_TO_FIRST), (-1, line[-1], _MIN_TO_LAST)):
        neighbour = pairs[index][1 + index]
        elsewhere, longest = (max(values[1:] if index == 0 else values[:-1]) for values in (ways, gaps))
        jump = max(least, _MIN_JUMP * elsewhere * max(1.0, gaps[index] / longest))
        if ways[index] < jump or (index == 0 and steps[position] is None):
            continue
        if _compare_norms(distances, position, neighbour) <= _MAX_NORM_RATIO:
            nearest, to_nearest = find_nearest(distances, position)
            found.append(StrangeEnd(position, neighbour, ways[index], elsewhere, nearest, to_nearest))
    return found


def _count_steps(before: int | None, after: int | None) -> float:
    """How many steps lie between two checkpoints; 1 where that is not known."""
    return 1.0 if before is None or after is None else max(1.0, abs(float(after) - float(before)))


def _compare_norms(distances: Distances, one: int, other: int) -> float:
    """How many times the smaller norm the larger one is, in the median over tensors."""
    norms = distances.norms[[one, other]]
    with np.errstate(all="ignore"):
        ratios = norms.max(axis=0) / norms.min(axis=0)
    return float(np.median(ratios[~np.isnan(ratios)])) if not np.isnan(ratios).all() else np.inf
