"""Curves and findings in plain words. Names of layers are left as they are: whoever prints them makes them safe."""

import sys
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.sentences import list_names
from wsanalyze.series import ChangeSeries, CheckpointRecord, Event
from wsanalyze.trends.base import Cluster
from wsanalyze.trends.cluster import FloatArray, LabelArray

BoolArray = NDArray[np.bool_]
IndexArray = NDArray[np.intp]

FLAT_DECADES: Final = 0.15
"""A curve that stays within a factor of 1.4 is steady."""

_TURN_SHARE: Final = 0.35
_DEEP_DECADES: Final = 1.0
_EARLY: Final = 0.35
_SUDDEN: Final = 0.25
SHOWN_NAMES: Final = 3
_SIMILAR_RATIO: Final = 1.5
_SHOWN_TRENDS: Final = 4
_STANDING_OUT: Final = ("nonfinite", "dead", "spike", "frozen", "wakes")


def name_checkpoint(record: CheckpointRecord) -> str:
    """What a sentence calls a checkpoint: its step, or its label where it has none."""
    return record.label if record.step is None else f"step {record.step}"


def name_changes(series: ChangeSeries) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What sentences call the checkpoints that the P changes start at, and those that they lead to."""
    names = [name_checkpoint(record) for record in series.checkpoints]
    return tuple(names[before] for before, _ in series.pairs), tuple(names[after] for _, after in series.pairs)


def count_noun(number: int, noun: str) -> str:
    """A number and its noun: "1 layer", "2 layers"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def count_cells(cells: BoolArray, noun: str, row_noun: str, more: str = "") -> str:
    """The number of true cells of a mask of shape (L, P), and of their rows: "3 spikes, in 2 layers,"."""
    return f"{count_noun(int(cells.sum()), noun)}{more}, in {count_noun(int(cells.any(axis=1).sum()), row_noun)},"


def describe_curve(curve: FloatArray, starts: Sequence[str], ends: Sequence[str], *, linear: bool = False) -> str:
    """Describe the course of a curve in a few words.

    Args:
        curve: float64 of shape (P,), not negative; 0 where nothing changed, NaN where there is no number.
        starts: What the checkpoint that each change starts at is called, P names.
        ends: What the one that it leads to is called, which stands for the change itself.
        linear: Whether its values are no amounts of change but numbers from -1 to 1: then it never rests.

    Returns:
        Words such as "steady", "falls steadily", "fast, then slow", "hump at step 400", "wakes after step 20,
        then steady". A curve wakes after the last checkpoint before it moves, and is frozen from the first one that it
        stays at, as in the events of those kinds.
    """
    known = np.isfinite(curve)
    values = curve[known]
    names = [(start, end) for start, end, shown in zip(starts, ends, known, strict=True) if shown]
    moving = np.arange(len(values)) if linear else np.flatnonzero(values > 0)
    if not len(moving):
        return "unchanged" if len(values) else "no numbers"
    if len(values) == 1:
        return "one change only"
    if linear:
        return _describe_course(_smooth(values), [end for _, end in names], early="falls early")
    return _describe_span(values, names, moving)


def _describe_span(values: FloatArray, names: Sequence[tuple[str, str]], moving: IndexArray) -> str:
    """Say when a curve begins and ceases to move, and what it does in between."""
    first, last = int(moving[0]), int(moving[-1])
    wakes, freezes = first > 0, last < len(values) - 1
    start, end = names[first][0], names[last][1]
    if wakes and freezes:
        return f"moves only from {start} to {end}"
    course = _describe_changes(values[first : last + 1], [name for _, name in names[first : last + 1]])
    if wakes:
        return f"wakes after {start}, then {course}" if course else f"wakes after {start}"
    if freezes:
        return f"{course or 'one change'}, then frozen from {end}"
    return course


def _describe_changes(values: FloatArray, names: Sequence[str]) -> str:
    """Describe values that begin and end above 0; empty for a single one."""
    if len(values) == 1:
        return ""
    return _describe_course(_smooth(np.log10(np.where(values > 0, values, values[values > 0].min()))), names)


def _describe_course(logs: FloatArray, names: Sequence[str], early: str | None = None) -> str:
    """Describe a course by its turns and its slope; `early` is said of one that falls at the beginning only."""
    spread = float(np.ptp(logs))
    if spread < FLAT_DECADES:
        return "steady"
    turns = _find_turns(logs, max(FLAT_DECADES, _TURN_SHARE * spread))
    if len(turns) == 1:
        return f"{'hump' if logs[turns[0]] > logs[0] else 'dip'} at {names[turns[0]]}"
    if turns:
        return "goes up and down"
    window = max(1, len(logs) // 8)
    start, end = float(np.median(logs[:window])), float(np.median(logs[-window:]))
    if abs(start - end) < FLAT_DECADES:
        return "about steady"
    return _describe_slope((logs - start) / (end - start), start - end, names, early)


def _find_turns(logs: FloatArray, least: float) -> list[int]:
    """Where a curve turns: its extremes between two legs of at least that height."""
    turns: list[int] = []
    high = low = 0
    rising: bool | None = None
    for index, value in enumerate(logs):
        high = index if value > logs[high] else high
        low = index if value < logs[low] else low
        if rising is not False and logs[high] - value >= least:
            turns += [high] if rising else []
            rising, low = False, index
        elif rising is not True and value - logs[low] >= least:
            turns += [low] if rising is False else []
            rising, high = True, index
    return turns


def _describe_slope(done: FloatArray, fall: float, names: Sequence[str], early: str | None) -> str:
    """Describe a curve that goes from one level to another, by when a fifth and four fifths of the way are done."""
    begun, ended = int(np.argmax(done >= 0.2)), int(np.argmax(done >= 0.8))  # noqa: PLR2004 - fifths
    length = len(done) - 1
    if fall > 0 and ended <= _EARLY * length:
        return early or ("fast, then nearly frozen" if fall >= _DEEP_DECADES else "fast, then slow")
    verb = "falls" if fall > 0 else "rises"
    if length > 1 / _SUDDEN and ended - begun <= _SUDDEN * length:
        return f"{verb} at {names[ended]}"
    return f"{verb} steadily" if length > 1 else verb


def _smooth(logs: FloatArray) -> FloatArray:
    """Running mean over an eighth of the curve, shorter at its ends."""
    half = len(logs) // 16
    return np.array([logs[max(0, i - half) : i + half + 1].mean() for i in range(len(logs))])


def write_headline(
    series: ChangeSeries,
    values: FloatArray,
    labels: LabelArray,
    clusters: Sequence[Cluster],
    outliers: Sequence[str],
    events: Sequence[Event],
    noun: str = "layer",
    title: str | None = None,
) -> tuple[str, ...]:
    """Say the most important things about a run.

    Args:
        series: The series as clustered, L rows.
        values: Its metric, float64 of shape (L, P).
        labels: int64 of shape (L,).
        clusters: The clusters, by id.
        outliers: Names of rows that move like no other.
        events: What the curves show.
        noun: What one row is called.
        title: What the metric is called, where its values are no amounts of change.

    Returns:
        Up to three sentences: what moved most, how many trends there are, what stands out.
    """
    if not series.rows:
        return (f"There is no {noun} to compare.",)
    if not np.isfinite(values).any():
        return (f"No {noun} has a number, so nothing could be compared.",)
    if title is None and not (values > 0).any():
        return (f"No {noun} changed at all.",)
    sentences = (
        _say_most(series, values, noun) if title is None else _say_highest(series, values, noun, title),
        _say_trends(labels, clusters, noun),
        _say_special(outliers, events, noun),
    )
    return tuple(sentence for sentence in sentences if sentence)


def row_levels(values: FloatArray) -> FloatArray:
    """Median of each row over its numbers, float64 of shape (L,); NaN where it has none."""
    levels = np.full(len(values), np.nan)
    known = np.isfinite(values).any(axis=1)
    levels[known] = np.nanmedian(values[known], axis=1)
    return levels


def number_by_level(labels: LabelArray, values: FloatArray) -> LabelArray:
    """Number clusters by the median level of their members, highest first."""
    levels = row_levels(values)
    ids = range(int(labels.max(initial=-1)) + 1)
    ranked = sorted(ids, key=lambda label: (-float(np.nanmedian(levels[labels == label])), label))
    numbers = np.full(len(ids) + 1, -1, dtype=np.int64)  # the last is for label -1
    numbers[ranked] = np.arange(len(ids))
    return numbers[labels]


def _say_most(series: ChangeSeries, values: FloatArray, noun: str) -> str:
    levels = row_levels(values)
    level, usual = float(np.nanmax(levels)), float(np.nanmedian(levels))
    if level == 0:
        return f"No {noun} changed in more than half of the changes."
    most, known = np.flatnonzero(levels == level), int(np.isfinite(levels).sum())
    names = list_names([series.names[row] for row in most], SHOWN_NAMES)
    by = f"{level:.3g} in the median" if len(series.pairs) > 1 else f"{level:.3g}"
    if known == 1:
        return f"{names} changed by {by}."
    if level == usual:
        alike = f"All {known} {noun}s" if len(most) == known else f"{len(most)} of {known} {noun}s"
        return f"{alike} changed alike, by {by}{'' if len(most) == known else ', and none by more'}."
    return f"{names} changed most{_compare_with_usual(level, usual, by, noun)}."


def _say_highest(series: ChangeSeries, values: FloatArray, noun: str, title: str) -> str:
    """Say which rows have the highest level of a metric whose values are no amounts of change."""
    levels = row_levels(values)
    level, usual = float(np.nanmax(levels)), float(np.nanmedian(levels))
    names = list_names([series.names[row] for row in np.flatnonzero(levels == level)], SHOWN_NAMES)
    by = f"{level:.3g} in the median" if len(series.pairs) > 1 else f"{level:.3g}"
    lead = f"{title[:1].upper()}{title[1:]}"
    if level == usual:
        return f"{lead} is {by} in {names}, and in no {noun} higher."
    return f"{lead} is highest in {names}: {by}, against {usual:.3g} for the median {noun}."


def _compare_with_usual(level: float, usual: float, by: str, noun: str) -> str:
    if usual == 0:
        return f", by {by}, against 0 for half of the {noun}s"
    if level < _SIMILAR_RATIO * usual:
        return f", but hardly more than the others: {by}, against {usual:.3g}"
    times = f"{min(level / usual, sys.float_info.max):.3g} times"
    return f": {by}, {times} the {usual:.3g} of the median {noun}"


def _say_trends(labels: LabelArray, clusters: Sequence[Cluster], noun: str) -> str:
    number = int((labels >= 0).sum())
    if not clusters:
        return ""
    layers = count_noun(number, noun)
    if len(clusters) == 1:
        return f"{layers} {'follows' if number == 1 else 'follow'} one trend: {clusters[0].summary}."
    largest = sorted(clusters, key=lambda cluster: -cluster.size)[:_SHOWN_TRENDS]
    summaries = [cluster.summary for cluster in largest]
    parts = [
        f"{cluster.summary}{_say_level(cluster) if summaries.count(cluster.summary) > 1 else ''} "
        f"({count_noun(cluster.size, noun)})"
        for cluster in largest
    ]
    rest = len(clusters) - len(largest)
    parts += [f"and {rest} more"] if rest else []
    return f"{layers} follow {len(clusters)} trends: {'; '.join(parts)}."


def _say_level(cluster: Cluster) -> str:
    """The level of a cluster, to tell it from another one with the same course."""
    return f" near {np.median([value for value in cluster.median if value is not None]):.2g}"


def _say_special(outliers: Sequence[str], events: Sequence[Event], noun: str) -> str:
    for kind in _STANDING_OUT[:2]:
        for event in events:
            if event.kind == kind:
                return event.text
    if outliers:
        verb = "follows" if len(outliers) == 1 else "follow"
        return f"{list_names(outliers, SHOWN_NAMES)} {verb} no other {noun}'s trend."
    for kind in _STANDING_OUT[2:]:
        for event in events:
            if event.kind == kind:
                return event.text
    return ""
