"""The table of changes as CSV: one row a layer, one column a change; what `wsanalyze trends` reads back."""

import csv
import io
import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import ClassVar, Final

from wsanalyze.reports.base import Destination
from wsanalyze.reports.files import write_text
from wsanalyze.reports.text import printable
from wsanalyze.series import ChangeSeries, State
from wsanalyze.trends.base import Trends

# The full-width forms are read as their plain counterparts by some spreadsheets.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class CsvReporter:
    """Writes the metric as a table: first column `layer`, then one column a change, headed by its after step.

    Values are written so that they read back as the same float64; unchanged weights are 0.0, a cell of weights that are
    not finite is `nan`, and any other without a number is empty. Text that a spreadsheet would run as a formula gets an
    apostrophe in front, characters that cannot be seen are escaped, and names that are then the same are numbered.
    """

    suffix: ClassVar[str] = ".csv"

    def write(self, trends: Trends, destination: Destination) -> None:
        """Write the report; see `Reporter.write`."""
        stream = io.StringIO()
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["layer", *change_headings(trends.series)])
        nonfinite = trends.states == State.NONFINITE
        for name, values, marks in zip(name_layers(trends.series.names), trends.values, nonfinite, strict=True):
            cells = [
                repr(value) if math.isfinite(value) else "nan" if mark else ""
                for value, mark in zip(values.tolist(), marks.tolist(), strict=True)
            ]
            table.writerow([name, *cells])
        write_text(stream.getvalue(), destination)


def change_headings(series: ChangeSeries) -> list[str]:
    """A heading for each change, no two the same: the step after it, or the label where there is no step.

    Where a step or label is not unique among the headings, its repetitions are numbered: `10`, `10 (2)`.
    """
    headings: list[str] = []
    for index, (_, after) in enumerate(series.pairs, start=1):
        record = series.checkpoints[after]
        label = _text_cell(record.label) or f"change {index}"
        headings.append(label if record.step is None else str(record.step))
    return _number_repetitions(headings, {"layer"})


def name_layers(names: Sequence[str]) -> list[str]:
    """A cell for the name of each layer, none empty and no two the same; repetitions are numbered as headings are."""
    cells = map(_text_cell, names)
    return _number_repetitions([cell if cell.strip() else f"layer {i}" for i, cell in enumerate(cells, start=1)])


def _number_repetitions(texts: Sequence[str], reserved: Collection[str] = ()) -> list[str]:
    """The texts, with a number where one comes again: whoever reads them back leaves out the blanks around them."""
    keys = [text.strip() for text in texts]
    taken, seen = {*reserved, *keys}, Counter(reserved)
    unique = []
    for text, key in zip(texts, keys, strict=True):
        seen[key] += 1
        number, shown = seen[key], text
        if number > 1:
            shown = f"{key} ({number})"
            while shown in taken:
                number += 1
                shown = f"{key} ({number})"
            taken.add(shown)
        unique.append(shown)
    return unique


def _text_cell(text: str) -> str:
    shown = printable(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA_STARTS) else shown
