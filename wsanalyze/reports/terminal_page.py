"""A page of text for a terminal: headings, paragraphs and table lines, each within the width. Layout, no content."""

import io
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TextIO

from wsanalyze.reports.base import Destination
from wsanalyze.reports.files import check_open
from wsanalyze.reports.names import shorten_names
from wsanalyze.reports.text import (
    ASCII_MARKS,
    BLOCK_MARKS,
    SparklineMarks,
    join_some,
    printable,
    shorten,
    text_width,
    wrap_words,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

ColorSystem = Literal["standard", "256", "truecolor"]

DEFAULT_WIDTH: Final = 80
INDENT: Final = 2
_GAP: Final = 2
_ELLIPSIS: Final = "…"
_COLOR_SYSTEMS: Final[dict[str, ColorSystem]] = {"standard": "standard", "256": "256", "truecolor": "truecolor"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A field of a table line.

    Attributes:
        text: What it says.
        width: Columns that it takes.
        style: A style of rich ("bold", "dim"); empty for none.
        right: Whether it is aligned to the right.
        max_lines: Lines that a text which is too wide is wrapped over; with 1 it is shortened in the middle instead.
    """

    text: str
    width: int
    style: str = ""
    right: bool = False
    max_lines: int = 1


class Page:
    """Collects the parts of a page, then lays them out.

    Every text that goes in is made printable in the encoding; none is read as markup.

    Args:
        width: Columns of the page; no line is wider.
        encoding: What the page will be written in.
    """

    def __init__(self, width: int, encoding: str) -> None:
        self.width = width
        self.ascii = not _can_encode(BLOCK_MARKS.levels + BLOCK_MARKS.gap + _ELLIPSIS, encoding)
        self._encoding = encoding
        self._ellipsis = "..." if self.ascii else _ELLIPSIS
        self._parts: list[RenderableType] = []

    @property
    def marks(self) -> SparklineMarks:
        """The characters of sparklines on this page."""
        return ASCII_MARKS if self.ascii else BLOCK_MARKS

    def shorten(self, text: str, width: int) -> str:
        """The text as this page shows it, in at most that many columns."""
        return shorten(printable(text, self._encoding), width, self._ellipsis)

    def shorten_names(self, names: Sequence[str], width: int) -> list[str]:
        """Names as this page shows them, each in at most that many columns; see `names.shorten_names`."""
        return shorten_names([printable(name, self._encoding) for name in names], width, self._ellipsis)

    def join_names(
        self, names: Sequence[str], limit: int, room: int, max_lines: int, *, lead: str = "", tail: str = ""
    ) -> str:
        """As many names as fit, whole or each shortened by itself, and how many more there are.

        Args:
            names: The names.
            limit: How many to show at most; at least one is.
            room: Columns of a line.
            max_lines: Lines that there are.
            lead: What stands before the names.
            tail: What stands after them.
        """
        width = max(1, room - len(f" and {len(names)} more"))
        shown = self.shorten_names(names[:limit], width)
        text = ""
        for count in range(len(shown), 0, -1):
            text = f"{lead}{join_some(shown, count, len(names))}{tail}"
            if len(self._wrap(text, room, max_lines + 1)) <= max_lines:
                break
        return text

    def add_heading(self, text: str) -> None:
        """A line in bold, or more where it is long, after an empty one."""
        if self._parts:
            self.add_space()
        self.add_paragraph(text, indent=0, style="bold", max_lines=3)

    def add_space(self) -> None:
        """An empty line."""
        from rich.text import Text

        self._parts.append(Text())

    def add_paragraph(self, text: str, *, indent: int = INDENT, style: str = "", max_lines: int = 4) -> None:
        """A text that is wrapped; its end is left out where it would take more lines than that."""
        for line in self._wrap(text, max(1, self.width - indent), max_lines):
            self._add_line((" " * indent, ""), (line, style))

    def item_room(self, label_width: int) -> int:
        """Columns of the text of an item."""
        return max(1, self.width - INDENT - label_width - _GAP)

    def add_item(self, label: str, text: str, *, label_width: int, style: str = "", max_lines: int = 3) -> None:
        """A paragraph with a label on its left."""
        shown = self.shorten(label, label_width)
        for line in self._wrap(text, self.item_room(label_width), max_lines):
            padding = " " * (label_width - text_width(shown) + _GAP)
            self._add_line((" " * INDENT, ""), (shown, style or "dim"), (padding, ""), (line, style))
            shown = ""

    def add_cells(self, cells: Sequence[Cell]) -> None:
        """A table line, its cells two spaces apart; more lines where a cell is wrapped."""
        columns = [
            self._wrap(cell.text, cell.width, cell.max_lines)
            if cell.max_lines > 1
            else [self.shorten(cell.text, cell.width)]
            for cell in cells
        ]
        for texts in itertools.zip_longest(*columns, fillvalue=""):
            pieces = []
            for index, (cell, text) in enumerate(zip(cells, texts, strict=True)):
                padding = " " * (cell.width - text_width(text))
                pieces.append((" " * (_GAP if index else INDENT), ""))
                own = [(padding, ""), (text, cell.style)]
                pieces += own if cell.right else own[::-1]
            self._add_line(*pieces)

    def _wrap(self, text: str, room: int, max_lines: int) -> list[str]:
        return wrap_words(printable(text, self._encoding), room, max_lines, self._ellipsis)

    def _add_line(self, *pieces: tuple[str, str]) -> None:
        """A line of texts, each with its style; it has its final width."""
        from rich.text import Text

        line = Text(no_wrap=True, overflow="crop")
        for text, style in pieces:
            line.append(text, style=style or None)
        self._parts.append(line)

    def render(self, colors: ColorSystem | None) -> str:
        """Lay the page out.

        Args:
            colors: What the terminal can show, or None to have no escape codes at all.

        Returns:
            The lines, without spaces at their ends.
        """
        from rich.console import Console

        buffer = io.StringIO()
        console = Console(
            file=buffer,
            width=self.width,
            color_system=colors,
            force_terminal=colors is not None,
            force_jupyter=False,
            legacy_windows=False,
            no_color=False,
            markup=False,
            emoji=False,
            highlight=False,
        )
        for part in self._parts:
            console.print(part)
        return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def open_page(
    destination: Destination, width: int | None, limits: tuple[int, int], *, no_color: bool
) -> tuple[Page, ColorSystem | None]:
    """An empty page as wide as its destination, and the colours that it may be rendered in.

    Args:
        destination: Where the page will be written.
        width: Columns, or None for those of the terminal, and 80 for everything else.
        limits: Fewest and most columns that a page of this kind takes.
        no_color: Whether to have no escape codes at all, as where NO_COLOR is set.

    Raises:
        ReportError: If the destination is a closed stream.
    """
    check_open(destination)
    columns, encoding = DEFAULT_WIDTH, "utf-8"
    colors: ColorSystem | None = None
    if not isinstance(destination, Path):
        encoding = getattr(destination, "encoding", None) or encoding
        if destination.isatty():
            columns, colors = _probe_terminal(destination)
    if no_color or os.environ.get("NO_COLOR"):
        colors = None
    narrowest, widest = limits
    return Page(min(max(width or columns, narrowest), widest), encoding), colors


def _probe_terminal(stream: TextIO) -> tuple[int, ColorSystem | None]:
    """Columns of a terminal and the colours that it shows; None for one that knows no escape codes."""
    from rich.console import Console

    console = Console(file=stream, force_terminal=True, force_jupyter=False)
    return console.width, _COLOR_SYSTEMS.get(console.color_system or "")


def _can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
