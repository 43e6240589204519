"""Features of the robust method: logarithms of the changes, with gaps filled and spikes tamed in the open.

Those few metrics that are no changes but numbers from -1 to 1 are taken as they are; what is said of decades then holds
of their own unit.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.trends.cluster import FloatArray, LabelArray

BoolArray = NDArray[np.bool_]

LEAST_NOISE: Final = 0.005
"""Decades: curves that are nearer than 1 % are never told apart, however exactly they were measured."""

_STILL_STEP: Final = 1.0
_SPIKE_DEVIATIONS: Final = 4.5
_LEAST_SPIKE: Final = 0.1
_SPIKE_SHARE: Final = 0.1
_MOST_SPIKES: Final = 1 / 3
_CHANCE_DEVIATIONS: Final = 4.0
_FEW_SPIKES: Final = 3
_NUM_NEIGHBOURS: Final = 3
_WINDOW: Final = 5
_LEAST_CHANGES: Final = 3
_NORMAL_MAD: Final = 1.4826


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """The changes of n rows as curves of log10, or as they are, ready to be compared.

    Attributes:
        values: float64 of shape (n, P), decades; finite everywhere.
        level: float64 of shape (n,), decades: median of each row over the cells that had a number.
        noise: Standard deviation of the noise in one cell, decades, pooled over rows; at least `LEAST_NOISE`.
        gaps: bool of shape (n, P): cells that had no number, or 0, and were filled.
        still: bool of shape (n, P): those of them that were 0.
        spikes: bool of shape (n, P): cells that were tamed.
    """

    values: FloatArray
    level: FloatArray
    noise: float
    gaps: BoolArray
    still: BoolArray
    spikes: BoolArray


def make_curves(changes: FloatArray, *, linear: bool = False) -> Curves:
    """Take logarithms, fill gaps, tame spikes.

    A cell without a number takes the value between its neighbours in time; before the first and after the last number
    it takes theirs. An unchanged cell has no logarithm: it is drawn one decade below the row's smallest number. A spike
    is a cell far off both from its row's running median and from what the most similar rows do there; it is treated
    as a gap. An unchanged cell never is one: that a layer stood still is no slip of a measurement.

    Args:
        changes: float64 of shape (n, P), not negative; NaN where there is no number, 0 where unchanged. Every row has
            at least one number above 0.
        linear: Whether to take no logarithms: numbers from -1 to 1, of which 0 is one like any other.

    Returns:
        The curves.
    """
    still = (changes == 0) & (not linear)
    known = np.isfinite(changes) & ~still
    logs = changes if linear else np.log10(changes, where=known, out=np.full(changes.shape, np.nan))
    level: FloatArray = np.nanmedian(logs, axis=1)
    logs = np.where(still, np.nanmin(logs, axis=1, keepdims=True) - _STILL_STEP, logs)
    gaps = np.isnan(logs)
    filled = interpolate(logs)
    spread = estimate_noise(filled, gaps | still)
    noise = max(LEAST_NOISE, float(np.median(spread)))
    spikes = find_spikes(filled, np.maximum(spread, noise), still) & ~gaps
    tamed = interpolate(np.where(spikes, np.nan, filled))
    return Curves(tamed, level, noise, gaps | still, still, spikes)


def tame_again(curves: Curves, labels: LabelArray) -> Curves:
    """Tame the spikes that show only once it is known what a row's cluster does.

    A row that would follow the median course of some cluster but for a tenth of its cells, rounded up, takes that
    course there. At the ends and at sharp bends of a curve a running median cannot tell a spike from the bend.
    Unchanged cells stay as drawn, but those off the course are among the tenth: with more, a row's course is its own.

    Args:
        curves: The curves as clustered, n rows.
        labels: int64 of shape (n,), from 0 without holes, -1 for a row that is in no cluster.

    Returns:
        The curves with those cells replaced; `curves` itself where there are none.
    """
    num_changes = curves.values.shape[1]
    if num_changes < _WINDOW:
        return curves
    centred = curves.values - np.median(curves.values, axis=1, keepdims=True)
    courses = np.array([np.median(centred[labels == label], axis=0) for label in range(int(labels.max()) + 1)])
    limit = max(_SPIKE_DEVIATIONS * curves.noise, _LEAST_SPIKE)
    values, spikes = curves.values.copy(), curves.spikes.copy()
    for row, curve in enumerate(curves.values):
        off = curve - courses
        off -= np.median(off, axis=1, keepdims=True)
        nearest = int(np.argmin(np.minimum(np.abs(off), limit).sum(axis=1)))
        far = np.abs(off[nearest]) > limit
        if np.count_nonzero(far) <= np.ceil(_SPIKE_SHARE * num_changes):
            far &= ~curves.still[row]
            values[row, far] -= off[nearest, far]
            spikes[row, far] = True
    if np.array_equal(values, curves.values):
        return curves
    return replace(curves, values=values, spikes=spikes, gaps=curves.gaps & ~spikes)


def interpolate(curves: FloatArray) -> FloatArray:
    """Fill NaN linearly between neighbours in time, and with the nearest value at the ends.

    Args:
        curves: float64 of shape (n, P); every row has at least one value.

    Returns:
        A filled copy.
    """
    filled = curves.copy()
    changes = np.arange(curves.shape[1])
    for row in np.flatnonzero(np.isnan(curves).any(axis=1)):
        known = ~np.isnan(curves[row])
        filled[row] = np.interp(changes, changes[known], curves[row, known])
    return filled


def estimate_noise(curves: FloatArray, filled: BoolArray) -> FloatArray:
    """Standard deviation of the noise of each row, from how far a value lies off the middle of its neighbours.

    Args:
        curves: float64 of shape (n, P).
        filled: bool of shape (n, P): cells that are no measurement.

    Returns:
        float64 of shape (n,); 0 for a row with no three measurements on end.
    """
    noise = np.zeros(len(curves))
    if curves.shape[1] < _LEAST_CHANGES:
        return noise
    off = np.abs(curves[:, 1:-1] - (curves[:, :-2] + curves[:, 2:]) / 2)
    off[filled[:, 1:-1] | filled[:, :-2] | filled[:, 2:]] = np.nan
    measured = ~np.isnan(off).all(axis=1)
    # The difference of one value and the mean of two has 1.5 times the variance of one.
    noise[measured] = _NORMAL_MAD * np.nanmedian(off[measured], axis=1) / np.sqrt(1.5)
    return noise


def find_spikes(curves: FloatArray, noise: FloatArray, still: BoolArray) -> BoolArray:
    """Find single values that belong neither to their row's course nor to that of the most similar rows.

    Args:
        curves: float64 of shape (n, P), finite.
        noise: float64 of shape (n,): standard deviation of each row's noise.
        still: bool of shape (n, P): unchanged cells, which are no spikes wherever they are drawn.

    Returns:
        bool of shape (n, P).
    """
    if curves.shape[1] < _LEAST_CHANGES:
        return np.zeros(curves.shape, dtype=np.bool_)
    from scipy.ndimage import median_filter

    smooth = median_filter(curves, size=(1, min(_WINDOW, curves.shape[1] | 1)), mode="mirror")
    off = curves - smooth
    limit = np.maximum(_SPIKE_DEVIATIONS * noise, _LEAST_SPIKE)[:, None]
    spikes: BoolArray = (np.abs(off) > limit) & ~still
    usual = float(spikes.sum(axis=0).mean())
    # Spikes fall anywhere: where far more rows jump at once than chance would have it, they follow a trend.
    spikes &= spikes.sum(axis=0) <= usual + _CHANCE_DEVIATIONS * np.sqrt(usual) + _FEW_SPIKES
    if len(curves) > 1 and spikes.any():
        spikes &= ~_find_shared(smooth + np.clip(off, -limit, limit), off, spikes)
    # A row that jumps all the time has no course to jump from.
    spikes[spikes.sum(axis=1) > _MOST_SPIKES * curves.shape[1]] = False
    return spikes


def _find_shared(curves: FloatArray, off: FloatArray, candidates: BoolArray) -> BoolArray:
    """Candidates that most of the rows which are otherwise alike have as well: their trend, not a spike.

    Args:
        curves: float64 of shape (n, P), with candidates bounded.
        off: float64 of shape (n, P): how far each cell lies off its row's running median.
        candidates: bool of shape (n, P).

    Returns:
        bool of shape (n, P).
    """
    shapes = curves - curves.mean(axis=1, keepdims=True)
    squares = (shapes**2).sum(axis=1)
    num_neighbours = min(_NUM_NEIGHBOURS, len(shapes) - 1)
    shared: BoolArray = np.zeros(candidates.shape, dtype=np.bool_)
    for row in np.flatnonzero(candidates.any(axis=1)):
        cells = np.flatnonzero(candidates[row])
        distances = squares - 2 * (shapes @ shapes[row]) + squares[row]
        distances[row] = np.inf
        # The cell itself is left out of the distance, or rows with a spike at the same change would be alike.
        others = distances[:, None] - (shapes[:, cells] - shapes[row, cells]) ** 2
        nearest = np.argpartition(others, num_neighbours - 1, axis=0)[:num_neighbours]
        usual = np.median(off[nearest, cells], axis=0)
        shared[row, cells] = np.sign(off[row, cells]) * usual >= np.abs(off[row, cells]) / 2
    return shared
