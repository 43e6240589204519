"""Turns of a course: where it has risen and begins to fall, or has fallen and begins to rise.

However time is counted, a turn stays where it is; bends, at which a course falls faster or slower, do not, and every
smooth decay has them. So turns are looked for, bends are not. A course that stays level for long between its rise and
its fall, as with a schedule of warm-up, plateau and decay, has no change at which it turns round: there the plateau is
found.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final

import numpy as np

from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.jumps import (
    LEAST_CHANGES,
    least_side,
    make_null_courses,
    measure_wandering,
    take_limit,
    take_spikes_out,
)

_LEAST_TURN: Final = 0.3
_FLAT_DEVIATIONS: Final = 3.0
_SIDE: Final = 3
_NUM_NEARBY: Final = 3
_END_SHARE: Final = 3.0
_STEEPER: Final = 2.0
_LEVEL: Final = 0.07  # decades off the highest or lowest value, that a plateau goes up and down by at least
_LEVEL_DEVIATIONS: Final = 4.0
_BULGE: Final = 0.06  # decades that the middle of a plateau stands above its outer quarters, at most
_LEAST_PLATEAU: Final = 6
_PLATEAU_SHARE: Final = 0.3  # of the way from where the course comes from to where it goes


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a course.

    Attributes:
        change: The first change after it, at least 1.
        size: How far the course goes on the side on which it goes less, decades; below 0 where it begins to fall.
        place: The change at which the course is highest or lowest.
        start: The change from which it goes to the turn.
        end: The change to which it goes from there.
        level: The first change of a plateau on which the course stays until it turns, at least 1; None where it turns
            at once. `change` is the first one after the plateau.
    """

    change: int
    size: float
    place: int
    start: int
    end: int
    level: int | None = None


def find_turns(course: FloatArray, jumps: Sequence[int] = ()) -> tuple[Turn, ...]:
    """Find where a course turns round, between its jumps.

    Args:
        course: float64 of shape (P,), finite, decades.
        jumps: First changes after each jump.

    Returns:
        Turns in order: by 0.3 decades at least, and further than a random walk with as large steps, white noise too,
        turns in 99 of 100 cases.
    """
    if len(course) < LEAST_CHANGES:
        return ()
    calm = _take_ends_off(take_spikes_out(course))
    wandering = measure_wandering(calm)
    least = max(_LEAST_TURN, _simulate_limit(len(course)) * wandering)
    edges = [0, *jumps, len(course)]
    turns: list[Turn] = []
    for first, end in pairwise(edges):
        turns += _turn_between(calm, first, end, least, wandering)
    return tuple(turns)


def _take_ends_off(course: FloatArray) -> FloatArray:
    """Let a course begin, and end, with its usual values: of the first and the last, nothing tells that they stay."""
    side = least_side(len(course))
    calm = course.copy()
    for way in (calm, calm[::-1]):
        nearby = way[side - 1 : side - 1 + _NUM_NEARBY]
        limit = _END_SHARE * max(measure_wandering(course), float(np.ptp(nearby)))
        ends = way[: side - 1]
        ends[np.abs(ends - nearby[0]) > limit] = nearby[0]
    return calm


def _turn_between(course: FloatArray, first: int, end: int, least: float, wandering: float) -> list[Turn]:
    side = least_side(len(course))
    if end - first < 2 * side + 1:
        return []
    part = course[first:end]
    heights, depths = measure_turns(part)
    sizes = np.maximum(heights, depths)
    sizes[: side - 1] = sizes[len(sizes) - side + 1 :] = 0.0
    place = int(np.argmax(sizes))
    if sizes[place] < least:
        return []
    sign = -1.0 if heights[place] >= depths[place] else 1.0
    start = int(np.argmax(sign * part[: place + 1]))
    stop = place + int(np.argmax(sign * part[place:]))
    plateau = _find_plateau(sign * part, place, start, stop, wandering)
    bend = plateau[1] if plateau else _find_bend(sign * part, place, wandering)
    level = first + plateau[0] if plateau and plateau[0] >= side else None
    change = int(np.clip(first + bend, first + side, end - side))
    turn = Turn(change, sign * float(sizes[place]), first + place, first + start, first + stop, level)
    parts = ((first, first + plateau[0] if plateau else change), (change, end))
    before, after = (_turn_between(course, *edges, least, wandering) for edges in parts)
    return [*before, turn, *after]


def _find_plateau(part: FloatArray, place: int, start: int, stop: int, wandering: float) -> tuple[int, int] | None:
    """The first change of the plateau around the lowest value, and the first one after it; None where there is none."""
    limit = max(_LEVEL, _LEVEL_DEVIATIONS * wandering)
    low = part <= part[place] + limit
    first = place - int(np.argmin(low[place::-1])) + 1 if not low[: place + 1].all() else 0
    after = place + int(np.argmin(low[place:])) if not low[place:].all() else len(part)
    # Values on the way there and back are low enough as well, but off the level of the others.
    near = np.flatnonzero(part[first:after] <= np.median(part[first:after]) + limit / 2)
    first, after = first + int(near[0]), first + int(near[-1]) + 1
    width = after - first
    if width < max(_LEAST_PLATEAU, _PLATEAU_SHARE * (stop - start)):
        return None
    quarter = width // 4
    outer = np.concatenate([part[first : first + quarter], part[after - quarter : after]])
    bulge = float(np.mean(outer) - np.mean(part[first + quarter : after - quarter]))
    return (first, after) if bulge <= _BULGE else None


def _find_bend(part: FloatArray, place: int, wandering: float) -> int:
    """The first change after a turn of which the lowest value is at a place.

    Where the bottom is flat and one side far steeper, that is where this one ends or begins: a warm-up ends, or a decay
    begins.
    """
    high = part > part[place] + _FLAT_DEVIATIONS * wandering
    before, after = np.flatnonzero(high[:place]), np.flatnonzero(high[place:])
    first = int(before[-1]) + 1 if len(before) else 0
    last = place + int(after[0]) - 1 if len(after) else len(part) - 1
    fall = part[max(0, first - _SIDE)] - part[first]
    rise = part[min(len(part) - 1, last + _SIDE)] - part[last]
    if max(fall, rise) < _STEEPER * min(fall, rise):
        return place
    return first if fall > rise else last + 1


def measure_turns(courses: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How high each value stands above the lowest one on either side, the higher of both; and how deep.

    Args:
        courses: float64 of shape (..., P).

    Returns:
        Two float64 arrays of that shape, at least 0.
    """
    both = []
    for sign in (1.0, -1.0):
        signed = sign * courses
        before = np.minimum.accumulate(signed, axis=-1)
        after = np.minimum.accumulate(signed[..., ::-1], axis=-1)[..., ::-1]
        both.append(signed - np.maximum(before, after))
    return both[0], both[1]


@cache
def _simulate_limit(num_changes: int) -> float:
    limits = []
    for courses in make_null_courses(num_changes):
        sizes = np.max(measure_turns(courses), axis=(0, 2))
        limits.append(take_limit(sizes, courses))
    return max(limits)
