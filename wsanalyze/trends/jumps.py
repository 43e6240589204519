"""Jumps of a course from one level to another, told from slopes, bends, spikes and wandering.

A jump stays. Two lines are drawn, one through the few values before and one through as many after; how far apart they
are between both is its size. A smooth course has its lines meet, however steep it is, and spikes are taken out before.
The size is compared with how far the course usually moves from one change to the next, and must be larger than that of
the largest jump of simulated courses that only wander.

References:
    Two-sided local lines: Loader, Change point estimation using nonparametric regression, Annals of Statistics 1996.
    Binary segmentation: Vostrikova, Detecting disorder in multidimensional random processes, 1981.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Final

import numpy as np

from wsanalyze.trends.cluster import FloatArray

LEAST_CHANGES: Final = 8
"""Fewer changes have no course to break."""

_LEAST_WANDERING: Final = 0.005
_WINDOW: Final = 5
_LEAST_SIDE: Final = 3
_SHORT: Final = 20
_LEAST_SIDE_OF_SHORT: Final = 2
_STEP_SHARE: Final = 0.6
_SEEN_SHARE: Final = 0.4  # of a jump, that its own step makes
_REACH: Final = 3
_LEAST_FOR_ENDS: Final = 6
_SPIKE_DEVIATIONS: Final = 5.0
_NUM_NULLS: Final = 1000
_LEVEL: Final = 0.01
_LEVEL_OF_LIKELY: Final = 0.05
_SEED: Final = 0
_NORMAL_MAD: Final = 1.4826


@dataclass(frozen=True, slots=True)
class Jump:
    """One jump of a course.

    Attributes:
        change: The first change after it, at least 1.
        size: How far the course jumps, decades; below 0 where it falls.
        score: The size over the standard deviation that it has in courses that wander as much, at least 0.
    """

    change: int
    size: float
    score: float


def find_jumps(course: FloatArray, likely: Sequence[int] = (), least: float = 0.0) -> tuple[Jump, ...]:
    """Find where a course jumps.

    Args:
        course: float64 of shape (P,), finite, decades.
        likely: Changes before which a jump would be no surprise, for another reason than the course: there it need not
            be larger than the largest of a whole simulated course, but than nearly all at one place.
        least: Decades that a jump has at least.

    Returns:
        The jumps in order; none for fewer than 8 changes.
    """
    num_changes = len(course)
    if num_changes < LEAST_CHANGES:
        return ()
    calm = take_spikes_out(course)
    largest, single = _simulate_limits(num_changes)
    limits = np.full(num_changes, largest)
    limits[list(likely)] = single
    search = _Search(calm, measure_wandering(calm), limits, least)
    places: list[int] = []
    found = search.find_next(places)
    while found:
        places = sorted([*places, found.change])
        found = search.find_next(places)
    # What was found first was measured when the others were not known yet, and may have been theirs.
    again = (search.measure(place, [other for other in places if other != place]) for place in places)
    kept = [found for found in again if search.holds(found)]
    edges = [0, *(found.change for found in kept), num_changes]
    return tuple(
        _move_to_step(course, found, first, end) for found, first, end in zip(kept, edges[:-2], edges[2:], strict=True)
    )


def _move_to_step(course: FloatArray, jump: Jump, first: int, end: int) -> Jump:
    """Put a jump between `first` and `end` where the course itself steps.

    That is beside it, where the value after a step was taken for a spike.
    """
    side = least_side(len(course)) + 1  # the jumps beside this one may move as well
    places = [jump.change, *(at for at in (jump.change - 1, jump.change + 1) if first + side <= at <= end - side)]
    steps = {place: float(np.sign(jump.size) * (course[place] - course[place - 1])) for place in places}
    steepest = max(places, key=lambda place: steps[place])
    return replace(jump, change=steepest) if steps[jump.change] < steps[steepest] / 2 else jump


def make_weights(half: int) -> FloatArray:
    """Weights of the values around a place that add up to the jump between their two lines.

    Args:
        half: Number of values before it, and after it, at least 2.

    Returns:
        float64 of shape (2 * half,); the jump of any parabola is 0.
    """
    places = np.arange(half) + 0.5
    centred = places - places.mean()
    after = 1 / half - places.mean() * centred / np.sum(centred**2)
    return np.concatenate([-after[::-1], after])


def measure_wandering(course: FloatArray) -> float:
    """Standard deviation of the steps from one value to the next, their usual size nearby and single ones left out."""
    return max(_LEAST_WANDERING, float(_estimate_wandering(course)))


def least_side(num_changes: int) -> int:
    """Fewest changes between two breaks of a course, or a break and an end."""
    return _LEAST_SIDE if num_changes >= _SHORT else _LEAST_SIDE_OF_SHORT


def take_spikes_out(course: FloatArray) -> FloatArray:
    """Draw a line through values that are far off both sides, further than those move, and are fewer than a phase.

    Args:
        course: float64 of shape (P,), P >= 2.

    Returns:
        A copy.
    """
    limit = _SPIKE_DEVIATIONS * measure_wandering(course)
    calm = course.copy()
    for number in range(1, least_side(len(course))):
        for first in range(2, len(course) - number - 1):
            inside = slice(first, first + number)
            beside = calm[[first - 2, first - 1, first + number, first + number + 1]]
            line = np.interp(np.arange(number) + 1, (0, number + 1), beside[1:3])
            # Neither the tip of a hump nor a value half-way up a jump is further off than those beside it move.
            places = (-1, 0, number + 1, number + 2)
            bent = np.ptp(beside - np.polyval(np.polyfit(places, beside, 1), places))
            least = max(limit, bent, abs(beside[2] - beside[1]))
            off = calm[inside] - line
            alike = (off > 0).all() or (off < 0).all()
            if alike and np.abs(off).min() > least:
                calm[inside] = line
    for way in (calm, calm[::-1]):  # beside an end there is one value on that side
        if len(way) >= _LEAST_FOR_ENDS:
            middle = (way[0] + way[2]) / 2
            if abs(way[1] - middle) > max(limit, abs(way[2] - way[0]), np.ptp(way[2 : 2 + _REACH])):
                way[1] = middle
    return calm


def make_null_courses(num_changes: int) -> tuple[FloatArray, FloatArray]:
    """Courses without breaks, the two ends of what wandering can be: white noise and random walks.

    Returns:
        Two float64 arrays of shape (1000, P), the same each time.
    """
    noise = np.random.default_rng(_SEED).normal(size=(_NUM_NULLS, num_changes))
    return noise, noise.cumsum(axis=1)


def take_limit(sizes: FloatArray, courses: FloatArray, level: float = _LEVEL) -> float:
    """The size, in units of the wandering, that all but one in a hundred courses stay below.

    Args:
        sizes: float64 of shape (N,): what was measured in each course.
        courses: float64 of shape (N, P).
        level: Another share than one in a hundred.
    """
    return float(np.quantile(sizes / _estimate_wandering(courses), 1 - level))


def _estimate_wandering(courses: FloatArray) -> FloatArray:
    steps = np.diff(courses, axis=-1)
    reach = min(_REACH, steps.shape[-1] - 1)
    padded = np.pad(steps, [(0, 0)] * (steps.ndim - 1) + [(reach, reach)], mode="reflect")
    nearby = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=-1)
    # A step is compared with those beside it only: where there are few, it would often be their median itself.
    usual = np.median(np.delete(nearby, reach, axis=-1), axis=-1)
    deviation: FloatArray = _NORMAL_MAD * np.median(np.abs(steps - usual), axis=-1)
    return deviation


@cache
def _simulate_limits(num_changes: int) -> tuple[float, float]:
    """Scores that the largest jump of a course without any hardly reaches, and that one at its middle hardly does."""
    weights, deviations = _list_weights(num_changes)
    limits = []
    for courses in make_null_courses(num_changes):
        scores = np.abs(courses @ weights.T) / deviations
        middle = scores[:, scores.shape[1] // 2]
        limits.append((take_limit(scores.max(axis=1), courses), take_limit(middle, courses, _LEVEL_OF_LIKELY)))
    return max(largest for largest, _ in limits), max(single for _, single in limits)


def _list_weights(num_changes: int) -> tuple[FloatArray, FloatArray]:
    """Weights for all places of a course, float64 of shape (N, P), and what they are divided by, of shape (N,)."""
    weights, deviations = [], []
    for place, half in _list_places([], num_changes):
        row = np.zeros(num_changes)
        row[place - half : place + half] = make_weights(half)
        weights.append(row)
        deviations.append(_find_deviation(half))
    return np.array(weights), np.array(deviations)


def _find_deviation(half: int) -> float:
    """Standard deviation of a jump if steps have one of 1: in white noise or in a random walk, where it is larger."""
    weights = make_weights(half)
    return float(np.sqrt(max(np.sum(weights**2) / 2, np.sum(np.cumsum(weights) ** 2))))


def _list_places(known: Sequence[int], num_changes: int) -> Iterator[tuple[int, int]]:
    """Where a jump can be beside those that are known, and how many values on each side tell of it."""
    side = least_side(num_changes)
    edges = [0, *known, num_changes]
    for first, end in pairwise(edges):
        for place in range(first + side, end - side + 1):
            yield place, min(_WINDOW, place - first, end - place)


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """A course without spikes, how much it wanders, the scores that jumps must reach, and their least size."""

    course: FloatArray
    wandering: float
    limits: FloatArray
    least: float

    def find_next(self, known: Sequence[int]) -> Jump | None:
        """The clearest jump beside those that are known."""
        found = (self._measure(place, half) for place, half in _list_places(known, len(self.course)))
        return max(filter(self.holds, found), key=lambda jump: jump.score / self.limits[jump.change], default=None)

    def measure(self, place: int, others: Sequence[int]) -> Jump:
        """The jump at a place, from values that no other one parts from it."""
        first = max([0, *(other for other in others if other < place)])
        end = min([len(self.course), *(other for other in others if other > place)])
        return self._measure(place, min(_WINDOW, place - first, end - place))

    def holds(self, jump: Jump) -> bool:
        """Whether it is large enough, and made by the step at its place, not by those around it as on a slope."""
        steps = np.diff(self.course)
        own = steps[jump.change - 1]
        around = steps[max(0, jump.change - _WINDOW) : jump.change + _WINDOW - 1]
        # The middle of all but the own step: one of a slope is like them.
        excess = own - np.median(around[around != own]) if np.ptp(around) else 0.0
        # A slope on both sides hides a jump against it. At a bend one side alone is steep: no jump is there to be seen.
        sides = steps[max(0, jump.change - _WINDOW) : jump.change - 1], steps[jump.change : jump.change + _WINDOW - 1]
        against = min((float(-np.sign(jump.size) * np.median(side)) for side in sides if len(side)), default=0.0)
        seen = own * np.sign(jump.size) + max(0.0, against)
        return bool(
            jump.score > self.limits[jump.change]
            and abs(jump.size) >= self.least
            and own * jump.size > 0
            and seen >= _SEEN_SHARE * abs(jump.size)
            and excess * np.sign(jump.size) >= _STEP_SHARE * abs(jump.size)
        )

    def _measure(self, place: int, half: int) -> Jump:
        size = float(self.course[place - half : place + half] @ make_weights(half))
        return Jump(place, size, abs(size) / (_find_deviation(half) * self.wandering))
