"""The table of changes as CSV: one row a layer, one column a change; what `wsanalyze trends` reads back."""

import csv
import io
from collections import Counter
from typing import ClassVar, Final

import numpy as np

from wsanalyze.reports.base import Destination
from wsanalyze.reports.files import write_text
from wsanalyze.reports.text import printable
from wsanalyze.series import ChangeSeries
from wsanalyze.trends.base import Trends

# The full-width forms are read as their plain counterparts by some spreadsheets.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class CsvReporter:
    """Writes the metric as a table: first column `layer`, then one column a change, headed by its after step.

    Values are written so that they read back as the same float64; a cell without a number is empty, unchanged
    weights are 0.0. Text that a spreadsheet would run as a formula gets an apostrophe in front, and characters that
    cannot be seen are escaped.
    """

    suffix: ClassVar[str] = ".csv"

    def write(self, trends: Trends, destination: Destination) -> None:
        """Write the report; see `Reporter.write`."""
        stream = io.StringIO()
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["layer", *change_headings(trends.series)])
        for name, values in zip(trends.series.names, trends.values, strict=True):
            cells = [repr(value) if np.isfinite(value) else "" for value in values.tolist()]
            table.writerow([_text_cell(name), *cells])
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
    taken, seen = {"layer", *headings}, Counter(["layer"])
    for index, heading in enumerate(headings):
        seen[heading] += 1
        number, unique = seen[heading], heading
        if number > 1:
            unique = f"{heading} ({number})"
            while unique in taken:
                number += 1
                unique = f"{heading} ({number})"
            taken.add(unique)
        headings[index] = unique
    return headings


def _text_cell(text: str) -> str:
    shown = printable(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA_STARTS) else shown
