"""A table of changes that someone else measured, read as a `ChangeSeries`."""

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.errors import TableError
from wsanalyze.series import ChangeSeries, CheckpointRecord, Kind, Provenance, Row, State, StateArray
from wsanalyze.sums import Sums

TABLE_METRIC: Final = "rwc"
MAX_TABLE_BYTES: Final = 512 << 20
_SEPARATORS: Final = ",;\t|"
_MAX_STEP: Final = 2**63 - 1
_SHOWN_CHARACTERS: Final = 40


def read_table(path: Path | str) -> ChangeSeries:
    """Read a table of changes: one row a layer, one column a step.

    The first column holds the names of the layers, whatever its heading; each further column is the change up to the
    step that its heading names (a whole number is a step, anything else a label). Commas, semicolons, tabs and bars
    separate cells; a byte order mark and any newline are accepted.

    A table is taken at its word: its numbers are held to be the default metric, `rwc`, since nothing in it could say
    otherwise. It holds no sums, so no other metric can be derived from it and its rows cannot be grouped.

    Args:
        path: A CSV file in UTF-8.

    Returns:
        A series of L rows and P changes between P + 1 checkpoints, the first of which is only known as "start".
        `given["rwc"]` is float64 of shape (L, P): 0 with state `UNCHANGED`, NaN with state `MISSING` for an empty
        cell and `NONFINITE` for `nan`, `inf` and `-inf`. Shapes of rows are unknown, hence (), and kinds `OTHER`.

    Raises:
        TableError: If the file cannot be read or is no such table; the message names file and line.

    References:
        docs/cli.md, `wsanalyze trends`.
    """
    heading, records = _split_records(_read_bytes(Path(path)), path)
    names, values, states = _read_records(heading, records, path)
    width = _count_columns(heading, states, path)
    values, states, labels = values[:, :width], states[:, :width], heading[1 : width + 1]
    rows = tuple(_make_row(name, depth) for depth, name in enumerate(names))
    return ChangeSeries(
        checkpoints=(CheckpointRecord(None, "start", str(path)), *(_make_checkpoint(h, path) for h in labels)),
        rows=rows,
        pairs=tuple((index, index + 1) for index in range(len(labels))),
        sums=Sums.absent(len(rows), len(labels)),
        states=states,
        provenance=Provenance(source=(str(path),)),
        given={TABLE_METRIC: values},
    )


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TABLE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TableError(f"{path}: cannot be read ({reason}): give a CSV file") from error
    if len(data) > MAX_TABLE_BYTES:
        raise TableError(f"{path}: larger than {MAX_TABLE_BYTES >> 20} MiB, so hardly a table of changes: give fewer")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise TableError(f"{path}: text in UTF-16: save it as CSV in UTF-8")
    if b"\0" in data:
        raise TableError(f"{path}: a binary file, not a table: give a CSV file")
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TableError(f"{path}, line {line}: not UTF-8 text: save the table as CSV in UTF-8") from error
    return data


Record = tuple[int, list[str]]


def _split_records(data: bytes, path: Path | str) -> tuple[list[str], Iterator[Record]]:
    """Split into the heading and an iterator of (line number, cells), with the separator that the heading shows."""
    best: tuple[list[str], Iterator[Record]] | None = None
    failed: TableError | None = None
    for separator in _SEPARATORS:
        records = _iterate_records(data, separator, path)
        try:
            _, heading = next(records, (0, []))
        except TableError as error:  # quotes that make sense with another separator only
            failed = failed or error
            continue
        if best is None or len(heading) > len(best[0]):
            best = heading, records
    if failed is not None and (best is None or len(best[0]) == 1):
        raise failed
    if best is None or not best[0]:
        raise TableError(f"{path}: an empty file: give a table with the column 'layer', then one column a step")
    if len(best[0]) == 1:
        raise TableError(f"{path}, line 1: one column only: give the column 'layer', then one column a step")
    return best


def _iterate_records(data: bytes, separator: str, path: Path | str) -> Iterator[Record]:
    # Text is decoded line by line: as a whole it would take four times its bytes.
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline=""), delimiter=separator, strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise TableError(f"{path}, line {reader.line_num}: no CSV ({error}): mend its quotes") from error
        if any(cell.strip() for cell in cells):
            yield reader.line_num, [cell.strip() for cell in cells]


def _read_records(
    heading: list[str], records: Iterator[Record], path: Path | str
) -> tuple[list[str], NDArray[np.float64], StateArray]:
    """Names, and values and states of shape (L, P), of all columns that have a heading."""
    lines: dict[str, int] = {}
    values: list[NDArray[np.float64]] = []
    states: list[StateArray] = []
    for line, record in records:
        name = record[0]
        if len(record) != len(heading):
            raise TableError(f"{path}, line {line}: {len(record)} cells, but the heading has {len(heading)}")
        if not name:
            raise TableError(f"{path}, line {line}: no name in the first column: name the layer")
        if name in lines:
            raise TableError(f"{path}, line {line}: layer {_shorten(name)} again, first on line {lines[name]}")
        lines[name] = line
        row, why = _parse_cells(record[1:], line, path)
        values.append(row)
        states.append(why)
    if not values:
        raise TableError(f"{path}: a heading, but no layer below it")
    return list(lines), np.stack(values), np.stack(states)


def _count_columns(heading: list[str], states: StateArray, path: Path | str) -> int:
    """How many there are without what a separator at the end of every line leaves: no heading, and no cell."""
    width = len(heading) - 1
    while width and not heading[width] and (states[:, width - 1] == State.MISSING).all():
        width -= 1
    if width == 0:
        raise TableError(f"{path}, line 1: no column of changes: give the column 'layer', then one column a step")
    return width


def _parse_cells(cells: list[str], line: int, path: Path | str) -> tuple[NDArray[np.float64], StateArray]:
    """Values and states of one line, float64 and object of shape (P,)."""
    states: StateArray = np.full(len(cells), None, dtype=object)
    try:
        # float() also takes digits of other scripts and 1_000, which no program writes into a table.
        plain = "".join(cells)
        values = np.array([float(cell or "nan") for cell in cells]) if plain.isascii() and "_" not in plain else None
    except ValueError:
        values = None
    if values is None or (np.isfinite(values) & (values < 0)).any():
        for column, cell in enumerate(cells):
            _check_cell(cell, line, column + 2, path)
        raise AssertionError("a cell that is wrong was found right")  # pragma: no cover
    if not (np.isfinite(values) & (values > 0)).all():
        states[values == 0] = State.UNCHANGED
        states[~np.isfinite(values)] = State.NONFINITE
        states[[not cell for cell in cells]] = State.MISSING
        values[~np.isfinite(values)] = np.nan
    return np.abs(values), states  # -0 is 0


def _check_cell(cell: str, line: int, column: int, path: Path | str) -> None:
    """Refuse a cell that is no number, or a negative one, by its place."""
    try:
        value = float(cell or "nan") if cell.isascii() and "_" not in cell else None
    except ValueError:
        value = None
    if value is None:
        raise TableError(f"{path}, line {line}: {_shorten(cell)} in column {column} is no number (such as 0.5)")
    if value < 0 and math.isfinite(value):
        raise TableError(
            f"{path}, line {line}: {_shorten(cell)} in column {column} is negative, and a relative change cannot be"
        )


def _make_row(name: str, depth: int) -> Row:
    module = name.rpartition(".")[0] or name
    return Row(name, module, module, Kind.OTHER, depth, ())


def _make_checkpoint(heading: str, path: Path | str) -> CheckpointRecord:
    return CheckpointRecord(_parse_step(heading), heading, str(path))


def _parse_step(heading: str) -> int | None:
    # The length guards int(), which refuses thousands of digits, and every format that keeps 64 bits.
    digits = heading.removeprefix("+")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > len(str(_MAX_STEP)):
        return None
    step = int(digits)
    return step if step <= _MAX_STEP else None


def _shorten(text: str) -> str:
    """Quote text of the file so that it stays on one short line, whatever it holds."""
    shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
    return repr(shown) if shown.isprintable() else ascii(shown)
