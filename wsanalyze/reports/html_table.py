"""The table of layers of the HTML report, in words and numbers."""

from collections import Counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.reports.course import find_rivalled
from wsanalyze.reports.html_lines import LayerLine, sign_of, write_shape
from wsanalyze.reports.summary import is_table
from wsanalyze.reports.text import format_number, sparkline
from wsanalyze.series import Kind, State, StateArray
from wsanalyze.trends.base import Trends
from wsanalyze.trends.words import row_levels

_SPARKLINE_WIDTH: Final = 20


def find_empty_columns(trends: Trends) -> tuple[str, ...]:
    """Columns of the table that tell nothing of any layer: of "kind", "shape", "confidence" and "states"."""
    series = trends.series
    rivalled = np.isin(trends.labels, list(find_rivalled(trends)))
    empty = {
        "kind": all(row.kind == Kind.OTHER for row in series.rows),
        "shape": is_table(series),
        "confidence": not np.isfinite(trends.confidence[rivalled]).any(),
        "states": not (trends.states != None).any(),  # noqa: E711 - elementwise
    }
    return tuple(name for name, is_empty in empty.items() if is_empty)


def describe_layer(trends: Trends, index: int, curve: NDArray[np.float64], states: StateArray) -> LayerLine:
    """One line of the table of layers.

    Args:
        trends: What to report.
        index: The row.
        curve: Its changes, length P.
        states: Their states, length P.
    """
    row = trends.series.rows[index]
    level = row_levels(curve[None])[0]
    cluster = int(trends.labels[index])
    words = Counter(str(state) for state in states if state is not None)
    return LayerLine(
        index=index,
        name=row.name,
        kind=str(row.kind),
        depth=row.depth,
        shape=write_shape(row.shape, known=not is_table(trends.series)),
        numel=row.numel,
        sign=sign_of(cluster, outlier=bool(trends.outliers[index])),
        cluster=cluster,
        confidence=_number(trends.confidence[index]) if cluster in find_rivalled(trends) else None,
        level=_number(level),
        last=_number(curve[-1]) if curve.size else None,
        last_text=_describe_last(curve, states),
        curve=sparkline(curve, _SPARKLINE_WIDTH, linear=trends.options.linear),
        states=", ".join(f"{number} {word}" for word, number in words.items()),
        num_states=words.total(),
    )


def _describe_last(curve: NDArray[np.float64], states: StateArray) -> str:
    if not len(curve):
        return "-"
    state: State | None = states[-1]
    return format_number(float(curve[-1])) if state is None else str(state)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
