"""The course of a cluster without the jumps that some of its members made together, and without their gaps."""

from typing import Final

import numpy as np

from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.words import BoolArray, row_levels

_LEAST_SHARE: Final = 0.1
_LEAST_GAPS: Final = 0.02
_LEAST_MEMBERS: Final = 4


def trace_common_course(values: FloatArray, median: FloatArray, spikes: BoolArray, *, linear: bool) -> FloatArray:
    """Trace the median course of a cluster as if none of its members had jumped.

    Where a third of them jump at once, or have no number, the median of all moves, since their levels differ, and would
    tell of a jump that most did not make. There it is drawn as the members go about their own levels, without spikes.

    Args:
        values: The metric of the members, float64 of shape (n, P).
        median: Median of each column over its numbers, float64 of shape (P,).
        spikes: bool of shape (n, P): cells that were tamed.
        linear: Whether differences count, not ratios.

    Returns:
        float64 of shape (P,), in the units of the metric: the median but for those changes at which a tenth of the
        members have spikes, or one in fifty has no number, and four at least have neither.
    """
    numbers = np.isfinite(median) if linear else median > 0
    gaps = ~np.isfinite(values)
    moved = (spikes.mean(axis=0) >= _LEAST_SHARE) | (gaps.mean(axis=0) >= _LEAST_GAPS)
    jumps = numbers & moved & ((~spikes & ~gaps).sum(axis=0) >= _LEAST_MEMBERS)
    if not jumps.any():
        return median
    kept = np.where(spikes, np.nan, values)
    table = np.vstack([median, kept])
    curves = table if linear else np.log10(table, where=table > 0, out=np.full(table.shape, np.nan))
    shape = row_levels((curves[1:] - row_levels(curves[1:])[:, None]).T)
    between = numbers & ~jumps & np.isfinite(shape)
    jumps &= np.isfinite(shape)
    if not between.any():
        return median
    level = np.interp(np.flatnonzero(jumps), np.flatnonzero(between), (curves[0] - shape)[between])
    course = median.copy()
    course[jumps] = shape[jumps] + level if linear else 10.0 ** (shape[jumps] + level)
    return course
