"""A change that lies far off those of the same row before and after, where the others go on as ever, in words."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from wsanalyze.series import ChangeSeries, Event
from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.blocks import cut_blocks, find_medians
from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.noise import NORMAL_MAD
from wsanalyze.trends.words import count_noun, is_speed, name_checkpoint, say_times

KIND: Final = "lone"
"""The kind of the event."""

_LEAST_CHANGES: Final = 4
_LONE_DECADES: Final = 1.0
_ALSO_DECADES: Final = float(np.log10(3))
_DEVIATIONS: Final = 6.0
_MOST_ROWS: Final = 1000
_BEND_VARIANCE: Final = 1.5


def find_lone(
    series: ChangeSeries, values: FloatArray, options: TrendOptions, told: Sequence[Event] = ()
) -> tuple[Event, ...]:
    """Find the change that lies furthest off those of the same row before and after.

    Args:
        series: L rows and P changes.
        values: The metric, float64 of shape (L, P).
        options: `metric` and `noun` are used.
        told: Events that are told anyhow: what is a spike of many rows is no lone change.

    Returns:
        An event of kind "lone" at the checkpoint that the change leads to, which tells of the rows that lie off on the
        same side at the same change as well; none where no change lies off by a factor of 10 where the median row does
        not, or by what noise may do: six standard deviations of how far values lie off the middle of their neighbours.
    """
    if options.linear or not is_speed(options.metric) or values.shape[1] < _LEAST_CHANGES or not len(values):
        return ()
    off = _measure_off(values)
    lone = off - np.median(off, axis=0)
    if np.abs(lone).max(initial=0) < _LONE_DECADES:
        return ()
    by_noise = _DEVIATIONS * _measure_noise(values)
    row, change = divmod(int(np.abs(lone).argmax()), off.shape[1])
    most = float(off[row, change])
    if min(abs(most), abs(float(lone[row, change]))) < max(_LONE_DECADES, by_noise):
        return ()
    if any(event.kind == "spike" and change + 1 in event.evidence["changes"] for event in told):
        return ()
    side, least = np.sign(most), max(_ALSO_DECADES, by_noise)
    also = np.flatnonzero(np.minimum(side * off[:, change], side * lone[:, change]) >= least)
    also = also[also != row]
    place = series.pairs[change + 1][1]
    how = f"{_say_at_least(abs(most))} {'more' if most > 0 else 'less'}"
    when = f"on the way to {name_checkpoint(series.checkpoints[place])} than just before and after"
    name, others = series.rows[row].name, [series.rows[other].name for other in also.tolist()]
    if not others:
        more = ""
    elif len(others) == 1:
        more = f", and {others[0]} {say_times(abs(float(off[also[0], change])))}"
    else:
        more = f", and {count_noun(len(others), f'other {options.noun}')} there at least {say_times(least)}"
    text = f"{name}{'' if others else ' alone'} changed {how} {when}{more}."
    evidence = {"row": row, "change": change + 1, "decades": most, "also": also.tolist()}
    return (Event(KIND, name, place, text, evidence),)


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
        logs = _take_logs(values[some])
        before, after = logs[:, 1:-1] - logs[:, :-2], logs[:, 1:-1] - logs[:, 2:]
        nearer = np.minimum(abs(before), abs(after)) * np.sign(before)
        np.copyto(off[some], nearer, where=before * after > 0)
    return off


def _measure_noise(values: FloatArray) -> float:
    """Standard deviation of the noise of one value, decades: how far values lie off the middle of those beside them.

    What the median row does is no noise.
    """
    logs = _take_logs(values[:: -(-len(values) // _MOST_ROWS)])
    bends = logs[:, 1:-1] - (logs[:, :-2] + logs[:, 2:]) / 2
    bends -= find_medians(bends.T.copy())
    known = np.abs(bends[np.isfinite(bends)])
    return NORMAL_MAD * float(np.median(known)) / float(np.sqrt(_BEND_VARIANCE)) if len(known) else 0.0


def _take_logs(values: FloatArray) -> FloatArray:
    logs: FloatArray = np.log10(values, where=values > 0, out=np.full(values.shape, np.nan))
    return logs
