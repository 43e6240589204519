"""A summary in Markdown, for a model card or a pull request."""

import itertools
from collections.abc import Callable, Iterable
from functools import partial
from typing import ClassVar, Final, TypeAlias

import numpy as np

from wsanalyze.reports.base import Destination
from wsanalyze.reports.course import (
    SURE,
    describe_phase,
    describe_range,
    find_unsure,
    name_unsure,
    pick_windows,
    tabulate_kinds,
)
from wsanalyze.reports.files import write_text
from wsanalyze.reports.markdown_text import NAME_WIDTH, code, fence, find_names, format_table, prose
from wsanalyze.reports.names import shorten_names
from wsanalyze.reports.summary import (
    count_rows,
    count_unreadable,
    describe_checkpoints,
    describe_place,
    describe_quality,
    describe_size,
    describe_touched,
    explain_nothing,
    find_ends,
    find_name_prefix,
    group_skips,
    name_row,
    pick_events,
    pick_layers,
)
from wsanalyze.reports.text import (
    BLOCK_MARKS,
    format_count,
    format_number,
    join_some,
    printable,
    sparkline,
)
from wsanalyze.reports.training_log import describe_log
from wsanalyze.reports.trend_names import name_trend
from wsanalyze.trends.base import TrendOptions, Trends

Say: TypeAlias = Callable[[str], str]
"""Makes Markdown of a sentence."""

_CURVE_WIDTH: Final = 24
_MAX_CLUSTERS: Final = 20
_MAX_EVENTS: Final = 10
_MAX_WINDOWS: Final = 5
_MAX_UNSURE: Final = 5
_MAX_REASONS: Final = 6
_MAX_CHOICES: Final = 20


class MarkdownReporter:
    """Writes a summary of a screen or two that GitHub and the Hugging Face Hub show as it is meant.

    Text from files cannot mention people, link, open HTML or break a table: whatever is not a plain word is shown
    as code.

    Args:
        version: Version of wsanalyze.
    """

    suffix: ClassVar[str] = ".md"

    def __init__(self, *, version: str) -> None:
        self._version = version

    def write(self, trends: Trends, destination: Destination) -> None:
        """Write the report; see `Reporter.write`."""
        size = describe_size(trends)
        say = partial(
            prose, names=find_names(trends.series.names, (record.label for record in trends.series.checkpoints))
        )
        sections = [
            f"## {prose(size[:1].upper() + size[1:])}",
            *_format_trends(trends, say),
            _format_layers(trends),
            _format_course(trends, say),
            _format_events(trends, say),
            _format_reading(trends, say),
            _format_making(trends, self._version),
        ]
        write_text("\n\n".join(section for section in sections if section) + "\n", destination)


def _format_trends(trends: Trends, say: Say) -> list[str]:
    nothing = explain_nothing(trends)
    sections = [" ".join(say(sentence) for sentence in ((nothing,) if nothing else trends.headline))]
    if nothing or not trends.clusters:
        return sections
    return [*sections, _format_clusters(trends, say), _format_curves(trends), _format_quality(trends, say)]


def _format_clusters(trends: Trends, say: Say) -> str:
    """A table of the clusters; a column that would be empty is left out."""
    columns = {"cluster": "r", "kind": "l", f"{name_row(trends)}s": "r", "trend": "l", "members": "l"}
    columns |= {"median curve": "l", "start": "r", "end": "r"}
    rows = []
    for cluster in trends.clusters[:_MAX_CLUSTERS]:
        median = np.array([np.nan if value is None else value for value in cluster.median])
        curve = code(sparkline(median, _CURVE_WIDTH, linear=trends.options.linear))
        words = [say(text) if text else "" for text in (cluster.kind, name_trend(cluster), cluster.makeup)]
        ends = map(format_number, find_ends(cluster.median))
        rows.append([str(cluster.id), words[0], str(cluster.size), *words[1:], curve, *ends])
    used = [any(row[column] for row in rows) for column in range(len(columns))]
    table = [list(itertools.compress(line, used)) for line in (columns, *rows)]
    return format_table(table[0], table[1:], "".join(itertools.compress(columns.values(), used)))


def _format_curves(trends: Trends) -> str:
    """How to read the curves of this report."""
    scale, still = ("linear", "") if trends.options.linear else ("log", f"{code(BLOCK_MARKS.zero)} unchanged, ")
    return f"Curves: {scale} scale, each with its own; {still}{code(BLOCK_MARKS.gap)} no number."


def _format_quality(trends: Trends, say: Say) -> str:
    remarks = [say(describe_quality(trends.quality))]
    rest = trends.clusters[_MAX_CLUSTERS:]
    if rest:
        remarks.append(f"{format_count(len(rest), 'more cluster')} not shown.")
    unsure = find_unsure(trends)
    if unsure:
        prefix = find_name_prefix(trends)
        names = [code(trends.series.names[layer.index].removeprefix(prefix)) for layer in unsure[:_MAX_UNSURE]]
        listed = join_some(name_unsure(trends, unsure[:_MAX_UNSURE], names), _MAX_UNSURE, len(unsure))
        remarks.append(f"{count_rows(trends, len(unsure))} unsure (confidence below {SURE}): {listed}.")
    alone = int((trends.labels < 0).sum())
    if alone:
        remarks.append(f"{count_rows(trends, alone)} in no cluster.")
    touched = describe_touched(trends)
    if touched:
        remarks.append(prose(touched))
    table = _format_kinds(trends)
    return " ".join(remarks) + (f"\n\n{table}" if table else "")


def _format_kinds(trends: Trends) -> str:
    if not trends.kinds:
        return ""
    header, *rows = tabulate_kinds(trends, _MAX_CLUSTERS)
    return format_table(header, [[prose(row[0]), *row[1:]] for row in rows], "lrrrrr")


def _format_layers(trends: Trends) -> str:
    if explain_nothing(trends):
        return ""
    values, names, prefix = trends.values, trends.series.names, find_name_prefix(trends)
    picked = pick_layers(trends)
    shown = shorten_names([printable(names[layer.index].removeprefix(prefix)) for layer in picked], NAME_WIDTH)
    lines = [
        [
            layer.reason,
            code(name),
            code(sparkline(values[layer.index], _CURVE_WIDTH, linear=trends.options.linear)),
            format_number(layer.level),
        ]
        for layer, name in zip(picked, shown, strict=True)
    ]
    if not lines:
        return ""
    noun = name_row(trends)
    table = format_table(("", noun, "curve", "median"), lines, "lllr")
    remark = f"\n\nNames without {code(prefix)}." if prefix else ""
    return f"### {noun.capitalize()}s that stand out\n\n{table}{remark}"


def _format_course(trends: Trends, say: Say) -> str:
    """Phases, depth and windows, a heading for each that is there."""
    if explain_nothing(trends):
        return ""
    series, sections = trends.series, []
    if trends.phases:
        items = [
            (describe_range(series, phase.first, phase.last), describe_phase(series, phase))
            for phase in trends.phases[:_MAX_EVENTS]
        ]
        rest = len(trends.phases) - len(items)
        more = f"and {format_count(rest, 'more phase')}" if rest else ""
        sections.append(f"### Phases of the training\n\n{_format_items(items, more, say)}")
    if trends.depth is not None:
        sections.append(f"### Over the depth of the network\n\n{say(trends.depth.text)}")
    if trends.windows:
        windows, more = pick_windows(trends, _MAX_WINDOWS)
        items = [(describe_range(series, window.first, window.last), window.text) for window in windows]
        sections.append(f"### Trends within windows\n\n{_format_items(items, more, say)}")
    return "\n\n".join(sections)


def _format_items(items: Iterable[tuple[str, str]], more: str, say: Say) -> str:
    """A list of places and what happens there, and a last entry on the rest, where there is one."""
    lines = [f"- {say(place)}: {say(text)}" if place else f"- {say(text)}" for place, text in items]
    return "\n".join([*lines, f"- {say(more)}"] if more else lines)


def _format_events(trends: Trends, say: Say) -> str:
    events, rest = pick_events(trends, _MAX_EVENTS)
    if not events:
        return ""
    items = [(describe_place(trends.series, event.checkpoint), event.text) for event in events]
    more = f"and more: {', '.join(rest)}" if rest else ""
    return f"### Events\n\n{_format_items(items, more, say)}"


def _format_reading(trends: Trends, say: Say) -> str:
    """What was read and what was not, folded into a few bullets."""
    series = trends.series
    lines = [f"- {prose(describe_checkpoints(series))}"]
    log = describe_log(series.log)
    if log:
        lines.append(f"- trainer's log: {prose(log)}")
    groups = group_skips(series)
    lines += [
        f"- skipped {format_count(len(names), 'tensor')}: {say(reason)}" for reason, names in groups[:_MAX_REASONS]
    ]
    rest = sum(len(names) for _, names in groups[_MAX_REASONS:])
    if rest:
        lines.append(f"- skipped {format_count(rest, 'tensor')} for other reasons")
    unreadable = count_unreadable(series)
    if unreadable:
        lines.append(f"- {unreadable}")
    notes = series.provenance.notes
    lines += [f"- {say(note)}" for note in notes[:_MAX_CHOICES]]
    if len(notes) > _MAX_CHOICES:
        lines.append(f"- and {format_count(len(notes) - _MAX_CHOICES, 'more note', 'more notes')}")
    return "### What was read\n\n" + "\n".join(lines)


def _format_making(trends: Trends, version: str) -> str:
    """What it was made with, and the command that measured it."""
    options = trends.options
    given = {"clusters": options.clusters, "group": options.group, "window": options.window}
    given |= {"features": options.features} if options.features != TrendOptions().features else {}
    words = [code(f"--{name} {value}") for name, value in given.items() if value is not None]
    words += [code("--by-kind")] * options.by_kind
    listed = ", ".join([code(options.metric), code(options.method), *words, f"seed {options.seed}"])
    made = f"Made with wsanalyze {prose(version)}: {listed}."
    command = trends.series.provenance.command
    return f"{made} It was measured by\n\n{fence(command)}" if command else made
