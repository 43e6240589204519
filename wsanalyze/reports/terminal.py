"""The terminal report: what was read, what moves together, what stands out, in a page or two of text."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from wsanalyze.reports.base import Destination
from wsanalyze.reports.files import check_open, write_text
from wsanalyze.reports.summary import (
    count_rows,
    count_states,
    count_unreadable,
    describe_checkpoints,
    describe_place,
    describe_quality,
    describe_size,
    describe_touched,
    explain_nothing,
    find_ends,
    find_name_prefix,
    find_unreadable_rows,
    group_skips,
    name_row,
    pick_events,
    pick_layers,
)
from wsanalyze.reports.terminal_page import INDENT, Cell, ColorSystem, Page, probe_terminal
from wsanalyze.reports.text import format_count, format_number, sparkline, text_width
from wsanalyze.reports.training_log import describe_log
from wsanalyze.series import CheckpointRecord
from wsanalyze.trends.base import Cluster, Trends

DEFAULT_WIDTH: Final = 80
_WIDTHS: Final = (40, 200)
_LABEL_WIDTH: Final = 10
_PLACE_WIDTH: Final = 16
_NUMBER_WIDTH: Final = 8
_GAP: Final = 2
_FEWEST_COLUMNS: Final = 12
_MAX_CLUSTERS: Final = 10
_MAX_EVENTS: Final = 10
_MAX_REASONS: Final = 4
_MAX_NAMED: Final = 30
_MAX_LABEL_LINES: Final = 6
_MAX_NOTES: Final = 6
_MAX_CHOICES: Final = 20
_MAX_MEMBERS: Final = 8


class TerminalReporter:
    """Writes a summary for people, in the colours and characters that the destination can show.

    Colours and other escape codes are written to a terminal only. Where the encoding of a stream cannot carry the
    blocks of a sparkline, digits take their place, and letters that it lacks are escaped. The length is bounded,
    whatever the number of layers and checkpoints.

    Args:
        version: Version of wsanalyze.
        width: Columns to use, 40 to 200; by default those of the terminal, and 80 for everything else.
        no_color: Whether to write no escape codes at all, as where NO_COLOR is set.
    """

    suffix: ClassVar[str] = ".txt"

    def __init__(self, *, version: str, width: int | None = None, no_color: bool = False) -> None:
        self._version = version
        self._width = width
        self._no_color = no_color

    def write(self, trends: Trends, destination: Destination) -> None:
        """Write the report; see `Reporter.write`."""
        check_open(destination)
        width, encoding = DEFAULT_WIDTH, "utf-8"
        colors: ColorSystem | None = None
        if not isinstance(destination, Path):
            encoding = getattr(destination, "encoding", None) or encoding
            if destination.isatty():
                width, colors = probe_terminal(destination)
        if self._no_color or os.environ.get("NO_COLOR"):
            colors = None
        narrowest, widest = _WIDTHS
        page = Page(min(max(self._width or width, narrowest), widest), encoding)
        _fill_page(page, trends, self._version)
        write_text(page.render(colors), destination)


def _fill_page(page: Page, trends: Trends, version: str) -> None:
    page.add_heading(f"wsanalyze {version}: {describe_size(trends)}")
    _add_checkpoints(page, trends)
    _add_skipped(page, trends)
    nothing = explain_nothing(trends)
    page.add_heading("Trends")
    for sentence in (nothing,) if nothing else trends.headline:
        page.add_paragraph(sentence)
    if not nothing:
        _add_clusters(page, trends)
        _add_layers(page, trends)
    _add_events(page, trends)
    if not nothing:
        _add_quality(page, trends)
    unreadable = count_unreadable(trends.series)
    if unreadable:
        page.add_space()
        page.add_paragraph(unreadable, indent=0, style="bold red")


def _add_checkpoints(page: Page, trends: Trends) -> None:
    series = trends.series
    page.add_heading("Checkpoints")
    if series.provenance.source:
        _add_list(page, "from", series.provenance.source, 3)
    page.add_item("read", describe_checkpoints(series), label_width=_LABEL_WIDTH)
    labels = page.shorten_names([record.label for record in series.checkpoints], page.item_room(_LABEL_WIDTH) - 1)
    page.add_item("in order", _list_ends(labels), label_width=_LABEL_WIDTH, max_lines=6)
    log = describe_log(series.log)
    if log:
        page.add_item("log", log, label_width=_LABEL_WIDTH)
    _add_left_out(page, series.checkpoints, "duplicate", num_reasons=_MAX_REASONS, num_labels=3)
    _add_left_out(page, series.checkpoints, "unreadable", num_reasons=_MAX_NAMED, num_labels=_MAX_NAMED, style="red")
    prefix = find_name_prefix(trends)
    rows = [name.removeprefix(prefix) for name in find_unreadable_rows(series)]
    if rows:
        lead = f"{format_count(len(rows), 'tensor')} in some checkpoint: "
        _add_list(page, "unreadable", rows, _MAX_NAMED, lead=lead, style="red", max_lines=12)
    states = count_states(trends)
    if states and not explain_nothing(trends):
        page.add_item("states", f"{', '.join(states)} of {series.states.size} cells", label_width=_LABEL_WIDTH)
    if prefix:
        page.add_item("names", f"in lists and tables without {prefix}", label_width=_LABEL_WIDTH)
    notes = series.provenance.notes
    for note in notes[:_MAX_CHOICES]:
        page.add_item("note", note, label_width=_LABEL_WIDTH, max_lines=8)
    if len(notes) > _MAX_CHOICES:
        text = f"and {format_count(len(notes) - _MAX_CHOICES, 'more note', 'more notes')}"
        page.add_item("note", text, label_width=_LABEL_WIDTH)


def _add_list(
    page: Page,
    label: str,
    names: Sequence[str],
    limit: int,
    *,
    lead: str = "",
    tail: str = "",
    style: str = "",
    max_lines: int = 3,
) -> None:
    """An item with as many names as fit and how many more there are."""
    text = page.join_names(names, limit, page.item_room(_LABEL_WIDTH), max_lines, lead=lead, tail=tail)
    page.add_item(label, text, label_width=_LABEL_WIDTH, style=style, max_lines=max_lines)


def _list_ends(labels: list[str]) -> str:
    first, last = 3, 2
    if len(labels) <= first + last + 1:
        return ", ".join(labels)
    return ", ".join([*labels[:first], "...", *labels[-last:]])


def _add_left_out(
    page: Page,
    records: tuple[CheckpointRecord, ...],
    status: str,
    *,
    num_reasons: int,
    num_labels: int,
    style: str = "",
) -> None:
    """Checkpoints that take no part, those with the same reason together."""
    groups: dict[str, list[str]] = {}
    for record in records:
        if record.status == status:
            groups.setdefault(record.reason or "no reason known", []).append(record.label)
    for reason, labels in list(groups.items())[:num_reasons]:
        _add_list(page, status, labels, num_labels, tail=f": {reason}", style=style, max_lines=_MAX_LABEL_LINES)
    rest = sum(len(labels) for labels in list(groups.values())[num_reasons:])
    if rest:
        page.add_item(status, f"and {rest} more", label_width=_LABEL_WIDTH, style=style)


def _add_skipped(page: Page, trends: Trends) -> None:
    groups = group_skips(trends.series)
    if not groups:
        return
    page.add_heading(f"Skipped: {format_count(len(trends.series.skips), 'tensor')}")
    prefix = find_name_prefix(trends)
    for reason, names in groups[:_MAX_REASONS]:
        shown = [name.removeprefix(prefix) for name in names]
        _add_list(page, str(len(names)), shown, 3, lead=f"{reason}: ")
    rest = groups[_MAX_REASONS:]
    if rest:
        text = f"for {format_count(len(rest), 'other reason')}"
        page.add_item(str(sum(len(names) for _, names in rest)), text, label_width=_LABEL_WIDTH)


def _add_clusters(page: Page, trends: Trends) -> None:
    if not trends.clusters:
        page.add_paragraph(f"No {name_row(trends)} is in a cluster.")
        return
    shown = trends.clusters[:_MAX_CLUSTERS]
    num_changes = len(trends.series.pairs)
    noun = f"{name_row(trends)}s"
    fixed = INDENT + 3 + len(noun) + 2 * _NUMBER_WIDTH + 5 * _GAP
    longest = max(text_width(page.shorten(cluster.summary, page.width)) for cluster in shown)
    words, curve = _share_width(page.width - fixed, longest, num_changes)
    header = ("", noun, "trend", "median", "start", "end")
    widths = (3, len(noun), words, curve, _NUMBER_WIDTH, _NUMBER_WIDTH)
    _add_row(page, header, widths, "dim")
    for cluster in shown:
        median = np.array([np.nan if value is None else value for value in cluster.median])
        line = sparkline(median, curve, ascii=page.ascii, linear=trends.options.linear)
        start, end = map(format_number, find_ends(cluster.median))
        _add_row(page, (str(cluster.id), str(cluster.size), cluster.summary, line, start, end), widths)
        _add_members(page, trends, cluster)
    rest = trends.clusters[_MAX_CLUSTERS:]
    if rest:
        num_rows = count_rows(trends, sum(cluster.size for cluster in rest))
        page.add_paragraph(
            f"and {format_count(len(rest), 'more cluster', 'more clusters')} with {num_rows}", style="dim"
        )
    prefix = find_name_prefix(trends)
    alone = [
        name.removeprefix(prefix) for name, label in zip(trends.series.names, trends.labels, strict=True) if label < 0
    ]
    if alone:
        lead = f"{count_rows(trends, len(alone))} in no cluster: "
        text = page.join_names(alone, _MAX_MEMBERS, page.width - INDENT, 3, lead=lead)
        page.add_paragraph(text, style="dim", max_lines=3)
    marks = page.marks
    scale, still = ("linear", "") if trends.options.linear else ("log", f"{marks.zero} unchanged, ")
    page.add_paragraph(f"Curves: {scale} scale, each with its own; {still}{marks.gap} no number.", style="dim")


def _share_width(room: int, longest: int, num_changes: int) -> tuple[int, int]:
    """Columns for words and for a curve: words have what they need, the curve what is left but a readable part."""
    fewest = min(max(num_changes, len("median")), _FEWEST_COLUMNS, room // 2)
    words = min(max(longest, len("trend")), max(1, room - fewest))
    return words, max(1, min(max(num_changes, len("median")), room - words))


def _add_row(page: Page, texts: tuple[str, ...], widths: tuple[int, ...], style: str = "") -> None:
    """A line of the table of clusters: numbers to the right, words to the left."""
    rights = (True, True, False, False, True, True)
    styles = ("bold", "", "", "cyan", "", "")
    lines = (1, 1, 4, 1, 1, 1)
    page.add_cells(
        [
            Cell(text, width, style or own, right, max_lines)
            for text, width, own, right, max_lines in zip(texts, widths, styles, rights, lines, strict=True)
        ]
    )


def _add_members(page: Page, trends: Trends, cluster: Cluster) -> None:
    """A line or two with as many names of members as fit."""
    prefix, names = find_name_prefix(trends), trends.series.names
    indent = INDENT + 3 + _GAP + len(f"{name_row(trends)}s") + _GAP  # below the trend
    members = [names[index].removeprefix(prefix) for index in cluster.members]
    text = page.join_names(members, _MAX_MEMBERS, page.width - indent, 2)
    page.add_paragraph(text, indent=indent, style="dim", max_lines=2)


def _add_layers(page: Page, trends: Trends) -> None:
    picked = pick_layers(trends)
    if not picked:
        return
    page.add_heading(f"{name_row(trends).capitalize()}s that stand out, by their median")
    values, prefix = trends.values, find_name_prefix(trends)
    full = [trends.series.names[layer.index].removeprefix(prefix) for layer in picked]
    reason_width = max(len(layer.reason) for layer in picked)
    room = page.width - INDENT - reason_width - _NUMBER_WIDTH - 3 * _GAP
    words, curve = _share_width(room, max(map(text_width, page.shorten_names(full, room))), values.shape[1])
    for layer, name in zip(picked, page.shorten_names(full, words), strict=True):
        page.add_cells(
            [
                Cell(layer.reason, reason_width, "dim"),
                Cell(name, words),
                Cell(
                    sparkline(values[layer.index], curve, ascii=page.ascii, linear=trends.options.linear), curve, "cyan"
                ),
                Cell(format_number(layer.level), _NUMBER_WIDTH, right=True),
            ]
        )
    num_hidden = int(trends.outliers.sum()) - sum("outlier" in layer.reason for layer in picked)
    if num_hidden > 0:
        page.add_paragraph(f"and {format_count(num_hidden, 'more outlier', 'more outliers')}", style="dim")


def _add_events(page: Page, trends: Trends) -> None:
    events, rest = pick_events(trends, _MAX_EVENTS)
    if not events:
        return
    page.add_heading("Events")
    places = [describe_place(trends.series, event.checkpoint) for event in events]
    width = min(_PLACE_WIDTH, max(map(text_width, places)))
    for event, place in zip(events, places, strict=True):
        page.add_item(place, event.text, label_width=width)
    if rest:
        page.add_paragraph(f"and more: {', '.join(rest)}", style="dim")


def _add_quality(page: Page, trends: Trends) -> None:
    page.add_heading("How sure")
    page.add_paragraph(describe_quality(trends.quality))
    notes = [note for note in (describe_touched(trends), *trends.notes) if note]
    for note in notes[:_MAX_NOTES]:
        page.add_paragraph(note, max_lines=2)
    if len(notes) > _MAX_NOTES:
        page.add_paragraph(f"and {format_count(len(notes) - _MAX_NOTES, 'more note', 'more notes')}", style="dim")
