"""How the metric lies over the depth of the network.

References:
    docs/method.md, "Depth".
"""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

import numpy as np

from wsanalyze.series import ChangeSeries
from wsanalyze.trends.base import DepthProfile, TrendOptions
from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.ranks import correlate_ranks
from wsanalyze.trends.words import name_changes, row_levels

_LEAST_DEPTHS: Final = 4
_LEAST_FOR_RANKS: Final = 8
_LEAST_CHANGES: Final = 4
_LEAST_RHO: Final = 0.3
_LEVEL: Final = 0.01
_NEAR: Final = 0.05
_PART: Final = 4
_NUM_RESAMPLES: Final = 200
_SAME_SIGN: Final = 0.975
_SAME_SIZE: Final = 0.75
_DEVIATIONS: Final = 3.0
_NORMAL_MAD: Final = 1.4826
_ARRIVED: Final = 0.8
_LASTING: Final = 0.75
_LEAST_KNOWN: Final = 0.5
_LEAST_MOVE: Final = 0.5


def find_depth_profile(series: ChangeSeries, values: FloatArray, options: TrendOptions) -> DepthProfile | None:
    """Find how a metric lies over the depth of the network.

    Args:
        series: L rows and P changes.
        values: The metric, float64 of shape (L, P).
        options: How trends are found; `seed` is that of the depths that are drawn to test a move.

    Returns:
        The profile; None where there are fewer than four depths with a number, nothing changes, the values are no
        amounts of change, or rows are kinds, which lie nowhere.
    """
    if options.linear or options.metric == "rank" or options.group == "kind":
        return None
    rows_at: dict[int, list[int]] = {}
    for row in np.flatnonzero(np.isfinite(values).any(axis=1)):
        rows_at.setdefault(series.rows[row].depth, []).append(int(row))
    if len(rows_at) < _LEAST_DEPTHS or not (values > 0).any():
        return None
    depths = tuple(sorted(rows_at))
    profile = np.array([_take_median(values[rows_at[depth]]) for depth in depths])
    places = (np.array(depths) - depths[0]) / (depths[-1] - depths[0])
    # A centre of other depths at each change would only say which have a number.
    lasting = np.isfinite(profile).mean(axis=1) >= _LASTING
    if np.count_nonzero(lasting) < _LEAST_DEPTHS:
        lasting[:] = True
    centre = _find_centre(profile[lasting], places[lasting], np.ones((1, np.count_nonzero(lasting))))[0]
    centre[np.isfinite(profile[lasting]).mean(axis=0) < _LEAST_KNOWN] = np.nan
    order = _describe_order(profile, places, _list_sizes(series, list(rows_at.items())), options.noun)
    course = _describe_course(profile[lasting], places[lasting], centre, name_changes(series)[1], options.seed)
    text = f"{order}, and {course}" if order and course else order or course
    return DepthProfile(depths, profile, centre, f"{text[:1].upper()}{text[1:]}.") if text else None


def _take_median(values: FloatArray) -> FloatArray:
    """Median of each column over its numbers, float64 of shape (P,)."""
    return row_levels(values.T) if len(values) > 1 else values[0]


def _find_centre(profile: FloatArray, places: FloatArray, weights: FloatArray) -> FloatArray:
    """Centre of mass of each column, for each of B ways to weigh the depths.

    Args:
        profile: float64 of shape (D, P).
        places: float64 of shape (D,): where the depths lie.
        weights: float64 of shape (B, D).

    Returns:
        float64 of shape (B, P); NaN where a column is all 0, or has no number.
    """
    mass = np.nan_to_num(profile)
    highest = mass.max(axis=0)
    mass = np.divide(mass, highest, out=np.zeros_like(mass), where=highest > 0)  # no sum overflows
    total = weights @ mass
    moment = weights @ (mass * places[:, None])
    centre: FloatArray = np.divide(moment, total, out=np.full(total.shape, np.nan), where=total > 0)
    return centre


def _list_sizes(series: ChangeSeries, rows_at: Sequence[tuple[int, Sequence[int]]]) -> Mapping[str, FloatArray]:
    """Median size and, where it is known, fan-in of the rows at each depth, in the order of depths."""
    rows = [[series.rows[row] for row in at] for _, at in sorted(rows_at)]
    sizes = {"size": np.array([float(median(row.numel for row in at)) for at in rows])}
    if series.ungrouped is None:
        fans = [median(math.prod(map(float, row.shape[1:])) for row in at) for at in rows]
        sizes["fan-in"] = np.array(fans)
    return sizes


def _describe_order(profile: FloatArray, places: FloatArray, sizes: Mapping[str, FloatArray], noun: str) -> str:
    """Say whether levels rise or fall with depth, and what else they follow as well; empty where neither is certain."""
    if len(places) < _LEAST_FOR_RANKS:
        return ""
    levels = row_levels(profile)
    found = correlate_ranks(levels, places)
    if found.p_value >= _LEVEL or abs(found.rho) < _LEAST_RHO:
        return ""
    more = "more" if found.rho > 0 else "less"
    said = f"deeper {noun}s change {more} (rank correlation {found.rho:.2f} over {len(places)} depths)"
    alike = [name for name, size in sizes.items() if _explains_as_well(levels, places, size)]
    return f"{said}, unless it is their {' or '.join(alike)} that counts, which goes with depth here" if alike else said


def _explains_as_well(levels: FloatArray, places: FloatArray, size: FloatArray) -> bool:
    """Whether levels follow something so closely that nothing certain is left for depth."""
    plain, left = correlate_ranks(levels, size), correlate_ranks(levels, places, size)
    return abs(plain.rho) >= _LEAST_RHO and plain.p_value < _LEVEL and left.p_value >= _LEVEL


def _describe_course(
    profile: FloatArray, places: FloatArray, centre: FloatArray, ends: Sequence[str], seed: int
) -> str:
    """Say where the centre of change lies and whether it moves; empty where it is nowhere."""
    known = np.isfinite(centre)
    curve, names = centre[known], [end for end, shown in zip(ends, known, strict=True) if shown]
    if not len(curve):
        return ""
    middle, way = float(np.median(curve)), "of the way through the network"
    size = max(1, (len(curve) // _PART - 1) | 1)  # odd, so that a median is a value that was there
    early, late = float(np.median(curve[:size])), float(np.median(curve[-size:]))
    arrived = 0
    if len(curve) >= _LEAST_CHANGES and _is_move(curve, size):
        arrived = int(np.flatnonzero((_smooth(curve) - early) / (late - early) < _ARRIVED).max(initial=-1)) + 1
    if 0 < arrived < len(curve):
        few = "" if _is_broad(profile[:, known], places, size, seed) else ", but a few depths alone decide that"
        return f"the centre of change moves from {early:.2f} {way} to {late:.2f} by {names[arrived]}{few}"
    low, high = (float(value) for value in np.percentile(curve, (10, 90), method="closest_observation"))
    if len(curve) == 1:
        return f"the centre of change lies {middle:.2f} {way}"
    if high - low <= 2 * _NEAR:
        return f"the centre of change stays near {middle:.2f} {way}"
    return f"the centre of change lies mostly between {low:.2f} and {high:.2f} {way}, without a certain direction"


def _is_move(curve: FloatArray, size: int) -> bool:
    """Whether the centre is elsewhere at the end than at the beginning, by more than its unrest, or its waves."""
    off = curve[1:-1] - (curve[:-2] + curve[2:]) / 2
    # The difference of one value and the mean of two has 1.5 times the variance of one; a median 1.57 that of a mean.
    noise = _NORMAL_MAD * float(np.median(np.abs(off))) / np.sqrt(1.5) * np.sqrt(2 * 1.57 / size)
    step = float(np.median(curve[-size:]) - np.median(curve[:size]))
    return bool(abs(step) >= max(_NEAR, _DEVIATIONS * noise, _LEAST_MOVE * np.ptp(_smooth(curve))))


def _is_broad(profile: FloatArray, places: FloatArray, size: int, seed: int) -> bool:
    """Whether the centre moves the same way, and about as far, whichever depths are drawn: else a few decide that."""
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(places), np.full(len(places), 1 / len(places)), size=_NUM_RESAMPLES).astype(float)
    early, late = (
        np.median(_find_centre(profile[:, part], places, drawn), axis=1) for part in (slice(size), slice(-size, None))
    )
    steps = late - early
    one_way = max((steps > 0).mean(), (steps < 0).mean()) >= _SAME_SIGN
    # A single depth is in two of three draws, and all others may go the same way by far less.
    far = np.abs(steps) >= _LEAST_MOVE * np.median(np.abs(steps))
    return bool(one_way and far.mean() >= _SAME_SIZE)


def _smooth(curve: FloatArray) -> FloatArray:
    """Running median of three."""
    padded = np.pad(curve, 1, mode="edge")
    smooth: FloatArray = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
    return smooth
