"""Jumps that rows have in common with those that are otherwise alike: a trend, not spikes. NumPy only."""

from typing import Final

import numpy as np

from wsanalyze.trends.cluster import FloatArray, LabelArray
from wsanalyze.trends.noise import BoolArray

_NUM_NEIGHBOURS: Final = 3
_MAX_REFERENCES: Final = 1000
_ROWS_AT_ONCE: Final = 32


def find_shared(curves: FloatArray, off: FloatArray, candidates: BoolArray) -> BoolArray:
    """Candidates that most of the rows which are otherwise alike have as well: their trend, not a spike.

    Args:
        curves: float64 of shape (n, P), n >= 2, with candidates bounded.
        off: float64 of shape (n, P): how far each cell lies off its row's running median.
        candidates: bool of shape (n, P).

    Returns:
        bool of shape (n, P).
    """
    # Thousands of rows are compared with a part of them: a trend has many members.
    part = np.unique(np.linspace(0, len(curves) - 1, min(len(curves), _MAX_REFERENCES)).astype(np.intp))
    others = _centre(curves[part])
    squares = (others**2).sum(axis=1)
    by_change, off_by_change = np.ascontiguousarray(others.T), np.ascontiguousarray(off[part].T)
    number = min(_NUM_NEIGHBOURS, len(part) - 1)
    shared: BoolArray = np.zeros(candidates.shape, dtype=np.bool_)
    rows = np.flatnonzero(candidates.any(axis=1))
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[begin : begin + _ROWS_AT_ONCE]
        shapes = _centre(curves[some])
        distances = squares - 2 * (shapes @ others.T) + (shapes**2).sum(axis=1)[:, None]
        distances[some[:, None] == part] = np.inf
        which, cells = np.nonzero(candidates[some])
        # The cell itself is left out of the distance, or rows with a spike at the same change would be alike.
        without = distances[which] - (by_change[cells] - shapes[which, cells][:, None]) ** 2
        usual = np.median(off_by_change[cells[:, None], _find_least(without, number)], axis=1)
        jumps = off[some[which], cells]
        shared[some[which], cells] = np.sign(jumps) * usual >= np.abs(jumps) / 2
    return shared


def _centre(curves: FloatArray) -> FloatArray:
    centred: FloatArray = curves - curves.mean(axis=1, keepdims=True)
    return centred


def _find_least(distances: FloatArray, number: int) -> LabelArray:
    """Where the least few of each row are, int64 of shape (m, number); they are overwritten with infinity."""
    places = np.empty((len(distances), number), dtype=np.int64)
    for index in range(number):
        places[:, index] = distances.argmin(axis=1)
        distances[np.arange(len(distances)), places[:, index]] = np.inf
    return places
