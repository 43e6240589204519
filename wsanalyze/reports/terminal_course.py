"""The course of the training, over depth as well, and how sure all of it is: the last parts of the terminal report."""

from typing import Final

import numpy as np

from wsanalyze.reports.course import describe_phase, describe_range, pick_windows, tabulate_kinds
from wsanalyze.reports.summary import (
    describe_place,
    describe_quality,
    describe_touched,
    find_ends,
    pick_events,
)
from wsanalyze.reports.terminal_page import INDENT, Cell, Page
from wsanalyze.reports.text import format_count, sparkline, text_width
from wsanalyze.trends.base import Trends

_PLACE_WIDTH: Final = 16
_RANGE_WIDTH: Final = 24
_NUMBER_WIDTH: Final = 10
_KIND_WIDTH: Final = 18
_FEWEST_NUMBERS: Final = 3
_GAP: Final = 2
_MAX_PHASES: Final = 8
_MAX_WINDOWS: Final = 5
_MAX_EVENTS: Final = 10
_MAX_LINES: Final = 5
_MAX_KINDS: Final = 12
_MAX_NOTES: Final = 6
_MAX_NOTE_LINES: Final = 12


def add_phases(page: Page, trends: Trends) -> None:
    """The parts of the training, where it has any."""
    if not trends.phases:
        return
    page.add_heading("Phases of the training")
    shown = trends.phases[:_MAX_PHASES]
    places = [describe_range(trends.series, phase.first, phase.last) for phase in shown]
    _add_items(page, places, [describe_phase(trends.series, phase) for phase in shown])
    rest = len(trends.phases) - len(shown)
    if rest:
        page.add_paragraph(f"and {format_count(rest, 'more phase', 'more phases')}", style="dim")


def add_depth(page: Page, trends: Trends) -> None:
    """How the metric lies over the network, and where its centre of mass goes."""
    profile = trends.depth
    if profile is None:
        return
    page.add_heading("Over the depth of the network")
    page.add_paragraph(profile.text)
    label = "centre, from 0 (first) to 1 (last)"
    width = page.width - INDENT - len(label) - 2 * _NUMBER_WIDTH - 3 * _GAP
    if width < 1 or not np.isfinite(profile.centre).any():
        return
    ends = find_ends(profile.centre.tolist())
    columns = min(width, len(profile.centre))
    curve = sparkline(profile.centre, columns, ascii=page.ascii, linear=True)
    numbers = ["-" if end is None else f"{end:.2f}" for end in ends]
    page.add_cells(
        [
            Cell(label, len(label), "dim"),
            Cell(curve, columns, "cyan"),
            *[Cell(number, len(number)) for number in numbers],
        ]
    )


def add_windows(page: Page, trends: Trends) -> None:
    """Where rows move from one cluster to another."""
    if not trends.windows:
        return
    page.add_heading("Trends within windows")
    shown, rest = pick_windows(trends, _MAX_WINDOWS)
    places = [describe_range(trends.series, window.first, window.last) for window in shown]
    _add_items(page, places, [window.text for window in shown])
    if rest:
        page.add_paragraph(rest, style="dim")


def add_events(page: Page, trends: Trends) -> None:
    """What happened at some checkpoint, as much as there is room for."""
    events, rest = pick_events(trends, _MAX_EVENTS)
    if not events:
        return
    page.add_heading("Events")
    places = [describe_place(trends.series, event.checkpoint) for event in events]
    _add_items(page, places, [event.text for event in events], _PLACE_WIDTH)
    if rest:
        page.add_paragraph(f"and more: {', '.join(rest)}", style="dim")


def _add_items(page: Page, places: list[str], texts: list[str], widest: int = _RANGE_WIDTH) -> None:
    width = min(widest, max(map(text_width, places), default=0))
    for place, text in zip(places, texts, strict=True):
        page.add_item(place, text, label_width=width, max_lines=_MAX_LINES)


def add_quality(page: Page, trends: Trends) -> None:
    """How far the clusters can be trusted, those of each kind as well."""
    page.add_heading("How sure")
    page.add_paragraph(describe_quality(trends.quality))
    if trends.kinds:
        _add_kinds(page, trends)
    notes = [note for note in (describe_touched(trends), *trends.notes) if note]
    for note in notes[:_MAX_NOTES]:
        page.add_paragraph(note, max_lines=_MAX_NOTE_LINES)
    if len(notes) > _MAX_NOTES:
        page.add_paragraph(f"and {format_count(len(notes) - _MAX_NOTES, 'more note', 'more notes')}", style="dim")


def _add_kinds(page: Page, trends: Trends) -> None:
    """A line of numbers for each kind."""
    header, *lines = tabulate_kinds(trends, _MAX_KINDS)
    width = max(text_width(page.shorten(texts[0], _KIND_WIDTH)) for texts in (header, *lines))
    widths = [width, *map(len, header[1:])]
    if INDENT + sum(widths) + _GAP * len(widths[1:]) > page.width:
        widths = widths[:_FEWEST_NUMBERS]
    for texts, style in ((header, "dim"), *((line, "") for line in lines)):
        page.add_cells(
            [
                Cell(text, columns, style, right=bool(index))
                for index, (text, columns) in enumerate(zip(texts, widths, strict=False))
            ]
        )
