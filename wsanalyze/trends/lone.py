"""A change that lies far off those of the same row before and after, where the others go on as ever, in words."""

from typing import Final

import numpy as np

from wsanalyze.trends.base import Trends
from wsanalyze.trends.blocks import cut_blocks
from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.words import count_noun, name_checkpoint, say_times

_LEAST_CHANGES: Final = 4
_LONE_DECADES: Final = 1.0
_ALSO_DECADES: Final = float(np.log10(3))
_ALSO: Final = "at least 3 times"


def say_lone(trends: Trends, values: FloatArray) -> str:
    """Name the change that lies furthest off those of the same row before and after.

    Args:
        trends: What was found; its series, rows and options are used.
        values: The metric, float64 of shape (L, P).

    Returns:
        A sentence without its full stop, which tells of the rows that lie off on the same side at the same change as
        well; empty where no change lies off by a factor of 10 where the median row does not.
    """
    if trends.options.linear or values.shape[1] < _LEAST_CHANGES:
        return ""
    off = _measure_off(values)
    lone = off - np.median(off, axis=0)
    if np.abs(lone).max(initial=0) < _LONE_DECADES:
        return ""
    row, change = divmod(int(np.abs(lone).argmax()), off.shape[1])
    most = float(off[row, change])
    if abs(most) < _LONE_DECADES:
        return ""
    side = np.sign(most)
    also = np.flatnonzero(np.minimum(side * off[:, change], side * lone[:, change]) >= _ALSO_DECADES)
    also = also[also != row]
    end = name_checkpoint(trends.series.checkpoints[trends.series.pairs[change + 1][1]])
    how = f"{_say_at_least(abs(most))} {'more' if most > 0 else 'less'}"
    names = trends.series.names
    when = f"on the way to {end} than just before and after"
    if not len(also):
        return f"{names[row]} alone changed {how} {when}"
    if len(also) == 1:
        return f"{names[row]} changed {how} {when}, and {names[also[0]]} {say_times(abs(float(off[also[0], change])))}"
    return f"{names[row]} changed {how} {when}, and {count_noun(len(also), f'other {trends.options.noun}')} {_ALSO}"


def _say_at_least(decades: float) -> str:
    """How many times, of the nearer of both sides: of the other one it is more."""
    times = say_times(decades)
    return times if times.startswith("more than") else f"at least {times}"


def _measure_off(values: FloatArray) -> FloatArray:
    """How far each change but the first and last lies off the nearer of both beside it, decades, (L, P - 2).

    It is 0 where the change lies between them. NaN compares as false, so that what is next to a gap lies off nothing.
    """
    off = np.zeros((len(values), values.shape[1] - 2))
    for some in cut_blocks(*values.shape):
        logs = np.log10(values[some], where=values[some] > 0, out=np.full(values[some].shape, np.nan))
        before, after = logs[:, 1:-1] - logs[:, :-2], logs[:, 1:-1] - logs[:, 2:]
        nearer = np.minimum(abs(before), abs(after)) * np.sign(before)
        np.copyto(off[some], nearer, where=before * after > 0)
    return off
