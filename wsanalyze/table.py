"""A table of changes that someone else measured, read as a `ChangeSeries`."""

import csv
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.errors import TableError
from wsanalyze.series import ChangeSeries, CheckpointRecord, Kind, Provenance, Row, State, StateArray
from wsanalyze.sums import Sums
from wsanalyze.table_cells import PlainRow, is_plain, parse_cells, read_plain_row, shorten

TABLE_METRIC: Final = "rwc"
MAX_TABLE_BYTES: Final = 512 << 20
_SEPARATORS: Final = ",;\t|"
_MAX_STEP: Final = 2**63 - 1


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


Record = tuple[int, list[str] | PlainRow]


def _split_records(data: bytes, path: Path | str) -> tuple[list[str], Iterator[Record]]:
    """Split into the heading and an iterator of (line number, cells), with the separator that the heading shows."""
    best: tuple[list[str], str, Iterator[tuple[int, list[str]]]] | None = None
    failed: TableError | None = None
    for separator in _SEPARATORS:
        records = _iterate_records(data, separator, path)
        try:
            _, heading = next(records, (0, []))
        except TableError as error:  # quotes that make sense with another separator only
            failed = failed or error
            continue
        if best is None or len(heading) > len(best[0]):
            best = heading, separator, records
    if failed is not None and (best is None or len(best[0]) == 1):
        raise failed
    if best is None or not best[0]:
        raise TableError(f"{path}: an empty file: give a table with the column 'layer', then one column a step")
    heading, separator, others = best
    if len(heading) == 1:
        raise TableError(f"{path}, line 1: one column only: give the column 'layer', then one column a step")
    return heading, islice(_iterate_plain(data, separator, path), 1, None) if is_plain(data) else others


def _iterate_plain(data: bytes, separator: str, path: Path | str) -> Iterator[Record]:
    """Records of a table without quotes, its heading among them: each line is one, or blank."""
    for line, text in enumerate(io.BytesIO(data), 1):
        row = read_plain_row(text, separator.encode())
        if row is None:
            yield from _iterate_records(text, separator, path, line - 1)
        else:
            yield line, row


def _iterate_records(data: bytes, separator: str, path: Path | str, before: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Records as CSV has them, where there are some lines before the data."""
    # Text is decoded line by line: as a whole it would take four times its bytes.
    encoding = "utf-8" if before else "utf-8-sig"
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(data), encoding, newline=""), delimiter=separator, strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            line = before + reader.line_num
            raise TableError(f"{path}, line {line}: no CSV ({error}): mend its quotes") from error
        if any(cell.strip() for cell in cells):
            yield before + reader.line_num, [cell.strip() for cell in cells]


def _read_records(
    heading: list[str], records: Iterator[Record], path: Path | str
) -> tuple[list[str], NDArray[np.float64], StateArray]:
    """Names, and values and states of shape (L, P), of all columns that have a heading."""
    lines: dict[str, int] = {}
    found: list[NDArray[np.float64]] = []
    for line, record in records:
        name = record.name if isinstance(record, PlainRow) else record[0]
        if len(record) != len(heading):
            raise TableError(f"{path}, line {line}: {len(record)} cells, but the heading has {len(heading)}")
        if not name:
            raise TableError(f"{path}, line {line}: no name in the first column: name the layer")
        if name in lines:
            raise TableError(f"{path}, line {line}: layer {shorten(name)} again, first on line {lines[name]}")
        lines[name] = line
        found.append(record.values if isinstance(record, PlainRow) else parse_cells(record[1:], line, path))
    if not found:
        raise TableError(f"{path}: a heading, but no layer below it")
    values = np.stack(found)
    return list(lines), values, _take_states(values)


def _take_states(values: NDArray[np.float64]) -> StateArray:
    """States of cells, object of shape (L, P); what is infinite becomes NaN in place."""
    states: StateArray = np.full(values.shape, None, dtype=object)
    states[values == 0] = State.UNCHANGED
    states[np.isnan(values)] = State.MISSING
    infinite = np.isinf(values)
    states[infinite], values[infinite] = State.NONFINITE, np.nan
    return states


def _count_columns(heading: list[str], states: StateArray, path: Path | str) -> int:
    """How many there are without what a separator at the end of every line leaves: no heading, and no cell."""
    width = len(heading) - 1
    while width and not heading[width] and (states[:, width - 1] == State.MISSING).all():
        width -= 1
    if width == 0:
        raise TableError(f"{path}, line 1: no column of changes: give the column 'layer', then one column a step")
    return width


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
