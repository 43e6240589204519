"""The terminal report: what was read, what moves together, what stands out, in a page or two of text."""

from typing import ClassVar, Final

from wsanalyze.reports.base import Destination
from wsanalyze.reports.files import write_text
from wsanalyze.reports.summary import count_unreadable, describe_size, explain_nothing
from wsanalyze.reports.terminal_course import add_depth, add_events, add_phases, add_quality, add_windows
from wsanalyze.reports.terminal_page import Page, open_page
from wsanalyze.reports.terminal_reading import add_checkpoints, add_skipped
from wsanalyze.reports.terminal_trends import add_clusters, add_layers
from wsanalyze.trends.base import Trends

_WIDTHS: Final = (40, 200)
_MAX_HEADLINE_LINES: Final = 8


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
        page.add_paragraph(sentence, max_lines=_MAX_HEADLINE_LINES)
    if not nothing:
        add_clusters(page, trends)
        add_layers(page, trends)
        add_phases(page, trends)
        add_depth(page, trends)
        add_windows(page, trends)
    add_events(page, trends)
    if not nothing:
        add_quality(page, trends)
    unreadable = count_unreadable(trends.series)
    if unreadable:
        page.add_space()
        page.add_paragraph(unreadable, indent=0, style="bold red")
