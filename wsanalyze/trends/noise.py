"""How noisy each curve is. NumPy only."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.trends.blocks import cut_blocks, find_medians
from wsanalyze.trends.cluster import FloatArray

BoolArray = NDArray[np.bool_]

LEAST_NOISE: Final = 0.005
"""Decades: curves that are nearer than 1 % are never told apart, however exactly they were measured."""

LEAST_CHANGES: Final = 3
NORMAL_MAD: Final = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

_MANY_ROWS: Final = 10
"""From so many on a common course takes little of each row's own noise away."""

_ROWS_OF_COURSE: Final = 1000
_MEAN: Final = 1.2533
"""Standard deviation of a normal distribution over its mean absolute deviation."""

_VARIANCE_OF_MEDIANS: Final = 1.7
VARIANCE_OF_MEANS: Final = 1.1
"""Of the logarithm of one row's estimate, times the number of values that it is made of; simulated for normal noise."""


def measure_noise(curves: FloatArray, filled: BoolArray, *, robust: bool = True, shared: bool = False) -> FloatArray:
    """Standard deviation of the noise of each row, moderated by that of all: see `moderate_noise`.

    Args:
        curves: float64 of shape (n, P).
        filled: bool of shape (n, P): cells that are no measurement.
        robust: Whether some cells may be spikes.
        shared: Whether to leave out what all rows share: bends, such as a step of the learning rate, are no noise.

    Returns:
        float64 of shape (n,), at least `LEAST_NOISE`.
    """
    numbers = np.maximum(0, np.count_nonzero(~filled, axis=1) - 2).astype(np.float64)
    variance = _VARIANCE_OF_MEDIANS if robust else VARIANCE_OF_MEANS
    course = _find_common_course(curves) if shared and len(curves) >= _MANY_ROWS else None
    own = np.zeros(len(curves))
    for some in cut_blocks(*curves.shape):
        own[some] = estimate_noise(curves[some], filled[some], robust=robust)
        if course is not None:
            own[some] = np.minimum(own[some], estimate_noise(curves[some] - course, filled[some], robust=robust))
    return moderate_noise(own, numbers / variance)


def _find_common_course(curves: FloatArray) -> FloatArray:
    """The course of the median row, whatever the levels, float64 of shape (P,)."""
    part = curves[:: max(1, len(curves) // _ROWS_OF_COURSE)]
    course: FloatArray = np.median(part - np.median(part, axis=1, keepdims=True), axis=0)
    return course


def estimate_noise(curves: FloatArray, filled: BoolArray, *, robust: bool = True) -> FloatArray:
    """Standard deviation of the noise of each row, from how far a value lies off the middle of its neighbours.

    Args:
        curves: float64 of shape (n, P).
        filled: bool of shape (n, P): cells that are no measurement.
        robust: Whether some cells may be spikes: the median of those distances is taken then, the mean else.

    Returns:
        float64 of shape (n,); 0 for a row with no three measurements on end.
    """
    noise = np.zeros(len(curves))
    if curves.shape[1] < LEAST_CHANGES:
        return noise
    off = np.abs(curves[:, 1:-1] - (curves[:, :-2] + curves[:, 2:]) / 2)
    off[filled[:, 1:-1] | filled[:, :-2] | filled[:, 2:]] = np.nan
    measured = ~np.isnan(off).all(axis=1)
    # The difference of one value and the mean of two has 1.5 times the variance of one.
    usual = NORMAL_MAD * find_medians(off[measured]) if robust else _MEAN * np.nanmean(off[measured], axis=1)
    noise[measured] = usual / np.sqrt(1.5)
    return noise


def moderate_noise(noise: FloatArray, numbers: FloatArray) -> FloatArray:
    """Draw each row's noise towards that of all, the more the fewer values it was estimated from.

    Where rows differ in noise no more than such estimates do by chance, all get the same.

    Args:
        noise: float64 of shape (n,): each row's own estimate; 0 where there is none.
        numbers: float64 of shape (n,): one over the variance of its logarithm by chance.

    Returns:
        float64 of shape (n,), at least `LEAST_NOISE`.

    References:
        Moderated variances: Smyth 2004 (limma), robustly, as in Phipson et al. 2016; here in logarithms.
    """
    known = noise > 0
    if not known.any():
        return np.full(len(noise), LEAST_NOISE)
    # Floored by what is usual: a row that was measured exactly would outweigh all others.
    logs = np.log(np.maximum(noise, max(LEAST_NOISE, 0.1 * float(np.median(noise[known])))))
    usual = float(np.median(logs[known]))
    by_chance = 1 / np.maximum(numbers, 0.5)
    spread = (NORMAL_MAD * float(np.median(np.abs(logs[known] - usual)))) ** 2
    own = max(0.0, spread - float(np.median(by_chance[known])))
    moderated: FloatArray = np.exp(usual + np.where(known, (logs - usual) * own / (own + by_chance), 0.0))
    return np.maximum(LEAST_NOISE, moderated)
