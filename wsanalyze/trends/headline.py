"""The sentences that a report opens with, as one would write them who has looked at all plots."""

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Final

import numpy as np

from wsanalyze.metrics import METRICS, Span
from wsanalyze.sentences import list_names
from wsanalyze.series import Event
from wsanalyze.trends.base import Trends
from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.contrast import Contrast, find_contrast
from wsanalyze.trends.event_words import join_events
from wsanalyze.trends.jaggedness import find_restless, measure_usual_step
from wsanalyze.trends.levels import compare_levels
from wsanalyze.trends.lone import KIND as LONE
from wsanalyze.trends.trend_words import SHOWN_TRENDS, say_trends
from wsanalyze.trends.words import (
    SHOWN_NAMES,
    begin_sentence,
    count_noun,
    count_of,
    is_speed,
    name_checkpoint,
    say_number,
    say_times,
)

_FIRST_WORD: Final = re.compile(r"^(From|All|At|On|Both|The|Deeper)(?= )")
_PAIR: Final = 2
_SIMILAR_RATIO: Final = 1.5
_LARGE_RATIO: Final = 5.0
_SHORT: Final = 110
_LONG_BEGIN: Final = 15
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
    said = (most, say_trends(trends), _say_special(trends, values))
    return tuple(_shorten(sentence, trends.series.names) for sentence in said if sentence)


def _shorten(sentence: str, names: Sequence[str]) -> str:
    """A sentence without a long beginning that all names share: what is left of them is still found in the report."""
    paths = [name.split(".") for name in names] if len(names) > 1 else []
    shared = list(takewhile(lambda parts: len(set(parts)) == 1, zip(*(path[:-1] for path in paths), strict=False)))
    if shared and any(path[len(shared)].isdecimal() for path in paths):
        shared.pop()  # a number says nothing without what it counts
    begin = "".join(f"{parts[0]}." for parts in shared)
    return re.sub(rf"(?<![\w.]){re.escape(begin)}", "", sentence) if len(begin) >= _LONG_BEGIN else sentence


def _say_most(trends: Trends, values: FloatArray) -> str:
    """Say which rows change most, and where in the network."""
    names, noun = trends.series.names, trends.options.noun
    levels = compare_levels(values)
    level, usual = float(np.nanmax(levels)), _take_middle(levels)
    if level == 0:
        return f"No {noun} changed in more than half of the changes."
    most, known = np.flatnonzero(levels == level), int(np.isfinite(levels).sum())
    named = list_names([names[row] for row in most], SHOWN_NAMES)
    by = f"{say_number(level)} in the median" if values.shape[1] > 1 else say_number(level)
    if known == 1:
        return f"{named} changed by {by}."
    if level == usual:
        alike = begin_sentence(count_of(len(most), known, noun))
        return f"{alike} changed by as much: {by}{'' if len(most) == known else ', and none by more'}."
    if known == _PAIR:
        (other,) = set(np.flatnonzero(np.isfinite(levels)).tolist()) - set(most.tolist())
        hardly = ", but hardly more than the other" if level < _SIMILAR_RATIO * float(levels[other]) else ""
        numbers = [say_number(value, 3) for value in (level, float(levels[other]))]
        median = by.partition(" ")[1] + by.partition(" ")[2]
        return f"{named} changed most{hardly}: {numbers[0]}{median}, against {numbers[1]} of {names[other]}."
    contrast = find_contrast(trends.series.rows, levels)
    largest = _say_largest(trends, values, most.tolist())
    if contrast is not None:
        return f"{_say_contrast(contrast, levels, most.tolist(), named, by, noun)}{largest}."
    return f"{named} changed most{_compare_with_usual(levels, by, noun)}{_say_order(trends)}{largest}."


def _say_contrast(contrast: Contrast, levels: FloatArray, most: Sequence[int], named: str, by: str, noun: str) -> str:
    """Say which part of the network changes most, and which rows of it."""
    median = " in the median" if by.endswith("median") else ""
    others = count_noun(contrast.others, f"other {noun}")
    times = _say_ratio(contrast.inside, contrast.outside)
    text = (
        f"{contrast.name(noun)} changed most: {say_number(contrast.inside)}{median}, {times} the "
        f"{say_number(contrast.outside)} of the {others}"
    )
    if set(most) <= set(contrast.rows):
        return f"{text}; most of all {named} ({say_number(levels[most[0]])})"
    return f"{text}; but {named} even more ({say_number(levels[most[0]])})"


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
    return f"; the largest single change is that of {trends.series.rows[row].name} to {end}, by {say_number(largest)}"


def _say_highest(trends: Trends, values: FloatArray) -> str:
    """Say which rows have the highest level of a metric whose values are no amounts of change."""
    noun, metric, series = trends.options.noun, METRICS[trends.options.metric], trends.series
    lead = f"{metric.title[:1].upper()}{metric.title[1:]}"
    if metric.span is Span.FIRST:
        # What adds up over the training is told by where it ends.
        known = np.flatnonzero(np.isfinite(values).any(axis=0))[-1]
        levels, when = values[:, known], f" at {name_checkpoint(series.checkpoints[series.pairs[known][1]])}"
    else:
        levels = compare_levels(values, linear=trends.options.linear)
        when = " in the median" if values.shape[1] > 1 else ""
    level, usual = float(np.nanmax(levels)), float(np.nanmedian(levels))
    names = list_names([series.rows[row].name for row in np.flatnonzero(levels == level)], SHOWN_NAMES)
    if level == usual:
        return f"{lead} is {say_number(level)}{when} in {names}, and in no {noun} higher."
    against = f"against {say_number(usual, 3)} for the median {noun}"
    return f"{lead} is highest in {names}: {say_number(level, 3)}{when}, {against}."


def _take_middle(levels: FloatArray) -> float:
    """The median level, which is that of a row: of an even number the lower one."""
    ranked = np.sort(levels[np.isfinite(levels)])
    return float(ranked[(len(ranked) - 1) // 2])


def _compare_with_usual(levels: FloatArray, by: str, noun: str) -> str:
    level, usual = float(np.nanmax(levels)), _take_middle(levels)
    if usual == 0:
        number = int(np.isfinite(levels).sum())
        return f", by {by}, against 0 for {count_of(int((levels == 0).sum()), number, noun)}"
    if level < _SIMILAR_RATIO * usual:
        return f", but hardly more than the median {noun}: {by}, against {say_number(usual)}"
    return f": {by}, {_say_ratio(level, usual)} the {say_number(usual)} of the median {noun}"


def _say_ratio(level: float, usual: float) -> str:
    return say_times(float(np.log10(level) - np.log10(usual)))


def _say_special(trends: Trends, values: FloatArray) -> str:
    """Say what stands out: the most urgent thing, and the next one where both are short."""
    brief = [event for event in trends.events if _is_brief(event)]
    stops = {place for event in trends.events if event.kind in _LATER and event not in brief for place in _ends(event)}
    # Where layers freeze or wake, a phase ends: that says the same once more.
    events = [event for event in trends.all_events if event.kind != "phase" or event.checkpoint not in stops]
    told = _find_told(trends)
    events = [event for event in events if event not in brief and not (event.kind == "frozen" and _rows(event) <= told)]
    found = [*_pick(events, _URGENT), *_pick(events, _LATER)]
    found += filter(None, (_say_outliers(trends, values), *_pick(events, (LONE,))))
    found += [*_pick(brief, _LATER), *_pick(events, _LAST)]
    if not found and trends.depth is not None and " moves from " in trends.depth.text:
        # Whether levels follow depth is a matter of the first sentence.
        found = [begin_sentence(trends.depth.text.rpartition(", and ")[2])]
    texts = [text.removesuffix(".") for text in found[:2]]
    texts[1:] = [_FIRST_WORD.sub(lambda word: word[0].lower(), text) for text in texts[1:]]
    if len(texts) > 1 and sum(map(len, texts)) > 2 * _SHORT:
        texts = texts[:1]
    return f"{'; '.join(texts)}." if texts else ""


def _pick(events: Sequence[Event], kinds: Sequence[str]) -> list[str]:
    """What the first event of each kind says, in the order of the kinds; of all layers of which the same is said."""
    # Of layers that rest, those that stopped on the way come first: who never moved may be frozen on purpose.
    ranked = sorted(events, key=lambda event: event.kind == "frozen" and event.checkpoint == 0)
    found = ([event for event in ranked if event.kind == kind] for kind in kinds)
    return [join_events(alike) for alike in found if alike]


def _find_told(trends: Trends) -> set[int]:
    """Rows that never change, where the sentence on trends says so."""
    clusters = trends.clusters
    if trends.options.by_kind or not 1 < len(clusters) <= SHOWN_TRENDS:
        return set()
    return {row for cluster in clusters if cluster.summary == "unchanged" for row in cluster.members}


def _rows(event: Event) -> set[int]:
    return {*event.evidence.get("rows", ()), *([event.evidence["row"]] if "row" in event.evidence else [])}


def _ends(event: Event) -> set[int | None]:
    """The checkpoints at which a rest that an event tells of begins or ends."""
    begins = event.evidence.get("from_checkpoint", [])
    return {event.checkpoint, *(begins if isinstance(begins, list) else [begins])}


def _is_brief(event: Event) -> bool:
    """Whether an event tells of a rest in the last change alone: that is no news yet."""
    still = event.evidence.get("still_changes")
    return event.kind == "frozen" and (still[0] if isinstance(still, list) else still) == 1


def _say_outliers(trends: Trends, values: FloatArray) -> str:
    """Name rows whose course is like no other's, but for those of which an event says what it is."""
    linear, noun, names = trends.options.linear, trends.options.noun, trends.series.names
    moves = (np.isfinite(values) if linear else values > 0).any(axis=1)
    told = {event.layer for event in trends.events if event.layer is not None and event.kind != LONE}
    strange = [row for row in np.flatnonzero(trends.outliers & moves).tolist() if names[row] not in told]
    if not strange:
        return ""
    curves, courses = (
        table if linear else np.log10(table, where=table > 0, out=np.full(table.shape, np.nan))
        for table in (values, np.array([cluster.median for cluster in trends.clusters], dtype=np.float64))
    )
    usual, odd = measure_usual_step(curves), curves[strange]
    # What jumps about a trend follows it no more than what jumps about a level.
    restless = np.any([find_restless(odd - course, usual) for course in (0.0, *courses)], axis=0)
    own, noisy = (
        [names[row] for row, jumps in zip(strange, restless, strict=True) if jumps == state] for state in (False, True)
    )
    said = []
    if own:
        if values.shape[1] == 1:
            level = "has a level like no other" if len(own) == 1 else "have levels unlike the others"
            return f"{list_names(own, SHOWN_NAMES)} {level}"
        follows = f"follows no other {noun}'s trend" if len(own) == 1 else f"follow none of the other {noun}s' trends"
        said.append(f"{list_names(own, SHOWN_NAMES)} {follows}")
    if noisy:
        any_trend = "any" if own else "any trend"
        verb = "jumps" if len(noisy) == 1 else "jump"
        said.append(f"{list_names(noisy, SHOWN_NAMES)} {verb} about too much to follow {any_trend}")
    return ", and ".join(said)
