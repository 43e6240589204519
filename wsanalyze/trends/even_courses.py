"""The course of a curve in words that hold whatever uneven distances between checkpoints did to its values."""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from wsanalyze.sentences import list_names
from wsanalyze.series import ChangeSeries
from wsanalyze.trends.base import TrendOptions
from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.courses import describe_curve
from wsanalyze.trends.spacing import find_new_spacings, measure_odd, take_distances, take_odd_off
from wsanalyze.trends.words import FLAT_DECADES, IndexArray, is_speed, name_changes

_NUM_BESIDE: Final = 2
_SHOWN: Final = 3
_UNNAMED: Final = "goes up and down"


def describe_course(curve: FloatArray, series: ChangeSeries, options: TrendOptions) -> str:
    """Describe a curve, without what may only be a longer or a shorter way from one checkpoint to the next.

    Args:
        curve: The metric of one row, or of many together, float64 of shape (P,); see `describe_curve`.
        series: Its checkpoints are named, and their steps looked at.
        options: `metric` is used.

    Returns:
        As of `describe_curve`. What is left out, where one sees it in the curve, is said: "falls steadily, but for a
        longer way to step 300", "steady, but for longer ways from step 1000 on".
    """
    starts, ends = name_changes(series)

    def describe(values: FloatArray) -> str:
        return describe_curve(values, starts, ends, linear=options.linear, speed=is_speed(options.metric))

    distances = take_distances(series, options.metric)
    odd = measure_odd(distances)
    even = take_odd_off(curve, odd)
    text = describe(even)
    places = find_new_spacings(distances / odd)
    if text != _UNNAMED:
        places = np.array([place for place in places if _names(text, starts[place], ends[place])], dtype=np.intp)
    if len(places):
        level, taken = _take_steps_off(even, distances / odd, places)
        other = describe(level)
        if other != text and len(taken):
            text = f"{other}{_say_new_ways(distances, taken, starts)}"
    told = np.array(
        [_names(text, end, end) or _names(text, start, start) for start, end in zip(starts, ends, strict=True)]
    )
    ways = _say_odd_ways(curve, even, np.where(told, 1.0, odd), ends)
    return f"{text}{' and' if ways and ', but for ' in text else ways and ', but'}{ways}"


def _names(text: str, start: str, end: str) -> bool:
    """Whether a description tells of the change from one checkpoint to another one."""
    begun, ended = (re.escape(name) for name in (start, end))
    listed = r"(?:[^,]*\band )?"
    told = rf"\b(?:after|from) {listed}{begun}|\bto {begun}|\b(?:at|to|until|between) {listed}{ended}"
    return bool(re.search(rf"(?:{told})(?!\w)", text))


def _take_steps_off(curve: FloatArray, distances: FloatArray, places: IndexArray) -> tuple[FloatArray, IndexArray]:
    """Go on after each new spacing as before it, as far as the distances allow.

    Returns:
        A copy, float64 of shape (P,), and the places at which one sees the difference.
    """
    logs = np.log10(curve, where=curve > 0, out=np.full(curve.shape, np.nan))
    steps, taken = np.diff(logs, prepend=np.nan), np.zeros(len(curve))
    usual = np.delete(np.arange(len(curve)), places)
    for place in places.tolist():
        beside = usual[np.abs(usual - place) <= _NUM_BESIDE]
        around = steps[beside][np.isfinite(steps[beside])]
        more = steps[place] - (float(np.median(around)) if len(around) else 0.0)
        grown = float(np.log10(distances[place] / distances[place - 1]))
        taken[place] = np.nan_to_num(np.clip(more, min(grown, 0.0), max(grown, 0.0)))
    return curve / 10.0 ** np.cumsum(taken), np.flatnonzero(np.abs(taken) >= FLAT_DECADES)


def _say_new_ways(distances: FloatArray, places: IndexArray, starts: Sequence[str]) -> str:
    if len(places) > 1:
        names = list_names([starts[place] for place in places.tolist()], _SHOWN)
        return f", but for the distances, which change at {names}"
    (place,) = places.tolist()
    return (
        f", but for {'longer' if distances[place] > distances[place - 1] else 'shorter'} ways from {starts[place]} on"
    )


def _say_odd_ways(curve: FloatArray, even: FloatArray, odd: FloatArray, ends: Sequence[str]) -> str:
    """Name the changes whose values differ visibly for their distances alone; empty for none."""
    numbers = (curve > 0) & (odd != 1)
    ratios = np.log10(np.divide(curve, even, where=numbers, out=np.ones(len(curve))))
    places = np.flatnonzero(np.abs(ratios) >= FLAT_DECADES)
    if not len(places):
        return ""
    longer = {bool(odd[place] > 1) for place in places}
    kind = "other" if len(longer) > 1 else "longer" if longer == {True} else "shorter"
    way = f"a {kind} way" if len(places) == 1 else f"{kind} ways"
    return f" for {way} to {list_names([ends[place] for place in places.tolist()], _SHOWN)}"
