"""What the eye sees in a curve beside its course: how jagged it is, single jumps, turns, and where it comes to rest."""

from typing import Final

import numpy as np

from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.words import BoolArray, row_levels

_WHITE_NOISE: Final = 2.0
_LEAST_ROUGH: Final = 5
_LEAST_REVERSALS: Final = 3
_LEAST_LONE: Final = 7
_BUMP_ROUGH: Final = 6.0
_LEAST_WAY_BACK: Final = 2
_MOST_WAY_BACK: Final = 5
_LONE_DECADES: Final = 0.5
_LONE_ROUGH: Final = 5.0
_MOST_LONE: Final = 2
_GENTLER: Final = 4.0
_FROZEN_DECADES: Final = 1.5
_FLATTER: Final = 0.25
_LEAST_REST: Final = 3
_REST_DECADES: Final = 0.2
_CLIFF_DECADES: Final = 0.35
_CLIFF_TIMES: Final = 5.0
_CLIFF_SHARE: Final = 0.6
_MOST_CLIFFS: Final = 3
_QUIET_SHARE: Final = 1 / 3
_LEAST_QUIET: Final = 2
_LEAST_RATIO: Final = 1.0
_WALK: Final = 28.0
_ROUGHER: Final = 2.0


def measure_roughness(logs: FloatArray) -> float:
    """How far a curve goes back and forth from one value to the next, as the standard deviation of a noise.

    A smooth curve turns seldom, however steep it is, and has none; the noise about a steep slope is not seen either.

    Args:
        logs: float64 of shape (n,), finite.

    Returns:
        About the standard deviation of white noise; 0 where there are too few values or reversals to tell.
    """
    if len(logs) < _LEAST_ROUGH:
        return 0.0
    steps = np.diff(logs)
    back = np.where(steps[:-1] * steps[1:] < 0, np.minimum(abs(steps[:-1]), abs(steps[1:])), 0.0)
    if np.count_nonzero(back) < _LEAST_REVERSALS:
        return 0.0
    # One large turn is a hump: what counts is what happens all the time.
    back = np.minimum(back, 2 * np.median(back[back > 0]))
    return _WHITE_NOISE * float(back.mean())


def find_lone_jumps(logs: FloatArray) -> list[int]:
    """Single values far off both neighbours, which are alike and like their own neighbours; none where there are many.

    Args:
        logs: float64 of shape (n,), finite.
    """
    if len(logs) < _LEAST_LONE:
        return []
    steps = np.diff(logs)
    before, after = steps[:-1], -steps[1:]
    jumps = np.where(before * after > 0, np.minimum(abs(before), abs(after)), 0.0)
    usual = float(np.sort(jumps)[: -_MOST_LONE - 1].mean())
    still = np.concatenate([[0.0], abs(steps), [0.0]])
    around = np.maximum(np.maximum(still[:-3], still[3:]), abs(before - after))
    lone = (jumps >= max(_LONE_DECADES, _LONE_ROUGH * _WHITE_NOISE * usual)) & (around <= jumps / 2)
    found: list[int] = (np.flatnonzero(lone) + 1).tolist()
    return found if len(found) <= _MOST_LONE else []


def find_bumps(logs: FloatArray) -> list[tuple[int, int]]:
    """Where a curve jumps up and is back a few values later, falling each time, as after a loss spike.

    Args:
        logs: float64 of shape (n,), finite.

    Returns:
        The index of each top, and the first one after it that is back; none where there are many.
    """
    if len(logs) < _LEAST_LONE:
        return []
    steps = np.diff(logs)
    least = max(_LONE_DECADES, _BUMP_ROUGH * float(np.median(abs(steps))))
    found: list[tuple[int, int]] = []
    for top in range(2, len(logs) - _LEAST_WAY_BACK - 1):
        rise = steps[top - 1]
        if rise < least or abs(steps[top - 2]) > rise / _GENTLER:
            continue
        for back in range(top + _LEAST_WAY_BACK, min(top + _MOST_WAY_BACK, len(logs) - 2) + 1):
            falls = bool((steps[top:back] < 0).all()) and logs[back] <= logs[top - 1] + rise / _GENTLER
            if falls and abs(steps[back]) <= rise / _GENTLER:
                found.append((top, back))
                break
    return found if len(found) <= _MOST_LONE else []


def find_end_jumps(logs: FloatArray) -> tuple[bool, bool]:
    """Whether the first value, and the last, lies far off the one beside it, from which the curve goes on gently.

    Args:
        logs: float64 of shape (n,), finite.

    Returns:
        Whether the first does and whether the last does. A course that falls ever more slowly does not jump at first.
    """
    if len(logs) < _LEAST_LONE:
        return False, False
    steps = abs(np.diff(logs))
    least = max(_LONE_DECADES, _LONE_ROUGH * _WHITE_NOISE * float(np.sort(steps)[: -_MOST_LONE - 1].mean()))
    first, last = (
        bool(way[0] >= least and way[1 : 1 + _MOST_LONE].max() <= way[0] / _GENTLER) for way in (steps, steps[::-1])
    )
    return first, last


def find_cliffs(logs: FloatArray) -> list[int]:
    """Where a curve goes down, or up, from one step to the next, each time to stay: most of its way.

    Args:
        logs: float64 of shape (n,), finite.

    Returns:
        The first index after each cliff, at most three; none where the curve goes its way otherwise.
    """
    if len(logs) < _LEAST_LONE:
        return []
    steps = np.diff(logs)
    usual = float(np.sort(abs(steps))[:-_MOST_CLIFFS].mean())
    found: list[int] = (np.flatnonzero(abs(steps) >= max(_CLIFF_DECADES, _CLIFF_TIMES * usual)) + 1).tolist()
    if not 1 <= len(found) <= _MOST_CLIFFS:
        return []
    heights = steps[np.array(found) - 1]
    parts = np.split(logs, found)
    one_way = abs(heights.sum()) == abs(heights).sum()
    level = all(len(part) > 1 and np.ptp(part) <= abs(heights).min() / 2 for part in parts)
    return found if one_way and level and abs(heights.sum()) >= _CLIFF_SHARE * np.ptp(logs) else []


def find_turns(logs: FloatArray, least: float) -> list[int]:
    """Where a curve turns: its extremes between two legs of at least that height.

    Args:
        logs: float64 of shape (n,), finite.
        least: The least height of a leg.
    """
    turns: list[int] = []
    high = low = 0
    rising: bool | None = None
    for index, value in enumerate(logs):
        high = index if value > logs[high] else high
        low = index if value < logs[low] else low
        if rising is not False and logs[high] - value >= least:
            turns += [high] if rising else []
            rising, low = False, index
        elif rising is not True and value - logs[low] >= least:
            turns += [low] if rising is False else []
            rising, high = True, index
    return turns


def find_quiet_tail(logs: FloatArray, width: float, share: float = _QUIET_SHARE) -> int | None:
    """Where the part at the end begins that stays within a width.

    Args:
        logs: float64 of shape (n,), finite.
        width: How far its highest and its lowest value may lie apart.
        share: The least share of the curve that it is, two values at least.

    Returns:
        Its first index, above 0; None where there is no such part, or all of the curve is.
    """
    high, low = np.maximum.accumulate(logs[::-1]), np.minimum.accumulate(logs[::-1])
    length = int(np.count_nonzero(high - low < width))
    return len(logs) - length if max(_LEAST_QUIET, share * len(logs)) <= length < len(logs) else None


def find_deep_tail(measured: FloatArray, logs: FloatArray, flat: float) -> tuple[int, int] | None:
    """Where a curve falls by decades for good, and from where on it hardly falls any more; None where it does not.

    Args:
        measured: float64 of shape (n,), the curve.
        logs: The same, smoothed.
        flat: How far it may go up and down where it is steady.
    """
    tail = find_quiet_tail(logs, 2 * flat, share=1 / 5)
    if tail is None:
        return None
    peak, rest = int(np.argmax(logs[:tail])), float(np.median(logs[tail:]))
    # A running mean lowers the beginning of a steep curve.
    if max(logs[peak], measured[:tail].max() - flat) - rest < _FROZEN_DECADES:
        return None
    # A running mean leaves early and comes down late.
    while tail > peak + 1 and measured[tail - 1] < rest + 2 * flat:
        tail -= 1
    leaves = peak + int(np.argmax(logs[peak:] < logs[peak] - flat))
    return (leaves, tail) if _is_flat_after(logs, peak, leaves, tail) else None


def _is_flat_after(logs: FloatArray, peak: int, leaves: int, tail: int) -> bool:
    """Whether a tail is long and flat enough, against the fall before it, to be a rest."""
    length = len(logs) - tail
    if length < _LEAST_REST:
        return False
    fall = float(logs[peak] - np.median(logs[tail:])) / max(1, tail - max(peak, leaves - 1))
    slope = -float(np.polyfit(np.arange(length), logs[tail:], 1)[0])
    third = max(1, length // 3)
    drift = float(np.median(logs[tail : tail + third]) - np.median(logs[-third:]))
    return slope < _FLATTER * fall and drift < _REST_DECADES


def smooth(logs: FloatArray, parts: int) -> tuple[FloatArray, int]:
    """Running mean over about twice a part of a curve, shorter at its ends.

    Args:
        logs: float64 of shape (n,).
        parts: How many parts the curve has; the mean goes one part back and one ahead.

    Returns:
        float64 of shape (n,), and the number of values in a mean.
    """
    half = len(logs) // parts
    return np.array([logs[max(0, i - half) : i + half + 1].mean() for i in range(len(logs))]), 2 * half + 1


def measure_usual_step(curves: FloatArray) -> float:
    """Median over rows of the median of their successive differences, in absolute value; 0 where there are none.

    Args:
        curves: float64 of shape (L, P); NaN where there is no number.
    """
    sizes = row_levels(np.abs(np.diff(curves, axis=1)))
    return float(np.median(sizes[np.isfinite(sizes)])) if np.isfinite(sizes).any() else 0.0


def find_restless(curves: FloatArray, usual: float) -> BoolArray:
    """Find rows that jump about from one change to the next, more than twice as far as is usual.

    They have a von Neumann ratio (mean square of successive differences over the variance) of 1 at least, half that of
    white noise; a course has a small one. Of random walks, whose ratio goes as 1/n, one in twenty is taken for a row
    that jumps about: 28/n is the 95th percentile of n values (Sargan and Bhargava, Econometrica 51, 1983). So of fewer
    than 14 values hardly any row can be found.

    Args:
        curves: float64 of shape (n, P), logarithms where values are amounts; NaN where there is no number.
        usual: How far the median of all rows goes in one change: `measure_usual_step`.

    Returns:
        bool of shape (n,).
    """
    known = np.isfinite(curves)
    numbers = np.maximum(known.sum(axis=1), 1)
    filled = np.where(known, curves, 0.0)
    off = np.where(known, filled - (filled.sum(axis=1) / numbers)[:, None], 0.0)
    steps = np.where(known[:, 1:] & known[:, :-1], np.diff(filled, axis=1), np.nan)
    counts = np.isfinite(steps).sum(axis=1)
    squares = np.nansum(steps**2, axis=1) / np.maximum(counts, 1)
    variances = (off**2).sum(axis=1) / np.maximum(numbers - 1, 1)
    sizes = row_levels(np.abs(steps))
    rough = np.nan_to_num(sizes) > _ROUGHER * usual
    found: BoolArray = rough & (squares >= np.maximum(_LEAST_RATIO, _WALK / numbers) * variances)
    return found
