"""Members of a cluster that go another way than it does, as one sees who looks at both."""

from typing import Final

import numpy as np

from wsanalyze.trends.base import Cluster, Trends, mark_cells
from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.common_course import trace_common_course
from wsanalyze.trends.noise import estimate_noise
from wsanalyze.trends.words import FLAT_DECADES, BoolArray, row_levels, say_times

MIXED: Final = "goes different ways"
"""The summary of a cluster without a course that half of its members follow."""

_LEAST_CORRELATION: Final = 0.3
_LEAST_SHARED: Final = 2
_LEAST_CORRELATED: Final = 5
_LEAST_WAYS: Final = 5
_LEAST_APART: Final = 5
_LEAST_LEG: Final = 0.3
_LEAST_REST: Final = 2
_MOST_SPIKES: Final = 0.1
_SURE: Final = 4.0
_LEAST_EXCESS: Final = 1.5
_VARIANCE_OF_MEDIAN: Final = np.pi / 2
"""Of normal values, over that of their mean."""


def find_exceptions(trends: Trends, cluster: Cluster) -> list[int]:
    """Find the members of a cluster whose own course is not what is said of it.

    Args:
        trends: What was found.
        cluster: One of its clusters.

    Returns:
        Rows that end lower where the cluster ends higher or the reverse, go by half or twice as far where it goes
        nowhere, are hardly correlated with it (of fewer than five changes: go nowhere where it goes that far), rest at
        the end where it goes on, or go down on a leg that it goes up, or the reverse; each by more than noise as large
        as that of the median member makes of the same course. A member's own spikes are left out, if they are a tenth
        of its changes at most. Of a single change nobody can say.
    """
    members, linear = list(cluster.members), trends.options.linear
    values, spikes = trends.values[members], _find_spikes(trends, members)
    course = _trace_course(trends, cluster, spikes)
    found = []
    lone = spikes & (spikes.mean(axis=1) <= _MOST_SPIKES)[:, None]
    curves = np.where(lone, np.nan, _take_logs(values, linear=linear))
    noise = _measure_noise(curves - course)
    for row, curve, raw in zip(members, curves, values, strict=True):
        both = np.isfinite(course) & np.isfinite(curve)
        rests = not linear and len(raw) > _LEAST_REST and (raw[-_LEAST_REST:] == 0).all() and np.isfinite(course[-1])
        if rests or (np.count_nonzero(both) >= _LEAST_SHARED and _goes_elsewhere(course[both], curve[both], noise)):
            found.append(row)
    return found


def move_apart(trends: Trends, cluster: Cluster) -> bool:
    """Whether members of a cluster have nothing in common but that each is unsteady.

    Returns:
        Whether the median member's noise is 0.15 decades or more, and the course of all varies by no more than twice
        what such noise leaves of it, nor goes anywhere by more than four times that. Never for fewer than five
        members, or three changes, or where values are no amounts.
    """
    if cluster.size < _LEAST_APART or trends.options.linear:
        return False
    members = list(cluster.members)
    curves = np.where(_find_spikes(trends, members), np.nan, _take_logs(trends.values[members], linear=False))
    shapes = curves - row_levels(curves)[:, None]
    course = row_levels(shapes.T)
    noise = _measure_noise(shapes - course)
    course = course[np.isfinite(course)]
    if noise < FLAT_DECADES or not len(course):
        return False
    left = noise * float(np.sqrt(_VARIANCE_OF_MEDIAN / cluster.size))
    return bool(np.std(course) < 2 * left) and abs(measure_way(course)) < _measure_chance(left, len(course))


def say_ways(trends: Trends, cluster: Cluster) -> str:
    """Say how far members go down and up: "some fall to a fifth and others rise to 2.9 times what they were".

    Returns:
        A clause; empty where no tenth of them goes one way and another tenth the other, or values are no amounts.
    """
    if trends.options.linear:
        return ""
    curves = _take_logs(trends.values[list(cluster.members)], linear=False)
    ways = [measure_way(curve[np.isfinite(curve)]) for curve in curves if np.isfinite(curve).sum() >= _LEAST_SHARED]
    if len(ways) < _LEAST_WAYS:
        return ""
    low, high = np.percentile(ways, (10, 90))
    if low > -FLAT_DECADES or high < FLAT_DECADES:
        return ""
    return f"some fall to {say_times(float(low))} and others rise to {say_times(float(high))} what they were"


def measure_way(curve: FloatArray) -> float:
    """How far a curve goes from its first third to its last."""
    third = max(1, len(curve) // 3)
    return float(np.median(curve[-third:]) - np.median(curve[:third]))


def _find_spikes(trends: Trends, members: list[int]) -> BoolArray:
    return mark_cells(trends.touched.get("spike", ()), trends.values.shape)[members]


def _measure_noise(off: FloatArray) -> float:
    """The noise of the median row, given how far each is off its course; 0 for fewer than three changes."""
    return float(np.median(estimate_noise(off, ~np.isfinite(off))))


def _measure_chance(noise: float, num_changes: int) -> float:
    """How far noise makes a curve go from its first third to its last, by `measure_way`, once in many times."""
    return _SURE * noise * float(np.sqrt(2 * _VARIANCE_OF_MEDIAN / max(1, num_changes // 3)))


def _trace_course(trends: Trends, cluster: Cluster, spikes: BoolArray) -> FloatArray:
    """The course of a cluster without what some of its members' spikes and gaps do to their median, as logarithms."""
    median = np.array([np.nan if value is None else value for value in cluster.median])
    linear = trends.options.linear
    course = trace_common_course(trends.values[list(cluster.members)], median, spikes, linear=linear)
    return _take_logs(course, linear=linear)


def _take_logs(values: FloatArray, *, linear: bool) -> FloatArray:
    if linear:
        return values
    logs: FloatArray = np.log10(values, where=values > 0, out=np.full(values.shape, np.nan))
    return logs


def _goes_elsewhere(usual: FloatArray, own: FloatArray, noise: float) -> bool:
    """Whether one curve goes another way than the other, given the noise of each value; both are finite."""
    goes, way = measure_way(usual), measure_way(own)
    turn = _find_turn(usual)
    if turn is not None:
        least = max(FLAT_DECADES, _SURE * noise * np.sqrt(2))
        legs = [(curve[turn] - curve[0], curve[-1] - curve[turn]) for curve in (usual, own)]
        return any(np.sign(leg) * other < -least for leg, other in zip(*legs, strict=True))
    by_chance = _measure_chance(noise, len(usual))
    if abs(goes) < FLAT_DECADES:
        return bool(abs(way - goes) >= max(_LEAST_LEG, by_chance))
    if way * np.sign(goes) < -FLAT_DECADES and abs(way - goes) >= by_chance:
        return True
    if len(usual) < _LEAST_CORRELATED:
        stays = way * np.sign(goes) < FLAT_DECADES
        return bool(stays and abs(way - goes) >= max(_LEAST_LEG, by_chance))
    if np.std(own - usual) < _LEAST_EXCESS * noise:
        return False
    return bool(np.ptp(own) == 0 or np.corrcoef(usual, own)[0, 1] < _LEAST_CORRELATION)


def _find_turn(course: FloatArray) -> int | None:
    """Where a course turns that goes one way first, then the other, by a factor of two each; None where it does not."""
    for sign in (1, -1):
        turn = int(np.argmax(sign * course))
        if min(sign * (course[turn] - course[0]), sign * (course[turn] - course[-1])) >= _LEAST_LEG:
            return turn
    return None
