"""The terminal report: what was read, what moves together, what stands out, in a page or two of text."""

from typing import ClassVar, Final

from wsanalyze.reports.base import Destination
from wsanalyze.reports.files import write_text
from wsanalyze.reports.summary import (
    count_unreadable,
    describe_place,
    describe_quality,
    describe_size,
    describe_touched,
    explain_nothing,
    pick_events,
)
from wsanalyze.reports.terminal_page import Page, open_page
from wsanalyze.reports.terminal_reading import add_checkpoints, add_skipped
from wsanalyze.reports.terminal_trends import add_clusters, add_layers
from wsanalyze.reports.text import format_count, text_width
from wsanalyze.trends.base import Trends

_WIDTHS: Final = (40, 200)
_PLACE_WIDTH: Final = 16
_MAX_EVENTS: Final = 10
_MAX_NOTES: Final = 6


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
        page, colors = open_page(destination, self._width, _WIDTHS, no_color=self._no_color)
        _fill_page(page, trends, self._version)
        write_text(page.render(colors), destination)


def _fill_page(page: Page, trends: Trends, version: str) -> None:
    page.add_heading(f"wsanalyze {version}: {describe_size(trends)}")
    add_checkpoints(page, trends)
    add_skipped(page, trends)
    nothing = explain_nothing(trends)
    page.add_heading("Trends")
    for sentence in (nothing,) if nothing else trends.headline:
        page.add_paragraph(sentence)
    if not nothing:
        add_clusters(page, trends)
        add_layers(page, trends)
    _add_events(page, trends)
    if not nothing:
        _add_quality(page, trends)
    unreadable = count_unreadable(trends.series)
    if unreadable:
        page.add_space()
        page.add_paragraph(unreadable, indent=0, style="bold red")


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
