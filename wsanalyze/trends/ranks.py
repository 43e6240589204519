"""Rank correlations, and what of them is left when something else is held fixed."""

from dataclasses import dataclass

import numpy as np

from wsanalyze.trends.cluster import FloatArray


@dataclass(frozen=True, slots=True)
class Correlation:
    """A rank correlation of n pairs of numbers.

    Attributes:
        rho: Spearman's coefficient in -1..1; 0 where either side is constant.
        p_value: Probability of one as far from 0 by chance, by Student's t; 1 where n leaves no degree of freedom.
    """

    rho: float
    p_value: float


def correlate_ranks(one: FloatArray, other: FloatArray, *fixed: FloatArray) -> Correlation:
    """Correlate ranks of numbers, with the ranks of others held fixed.

    Args:
        one: float64 of shape (n,), finite.
        other: Likewise.
        fixed: What is held fixed: its part of both is taken off by least squares.

    Returns:
        The correlation, partial where anything is fixed.
    """
    from scipy.stats import rankdata, t

    first, second, *others = (_centre(rankdata(numbers)) for numbers in (one, other, *fixed))
    if others:
        basis = np.stack(others, axis=1)
        first, second = (side - basis @ np.linalg.lstsq(basis, side, rcond=None)[0] for side in (first, second))
    # What is left of ranks that others explain in full is rounding.
    least = 1e-9 * len(one) ** 1.5
    lengths = float(np.linalg.norm(first)), float(np.linalg.norm(second))
    freedom = len(one) - 2 - len(others)
    if min(lengths) <= least or freedom < 1:
        return Correlation(0.0, 1.0)
    rho = float(np.clip(first @ second / lengths[0] / lengths[1], -1.0, 1.0))
    if abs(rho) == 1:
        return Correlation(rho, 0.0)
    return Correlation(rho, float(2 * t.sf(abs(rho) * np.sqrt(freedom / (1 - rho * rho)), freedom)))


def _centre(ranks: FloatArray) -> FloatArray:
    centred: FloatArray = ranks - ranks.mean()
    return centred
