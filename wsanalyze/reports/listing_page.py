"""The list of checkpoints as a table with a summary below, for people."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from wsanalyze.reports.base import Destination
from wsanalyze.reports.files import write_text
from wsanalyze.reports.listing import (
    ListedCheckpoint,
    Listing,
    describe_listing,
    describe_plan,
    describe_unreadable,
)
from wsanalyze.reports.terminal_page import Cell, Page, open_page
from wsanalyze.reports.text import format_bytes, join_some, printable, text_width

_WIDTHS: Final = (40, 240)
_FEWEST_LABEL_COLUMNS: Final = 12
_FORMAT_WIDTH: Final = 24
_MAX_REASON_LINES: Final = 4
_MAX_EVENTS: Final = 20
_MAX_NOTES: Final = 20
_STYLES: Final = {"unreadable": "red", "duplicate": "dim", "possible duplicate": "yellow"}

_TITLES: Final = ("step", "checkpoint", "format", "size", "rows")
_TOLD_IN_TABLE: Final = ("unreadable", "duplicate", "possible-duplicate")


def write_terminal(
    listing: Listing, version: str, destination: Destination, *, width: int | None = None, no_color: bool = False
) -> None:
    """Write a listing as a table with a summary below.

    Args:
        listing: What to show.
        version: Version of wsanalyze.
        destination: Where to; colours and other escape codes go to a terminal only.
        width: Columns to use, 40 to 240; by default those of the terminal, and 80 for everything else.
        no_color: Whether to write no escape codes at all, as where NO_COLOR is set.

    Raises:
        ReportError: If it cannot be written.
    """
    page, colors = open_page(destination, width, _WIDTHS, no_color=no_color)
    page.add_heading(f"wsanalyze {version}: {', '.join(listing.source)}")
    _add_table(page, listing.checkpoints)
    _add_summary(page, listing)
    write_text(page.render(colors), destination)


def _add_table(page: Page, checkpoints: Sequence[ListedCheckpoint]) -> None:
    """A line for each checkpoint; what is wrong with it stands behind it where there is room, else below."""
    lines = [
        (
            "-" if c.step is None else str(c.step),
            c.label,
            printable(c.format) or "-",
            format_bytes(c.nbytes),
            str(c.num_rows) if c.num_tensors and c.status != "duplicate" else "-",
        )
        for c in checkpoints
    ]
    widths, labels = _fit(page, lines)
    behind = page.item_room(sum(widths) + 2 * (len(widths) - 1))
    page.add_space()
    page.add_cells(_cells(_TITLES, widths, "bold"))
    for checkpoint, line, label in zip(checkpoints, lines, labels, strict=True):
        style = _STYLES.get(checkpoint.status, "")
        cells = _cells((line[0], label, *line[2:]), widths, style)
        told = _tell_reason(checkpoint)
        fits = text_width(page.shorten(told, page.width)) <= behind
        page.add_cells([*cells, Cell(told, behind, style)] if told and fits else cells)
        if told and not fits:
            page.add_paragraph(told, indent=widths[0] + 4, style=style, max_lines=_MAX_REASON_LINES)


def _fit(page: Page, lines: Sequence[Sequence[str]]) -> tuple[list[int], list[str]]:
    """Widths of the columns, and the labels as they fit in: label and format share what the numbers leave."""
    widths = [max(map(text_width, column)) for column in zip(_TITLES, *lines, strict=True)]
    names = [line[1] for line in lines]
    room = max(2, page.item_room(0) - sum(widths[:1] + widths[3:]) - 2 * (len(widths) - 2))
    longest = max(map(text_width, page.shorten_names(names, room)), default=0)
    widths[2] = max(1, min(widths[2], max(_FORMAT_WIDTH, room - longest), room - _FEWEST_LABEL_COLUMNS))
    labels = page.shorten_names(names, room - widths[2])
    widths[1] = max(text_width(label) for label in (page.shorten(_TITLES[1], room - widths[2]), *labels))
    return widths, labels


def _tell_reason(checkpoint: ListedCheckpoint) -> str:
    """What is wrong with a checkpoint; its own line names it already, so that its path is not repeated."""
    if not checkpoint.reason:
        return ""
    own = checkpoint.reason.startswith(f"{checkpoint.origin}: ")
    return f"{checkpoint.status}: {checkpoint.reason[len(checkpoint.origin) + 2 :] if own else checkpoint.reason}"


def _cells(texts: Sequence[str], widths: Sequence[int], style: str) -> list[Cell]:
    right = (True, False, False, True, True)
    return [Cell(text, width, style, right=aligned) for text, width, aligned in zip(texts, widths, right, strict=True)]


def _add_summary(page: Page, listing: Listing) -> None:
    page.add_space()
    events = [event for event in listing.events if event.kind not in _TOLD_IN_TABLE]
    items = [(event.kind, event.text, 6) for event in events[:_MAX_EVENTS]]
    if len(events) > _MAX_EVENTS:
        counts = Counter(event.kind for event in events[_MAX_EVENTS:])
        items.append(("more", ", ".join(f"{count} {kind}" for kind, count in counts.most_common()), 3))
    if listing.skips:
        reasons = Counter(skip.reason for skip in listing.skips)
        text = join_some([f"{count} {printable(reason)}" for reason, count in reasons.most_common()], 3)
        items.append(("skipped", text, 4))
    items += [("note", note, 6) for note in listing.notes[:_MAX_NOTES]]
    width = max((len(label) for label, _, _ in items), default=0)
    for label, text, max_lines in items:
        page.add_item(label, text, label_width=width, max_lines=max_lines)
    page.add_paragraph(describe_listing(listing), indent=0, style="bold")
    if listing.plan is not None:
        page.add_space()
        told = describe_plan(listing.plan)
        width = max(len(label) for label, _ in told)
        for label, text in told:
            page.add_item(label, text, label_width=width, max_lines=4)
    if listing.num_unreadable:
        page.add_paragraph(describe_unreadable(listing), indent=0, style="bold red")
