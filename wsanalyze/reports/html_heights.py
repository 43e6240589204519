"""How high plots will be: the page has room for them before they are drawn, so that it does not grow while one reads.

The numbers are those of the scripts that draw them.
"""

from typing import Final

import numpy as np

from wsanalyze.reports.plotted import bound_groups, pick_map
from wsanalyze.reports.trend_names import has_numbers
from wsanalyze.trends.base import Trends

CURVES: Final = (280, 280)
LOG: Final = (240, 300)
MAX_DEPTHS: Final = 400
"""Groups of depths that the plot over depth shows at most."""

_FRAME: Final = 84
_BAR_ON_TOP: Final = 150
_ROW: Final = 14
_FEW_ROWS: Final = 80
_LEAST_BESIDE: Final = 200  # the bar of colours of a lower heatmap lies on top of it


def reserve_heights(trends: Trends) -> dict[str, tuple[int, int]]:
    """Heights of plots in pixels, by the id of each: on a wide screen, and on that of a telephone."""
    return {
        "heatmap-plot": _reserve_heatmap(trends),
        "scatter-plot": _reserve_map(trends),
        "depth-plot": _reserve_depth(trends),
    }


def _reserve_heatmap(trends: Trends) -> tuple[int, int]:
    num_rows = len(trends.series.rows)
    row = min(22.0, max(float(_ROW), 240 / max(1, num_rows)))
    height = round(min(1120 if num_rows <= _FEW_ROWS else 820, max(90.0, num_rows * row)))
    bar = _BAR_ON_TOP if has_numbers(trends.values) else _FRAME
    return height + (_FRAME if height >= _LEAST_BESIDE else bar), height + bar


def _reserve_map(trends: Trends) -> tuple[int, int]:
    placed = np.isfinite(trends.points[:, 0]) if trends.points.size else np.zeros(len(trends.labels), dtype=bool)
    if trends.kinds:
        kinds = np.array([str(row.kind) for row in trends.series.rows], dtype=str)
        placed &= kinds == trends.kinds[pick_map(trends)].kind
    groups = len(np.unique(np.where((trends.labels < 0) & ~trends.outliers, -2, trends.labels)[placed]))
    return 440 + 20 * -(-groups // 3), 440 + 20 * groups


def _reserve_depth(trends: Trends) -> tuple[int, int]:
    num_depths = 0 if trends.depth is None else len(bound_groups(len(trends.depth.depths), MAX_DEPTHS))
    height = min(420, max(160, num_depths * _ROW))
    return height + _FRAME, height + 136
