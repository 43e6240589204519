"""Cells of a table of changes: what is a number, what is none, and what is refused."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.errors import TableError

_NUMBER: Final = b"0123456789.eE+-"
_USUAL_LENGTH: Final = 64
_SHOWN_CHARACTERS: Final = 40


@dataclass(frozen=True, slots=True, eq=False)
class PlainRow:
    """A line that holds but a name, plain numbers and empty cells.

    Attributes:
        name: The first cell.
        values: float64 of shape (P,), not negative: NaN for an empty cell, infinity for a number too large for float64.
    """

    name: str
    values: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of cells, the name among them."""
        return 1 + len(self.values)


def is_plain(data: bytes) -> bool:
    """Whether a table has no quotes, and lines that end in one of the two usual ways."""
    return b'"' not in data and data.count(b"\r") == data.count(b"\r\n")


def read_plain_row(text: bytes, separator: bytes) -> PlainRow | None:
    """Read a line many times as fast as cell by cell, if it is plain.

    Args:
        text: A line of a plain table, in UTF-8, with its end.
        separator: One character.

    Returns:
        The same as cell by cell; None for a line that takes a closer look, among them all that are wrong.
    """
    start, _, cells = text.partition(separator)
    name, cells = start.decode().strip(), cells.rstrip(b"\r\n")
    if not name or not cells or cells.translate(None, _NUMBER + separator):
        return None
    number = cells.count(separator) + 1
    if len(cells) > _USUAL_LENGTH * number:
        return None
    padded = b"," + cells.replace(separator, b",") + b","
    while b",," in padded:
        padded = padded.replace(b",,", b",nan,")
    try:
        values = np.fromstring(padded[1:-1], sep=",")
    except (ValueError, DeprecationWarning):  # what was no number
        return None
    if len(values) != number or (values < 0).any():
        return None
    return PlainRow(name, np.abs(values))  # -0 is 0


def parse_cells(cells: list[str], line: int, path: Path | str) -> NDArray[np.float64]:
    """Values of one line.

    Args:
        cells: Its cells but the first, without blanks around them.
        line: Its number in the file.
        path: The file.

    Returns:
        float64 of shape (P,), not negative: NaN for an empty cell, infinity for a number that is not finite.

    Raises:
        TableError: If a cell is no number, or a negative one.
    """
    try:
        # float() also takes digits of other scripts and 1_000, which no program writes into a table.
        plain = "".join(cells)
        numbers = [float(cell or "nan") for cell in cells] if plain.isascii() and "_" not in plain else None
    except ValueError:
        numbers = None
    if numbers is None or any(value < 0 and math.isfinite(value) for value in numbers):
        numbers = [_read_cell(cell, line, column + 2, path) for column, cell in enumerate(cells)]
    values: NDArray[np.float64] = np.abs(numbers)  # -0 is 0
    values[~np.isfinite(values)] = np.inf
    values[[not cell for cell in cells]] = np.nan
    return values


def _read_cell(cell: str, line: int, column: int, path: Path | str) -> float:
    """The number of a cell, NaN for an empty one; what is no number, or a negative one, is refused by its place."""
    try:
        value = float(cell or "nan") if cell.isascii() and "_" not in cell else None
    except ValueError:
        value = None
    if value is None:
        raise TableError(f"{path}, line {line}: {shorten(cell)} in column {column} is no number (such as 0.5)")
    if value < 0 and math.isfinite(value):
        raise TableError(
            f"{path}, line {line}: {shorten(cell)} in column {column} is negative, and a relative change cannot be"
        )
    return value


def shorten(text: str) -> str:
    """Quote text of the file so that it stays on one short line, whatever it holds."""
    shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
    return repr(shown) if shown.isprintable() else ascii(shown)
