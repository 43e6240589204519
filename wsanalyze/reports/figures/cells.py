"""The cells of a heatmap: rows in order and in groups, condensed to lines where there are more than can be seen."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsanalyze.errors import UsageError
from wsanalyze.reports.plotted import order_layers
from wsanalyze.series import State
from wsanalyze.trends.base import Trends

Order = Literal["depth", "kind", "cluster"]
ORDERS: Final = ("depth", "kind", "cluster")


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The N lines of a heatmap, each of one row or of several that follow each other in the order.

    Attributes:
        values: float64 of shape (N, P): the metric, or its median over the rows of a line; NaN where there is none.
        states: int8 of shape (N, P): 0 for a number, 1 for none, 2 for weights that did not change.
        lines: The rows of each line.
        groups: Name of each group, and its first line and the one after its last; one without a name for no groups.
    """

    values: NDArray[np.float64]
    states: NDArray[np.int8]
    lines: tuple[NDArray[np.int64], ...]
    groups: tuple[tuple[str, int, int], ...]


def arrange_cells(trends: Trends, order: Order, most: int) -> Cells:
    """Put rows in order.

    Args:
        trends: Trends of L rows over P changes.
        order: "depth", or "kind" or "cluster" for groups whose rows are in the order of depth.
        most: Lines at most, at least 1; each group has one, whatever their number.

    Raises:
        UsageError: If `order` is none of those.
    """
    if order not in ORDERS:
        raise UsageError(f"order takes {', '.join(ORDERS)}, not {order!r}")
    rows = np.array(order_layers(trends)[order], dtype=np.int64)
    names = [_name_group(trends, int(row), order) for row in rows]
    starts = [place for place in range(len(rows)) if not place or names[place] != names[place - 1]]
    lines: list[NDArray[np.int64]] = []
    groups = []
    for start, end in pairwise([*starts, len(rows)] if starts else []):
        share = max(1, most * (end - start) // max(len(rows), 1))
        first = len(lines)
        lines.extend(np.array_split(rows[start:end], min(share, end - start)))
        groups.append((names[start], first, len(lines)))
    values, states = trends.values, _code_states(trends)
    shown = [_condense(values[line], states[line]) for line in lines]
    num_changes = values.shape[1]
    return Cells(
        np.array([cells for cells, _ in shown], dtype=np.float64).reshape(len(lines), num_changes),
        np.array([codes for _, codes in shown], dtype=np.int8).reshape(len(lines), num_changes),
        tuple(lines),
        tuple(groups),
    )


def find_line_cluster(trends: Trends, line: NDArray[np.int64]) -> tuple[int, bool]:
    """The cluster that most rows of a line are in, below 0 for none, and whether such rows are outliers."""
    pairs = zip(trends.labels[line].tolist(), trends.outliers[line].tolist(), strict=True)
    return Counter((label, label < 0 and outlier) for label, outlier in pairs).most_common(1)[0][0]


def _name_group(trends: Trends, row: int, order: Order) -> str:
    if order == "depth":
        return ""
    if order == "kind":
        return str(trends.series.rows[row].kind)
    cluster = int(trends.labels[row])
    return "in no cluster" if cluster < 0 else f"cluster {cluster}"


def _code_states(trends: Trends) -> NDArray[np.int8]:
    states = trends.states
    codes = np.zeros(states.shape, dtype=np.int8)
    codes[(states != None) | np.isnan(trends.values)] = 1  # noqa: E711 - elementwise
    codes[states == State.UNCHANGED] = 2
    return codes


def _condense(values: NDArray[np.float64], states: NDArray[np.int8]) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """One line of several rows: medians where one has a number, else what most of them have."""
    numbers = np.where(states == 0, values, np.nan)
    if len(values) == 1:
        return numbers[0], states[0]
    ordered = np.sort(numbers, axis=0)  # NaN last
    count = np.isfinite(numbers).sum(axis=0)
    columns = np.arange(values.shape[1])
    low, high = ordered[np.maximum(count - 1, 0) // 2, columns], ordered[count // 2 % len(values), columns]
    median = np.where(count > 0, low / 2 + high / 2, np.nan)
    still = 2 * (states == 2).sum(axis=0) > (states > 0).sum(axis=0)  # noqa: PLR2004 - the code
    return median, np.where(count > 0, 0, np.where(still, 2, 1)).astype(np.int8)
