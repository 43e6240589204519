"""Levels of rows that compare: of changes that fall, a row that lost its last numbers would seem to change most."""

from typing import Final

import numpy as np

from wsanalyze.trends.blocks import find_medians
from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.words import IndexArray, row_levels

_KNOWN_SHARE: Final = 0.75
_WHOLE_SHARE: Final = 0.95
_MOST_SHIFT: Final = 0.02
_MOST_ROWS: Final = 1000
_STILL_STEP: Final = 1.0


def compare_levels(values: FloatArray, *, linear: bool = False) -> FloatArray:
    """Median of each row over its numbers, where it can be compared with those of the others.

    Args:
        values: The metric, float64 of shape (L, P).
        linear: Whether differences count, not ratios.

    Returns:
        float64 of shape (L,). NaN for rows without numbers in a quarter of the changes that others have or more, and
        for rows over whose changes the usual course has another median than over all: by 0.02, in decades unless
        `linear`, which is 5 %. Where that would leave none, they stay.
    """
    known = np.isfinite(values)
    counts = known.sum(axis=1)
    most = int(counts.max(initial=0))
    compares = counts > _KNOWN_SHARE * most
    partly = np.flatnonzero(compares & (counts < values.shape[1]))
    if len(partly):
        course = _trace_usual_course(values, np.flatnonzero(counts > _WHOLE_SHARE * most), linear=linear)
        own = find_medians(np.where(known[partly], course, np.nan))
        off = np.zeros(len(values), dtype=np.bool_)
        off[partly] = np.abs(own - find_medians(course[None])) > _MOST_SHIFT
        compares &= ~off | ~(compares & ~off).any()
    levels: FloatArray = np.where(compares, row_levels(values), np.nan)
    return levels


def _trace_usual_course(values: FloatArray, rows: IndexArray, *, linear: bool) -> FloatArray:
    """How rows with numbers nearly everywhere go about their own levels in the median, float64 of shape (P,)."""
    part = values[rows[:: -(-len(rows) // _MOST_ROWS)]]
    if not linear:
        logs = np.log10(part, where=part > 0, out=np.full(part.shape, np.nan))
        part = np.where(part == 0, np.fmin.reduce(logs, axis=1, keepdims=True) - _STILL_STEP, logs)
    return find_medians((part - find_medians(part)[:, None]).T.copy())
