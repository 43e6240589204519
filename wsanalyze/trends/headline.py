"""The sentences that a report opens with, as one would write them who has looked at all plots."""

import re
import sys
from collections.abc import Sequence
from typing import Final

import numpy as np

from wsanalyze.metrics import METRICS, Span
from wsanalyze.sentences import list_names
from wsanalyze.series import Event
from wsanalyze.trends.base import Cluster, Quality, Trends
from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.contrast import Contrast, find_contrast
from wsanalyze.trends.words import (
    SHOWN_NAMES,
    count_noun,
    describe_level,
    is_speed,
    name_changes,
    name_checkpoint,
    row_levels,
    say_course,
)

_SIMILAR_RATIO: Final = 1.5
_LARGE_RATIO: Final = 5.0
_RATE_RATIO: Final = 1.5
_SHOWN_TRENDS: Final = 4
_LEAST_CHANGES: Final = 4
_LONE_DECADES: Final = 1.0
_MAX_DECADES: Final = 300.0
_SHORT: Final = 110
_CLEAR: Final = (0.5, 0.9)
_FAIR: Final = (0.25, 0.7)
_URGENT: Final = ("nonfinite", "dead", "impostor", "spike", "phase")
_LATER: Final = ("frozen", "wakes")
_LAST: Final = ("confounded", "unreadable", "resized", "dtype", "missing-steps", "duplicate")


def write_headline(trends: Trends) -> tuple[str, ...]:
    """Say the most important things about a run.

    Args:
        trends: What was found; its own headline is not looked at.

    Returns:
        Up to three sentences: what changes most and where, how many trends there are and what tells them apart, what
        stands out.
    """
    options, values = trends.options, trends.values
    if not trends.series.rows:
        return (f"There is no {options.noun} to compare.",)
    if not np.isfinite(values).any():
        return (f"No {options.noun} has a number, so nothing could be compared.",)
    if not options.linear and not (values > 0).any():
        return (f"No {options.noun} changed at all.",)
    most = _say_most(trends, values) if is_speed(options.metric) else _say_highest(trends, values)
    return tuple(sentence for sentence in (most, _say_trends(trends), _say_special(trends, values)) if sentence)


def _say_most(trends: Trends, values: FloatArray) -> str:
    """Say which rows change most, and where in the network."""
    names, noun = trends.series.names, trends.options.noun
    levels = row_levels(values)
    level, usual = float(np.nanmax(levels)), float(np.nanmedian(levels))
    if level == 0:
        return f"No {noun} changed in more than half of the changes."
    most, known = np.flatnonzero(levels == level), int(np.isfinite(levels).sum())
    named = list_names([names[row] for row in most], SHOWN_NAMES)
    by = f"{level:.3g} in the median" if values.shape[1] > 1 else f"{level:.3g}"
    if known == 1:
        return f"{named} changed by {by}."
    if level == usual:
        alike = f"All {known} {noun}s" if len(most) == known else f"{len(most)} of {known} {noun}s"
        return f"{alike} changed alike, by {by}{'' if len(most) == known else ', and none by more'}."
    contrast = find_contrast(trends.series.rows, levels)
    largest = _say_largest(trends, values, most.tolist())
    if contrast is not None:
        return f"{_say_contrast(contrast, levels, most.tolist(), named, by, noun)}{largest}."
    return f"{named} changed most{_compare_with_usual(level, usual, by, noun)}{_say_order(trends)}{largest}."


def _say_contrast(contrast: Contrast, levels: FloatArray, most: Sequence[int], named: str, by: str, noun: str) -> str:
    """Say which part of the network changes most, and which rows of it."""
    median = " in the median" if by.endswith("median") else ""
    others = count_noun(contrast.others, f"other {noun}")
    text = (
        f"{contrast.name(noun)} changed most: {contrast.inside:.2g}{median}, {contrast.ratio:.2g} times the "
        f"{contrast.outside:.2g} of the {others}"
    )
    if set(most) <= set(contrast.rows):
        return f"{text}; most of all {named} ({levels[most[0]]:.2g})"
    return f"{text}; but {named} even more ({levels[most[0]]:.2g})"


def _say_order(trends: Trends) -> str:
    """Whether levels follow depth, from the sentence on depth."""
    text = trends.depth.text if trends.depth else ""
    order = text.removesuffix(".").split(", and ", maxsplit=1)[0]
    return f"; {order[:1].lower()}{order[1:]}" if text.startswith("Deeper") else ""


def _say_largest(trends: Trends, values: FloatArray, most: Sequence[int]) -> str:
    """Name a single change that is far above all of those rows that change most by their median."""
    row, change = divmod(int(np.nanargmax(values)), values.shape[1])
    largest = float(values[row, change])
    if largest / _LARGE_RATIO < np.nanmax(values[most]):
        return ""
    end = name_checkpoint(trends.series.checkpoints[trends.series.pairs[change][1]])
    return f"; the largest single change is that of {trends.series.names[row]} to {end}, by {largest:.3g}"


def _say_highest(trends: Trends, values: FloatArray) -> str:
    """Say which rows have the highest level of a metric whose values are no amounts of change."""
    noun, metric, series = trends.options.noun, METRICS[trends.options.metric], trends.series
    lead = f"{metric.title[:1].upper()}{metric.title[1:]}"
    if metric.span is Span.FIRST:
        # What adds up over the training is told by where it ends.
        known = np.flatnonzero(np.isfinite(values).any(axis=0))[-1]
        levels, when = values[:, known], f" at {name_checkpoint(series.checkpoints[series.pairs[known][1]])}"
    else:
        levels, when = row_levels(values), " in the median" if values.shape[1] > 1 else ""
    level, usual = float(np.nanmax(levels)), float(np.nanmedian(levels))
    names = list_names([series.names[row] for row in np.flatnonzero(levels == level)], SHOWN_NAMES)
    if level == usual:
        return f"{lead} is {level:.3g}{when} in {names}, and in no {noun} higher."
    return f"{lead} is highest in {names}: {level:.3g}{when}, against {usual:.3g} for the median {noun}."


def _compare_with_usual(level: float, usual: float, by: str, noun: str) -> str:
    if usual == 0:
        return f", by {by}, against 0 for half of the {noun}s"
    if level < _SIMILAR_RATIO * usual:
        return f", but hardly more than the others: {by}, against {usual:.3g}"
    times = f"{min(level / usual, sys.float_info.max):.3g} times"
    return f": {by}, {times} the {usual:.3g} of the median {noun}"


def _say_trends(trends: Trends) -> str:
    """Say how many trends there are, how sure that is, and what tells them apart."""
    clusters, noun = trends.clusters, trends.options.noun
    number, total = int((trends.labels >= 0).sum()), len(trends.labels)
    if not clusters:
        return ""
    if trends.options.by_kind and trends.kinds:
        return trends.quality.text
    layers = count_noun(number, noun) if number == total else f"{number} of {count_noun(total, noun)}"
    if len(clusters) == 1:
        (cluster,) = clusters
        verb, who = ("follows", "it") if number == 1 else ("follow", "they")
        alike = f"All {layers}" if number == total and number > 1 else layers
        what = _say_what(cluster, plural=number > 1, level=True)
        return f"{alike} {verb} one trend: {who} {what}{_say_rate(trends, cluster)}."
    largest = sorted(clusters, key=lambda cluster: -cluster.size)[:_SHOWN_TRENDS]
    summaries = [cluster.summary for cluster in largest]
    parts = []
    for cluster in largest:
        makeup = f" ({cluster.makeup})" if cluster.makeup else ""
        what = _say_what(cluster, plural=cluster.size > 1, level=summaries.count(cluster.summary) > 1)
        parts.append(f"{cluster.size}{makeup} {what}")
    rest = len(clusters) - len(largest)
    parts += [f"and {rest} more"] if rest else []
    return f"{layers} follow {len(clusters)} trends{_say_sure(trends.quality)}: {'; '.join(parts)}."


def _say_what(cluster: Cluster, *, plural: bool, level: bool) -> str:
    words = describe_level(cluster) if level else ""
    return f"{say_course(cluster.summary, plural=plural)}{words and f', {words}'}"


def _say_rate(trends: Trends, cluster: Cluster) -> str:
    """Say that the learning rate falls or rises when a cluster does at once."""
    found = re.search(r"\b(falls|rises) at (.*?)(, |$)", cluster.summary)
    rates = trends.series.log.at_checkpoints("learning_rate", len(trends.series.checkpoints))
    ends = name_changes(trends.series)[1]
    # A phase tells of it as well, and for how many rows.
    if found is None or found[2] not in ends or any(event.kind == "phase" for event in trends.events):
        return ""
    before, after = (float(rates[place]) for place in trends.series.pairs[ends.index(found[2])])
    low, high = sorted((before, after))
    if not 0 < _RATE_RATIO * low <= high or (after > before) != (found[1] == "rises"):
        return ""
    return f", where the learning rate {found[1]} from {before:.2g} to {after:.2g}"


def _say_sure(quality: Quality) -> str:
    """How sure it is that there are several trends, in a few words."""
    if quality.silhouette is None or quality.stability is None:
        return ""
    found = (quality.silhouette, quality.stability)
    clear, fair = (all(a >= b for a, b in zip(found, limits, strict=True)) for limits in (_CLEAR, _FAIR))
    words = "clearly apart" if clear else "fairly well apart" if fair else "hardly apart"
    return f", {words} (silhouette {found[0]:.2f}, stability {found[1]:.2f})"


def _say_special(trends: Trends, values: FloatArray) -> str:
    """Say what stands out: the most urgent thing, and the next one where both are short."""
    stops = {event.checkpoint for event in trends.events if event.kind in _LATER}
    # Where layers freeze or wake, a phase ends: that says the same once more.
    events = [event for event in trends.all_events if event.kind != "phase" or event.checkpoint not in stops]
    found = [*_pick(events, _URGENT), *_pick(events, _LATER)]
    found += filter(None, (_say_outliers(trends, values), _say_lone(trends, values)))
    found += _pick(events, _LAST)
    if not found and trends.depth is not None and " moves from " in trends.depth.text:
        found = [trends.depth.text]
    texts = [text.removesuffix(".") for text in found[:2]]
    if len(texts) > 1 and sum(map(len, texts)) > 2 * _SHORT:
        texts = texts[:1]
    return f"{'; '.join(texts)}." if texts else ""


def _pick(events: Sequence[Event], kinds: Sequence[str]) -> list[str]:
    """What the first event of each kind says, in the order of the kinds."""
    return [text for kind in kinds for text in [event.text for event in events if event.kind == kind][:1]]


def _say_outliers(trends: Trends, values: FloatArray) -> str:
    """Name rows whose course is like no other's, but for those of which an event says what it is."""
    moves = (np.isfinite(values) if trends.options.linear else values > 0).any(axis=1)
    told = {event.layer for event in trends.events if event.layer is not None}
    strange = [trends.series.names[row] for row in np.flatnonzero(trends.outliers & moves)]
    names = [name for name in strange if name not in told]
    verb = "follows" if len(names) == 1 else "follow"
    return f"{list_names(names, SHOWN_NAMES)} {verb} no other {trends.options.noun}'s trend" if names else ""


def _say_lone(trends: Trends, values: FloatArray) -> str:
    """Name the change that lies furthest off those of the same row before and after, where the others go on as ever."""
    if trends.options.linear or values.shape[1] < _LEAST_CHANGES:
        return ""
    logs = np.log10(values, where=values > 0, out=np.full(values.shape, np.nan))
    before, after = logs[:, 1:-1] - logs[:, :-2], logs[:, 1:-1] - logs[:, 2:]
    off = np.where(before * after > 0, np.minimum(abs(before), abs(after)) * np.sign(before), 0.0)
    # NaN compares as false, so that what is next to a gap lies off nothing.
    lone = np.abs(off - np.median(off, axis=0))
    if lone.max(initial=0) < _LONE_DECADES:
        return ""
    row, change = divmod(int(lone.argmax()), off.shape[1])
    if abs(off[row, change]) < _LONE_DECADES:
        return ""
    end = name_checkpoint(trends.series.checkpoints[trends.series.pairs[change + 1][1]])
    how = f"{10 ** min(_MAX_DECADES, abs(off[row, change])):.2g} times {'more' if off[row, change] > 0 else 'less'}"
    return f"{trends.series.names[row]} alone changed {how} on the way to {end} than just before and after"
