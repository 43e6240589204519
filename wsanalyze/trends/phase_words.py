"""Phases and their boundaries in plain words."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from wsanalyze.metrics import METRICS
from wsanalyze.series import ChangeSeries, Event
from wsanalyze.trends.base import Phase, TrendOptions
from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.words import FLAT_DECADES, count_of, is_speed, name_checkpoint, say_number, say_times

RATE_RATIO: Final = 1.5
"""A learning rate that is so many times another is said to differ."""

_RATE: Final = "learning_rate"
_NUM_AT_ENDS: Final = 3
_WIDE_DECADES: Final = 0.3


@dataclass(frozen=True, slots=True)
class Boundary:
    """A break that many rows share.

    Attributes:
        change: The first change after it, at least 1.
        rows: The rows that have it.
        size: The median of their jumps, or of how far they go on the lesser side of their turns, decades; below 0
            where they fall after it. On a slope a jump is what comes on top of it.
        step: The median of how far they go from the value just before a jump to that just after it, the slope included,
            decades: what one sees. The size of a turn.
        turns: Whether it is a turn.
        rests: Whether its rows do not change at all after it, where they fall, or before it, where they rise.
        level: Of a turn, on which side of it the rows stay on a plateau; empty where they go up or down on both.
    """

    change: int
    rows: tuple[int, ...]
    size: float
    step: float
    turns: bool = False
    rests: bool = False
    level: Literal["", "before", "after"] = ""


def find_rates(series: ChangeSeries) -> FloatArray:
    """Learning rate that was noted last within each change, float64 of shape (P,); NaN where none was."""
    at = series.log.at_checkpoints(_RATE, len(series.checkpoints))
    rates: FloatArray = at[[after for _, after in series.pairs]]
    return rates


def describe_phase(series: ChangeSeries, values: FloatArray, options: TrendOptions, first: int, last: int) -> Phase:
    """Describe the changes from `first` to `last`, both included.

    Args:
        series: L rows and P changes.
        values: The metric, float64 of shape (L, P).
        options: `metric` is used.
        first: First change.
        last: Last change.

    Returns:
        The phase; its level is that of the rows that move in it.
    """
    part = values[:, first : last + 1]
    moves = (part > 0).any(axis=1)
    if not options.linear and moves.any():
        part = part[moves]  # the others have no level
    level = float(np.nanmedian(part)) if np.isfinite(part).any() else None
    start, end = series.checkpoints[series.pairs[first][0]], series.checkpoints[series.pairs[last][1]]
    if start.step is None or end.step is None:
        when = f"{name_checkpoint(start)} to {name_checkpoint(end)}"
    else:
        when = f"steps {start.step} to {end.step}"
    return Phase(first, last, level, f"{when}: {_describe_course(part, level, options)}")


def _describe_course(part: FloatArray, level: float | None, options: TrendOptions) -> str:
    """Say how the median row goes, from its first change to its last."""
    course = np.nanmedian(part[:, np.isfinite(part).any(axis=0)], axis=0)
    if level is None:
        return "no numbers"
    if not options.linear and not (part > 0).any():
        return "nothing changes" if is_speed(options.metric) else f"{METRICS[options.metric].title} is 0"
    what, plural = (METRICS[options.metric].title, "s") if options.linear else ("changes", "")
    number = min(_NUM_AT_ENDS, (len(course) + 1) // 2)
    # Where it goes is judged by a few values at each end, and told by its ends.
    way = _measure_way(float(np.median(course[:number])), float(np.median(course[-number:])), options)
    start, end = float(course[0]), float(course[-1])
    if abs(way) >= FLAT_DECADES and _measure_way(start, end, options) * np.sign(way) >= FLAT_DECADES:
        return f"{what} {'fall' if way < 0 else 'rise'}{plural} from {say_number(start)} to {say_number(end)}"
    low, high = _find_range(course, options)
    if options.linear or high <= 10**_WIDE_DECADES * low:
        return f"{what} stay{plural} near {say_number(level)}"
    return f"{what} go up and down between {say_number(low)} and {say_number(high)}"


def _measure_way(start: float, end: float, options: TrendOptions) -> float:
    """How far it is from one level to another, decades unless values are no amounts."""
    if options.linear:
        return end - start
    if min(start, end) <= 0:
        return float(np.sign(end - start)) * np.inf if start != end else 0.0
    return float(np.log10(end) - np.log10(start))


def _find_range(course: FloatArray, options: TrendOptions) -> tuple[float, float]:
    """Lowest and highest of the running medians of three, single spikes left out."""
    if options.linear or len(course) < _NUM_AT_ENDS:
        return 0.0, 0.0
    middle = np.median(np.lib.stride_tricks.sliding_window_view(course, _NUM_AT_ENDS), axis=1)
    return float(middle.min()), float(middle.max())


def make_event(series: ChangeSeries, options: TrendOptions, found: Boundary, number: int, rates: FloatArray) -> Event:
    """Make the event of one boundary.

    Args:
        series: L rows and P changes.
        options: `metric` and `noun` are used.
        found: The boundary.
        number: How many rows were looked at.
        rates: float64 of shape (P,): see `find_rates`.

    Returns:
        An event at the checkpoint that both phases share.
    """
    place = series.pairs[found.change][0]
    count = count_of(len(found.rows), number, options.noun)
    evidence: dict[str, Any] = {"layers": len(found.rows), "of": number, "rows": list(found.rows)}
    evidence["turns"] = found.turns
    evidence |= {"rests": True} if found.rests else {"difference" if options.linear else "decades": found.size}
    said = _say_turn(found, count, options) if found.turns else _say_jump(found, count, options)
    before, after = float(rates[found.change - 1]), float(rates[found.change])
    if before > 0 and after > 0 and max(before, after) >= RATE_RATIO * min(before, after):
        evidence |= {"learning_rate_before": before, "learning_rate_after": after}
        verb = "falls" if after < before else "rises"
        said += f", as the learning rate {verb} from {say_number(before)} to {say_number(after)}"
    text = f"From {name_checkpoint(series.checkpoints[place])} on, {said}."
    return Event("phase", None, place, text, evidence)


def _say_jump(found: Boundary, count: str, options: TrendOptions) -> str:
    if options.linear:
        more = f"{say_number(abs(found.step))} {'lower' if found.step < 0 else 'higher'}"
        return f"the {METRICS[options.metric].title} of {count} is {more} in the median"
    single = len(found.rows) == 1
    if found.rests:
        stops, moves = ("stands still", "moves") if single else ("stand still", "move")
        return f"{count} {stops if found.size < 0 else moves}{'' if found.size < 0 else ' and did not before'}"
    verb = "changes" if single else "change"
    return f"{count} {verb} {say_times(found.step)} as much as just before in the median"


def _say_turn(found: Boundary, count: str, options: TrendOptions) -> str:
    falls = found.size < 0
    single = len(found.rows) == 1
    if options.linear:
        now, then = ("falls", "it rose") if falls else ("rises", "it fell")
        now = "stays on one level" if found.level == "after" else now
        then = "it stayed on one level" if found.level == "before" else then
        return f"the {METRICS[options.metric].title} of {count} {now} where {then} before"
    now, then = ("less and less", "more and more") if falls else ("more and more", "less and less")
    now = "about evenly" if found.level == "after" else now
    then = "about evenly" if found.level == "before" else then
    verb, who = ("changes", "it") if single else ("change", "they")
    return f"{count} {verb} {now}, where {who} changed {then} before"
