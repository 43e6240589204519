"""What the plots of the HTML report draw, as JSON values."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.metrics import METRICS
from wsanalyze.reports.text import printable
from wsanalyze.reports.training_log import collect_log
from wsanalyze.series import State
from wsanalyze.trends.base import Trends

# The plots show three digits; five keep zooming smooth at half the size of all seventeen.
_DIGITS: Final = 5


def collect_plot_data(trends: Trends) -> dict[str, Any]:
    """Collect what the plots draw.

    Args:
        trends: Trends of L layers over P changes.

    Returns:
        JSON values: every name printable, every float rounded to 5 significant digits, NaN as None. `layers` holds
        lists of length L, `values` has shape (L, P), `states` lists [layer, change, word, absolute change or None]
        of each cell that has a state, `touched` [layer, change, word] of each cell that the method touched. `log` is
        that of `collect_log`. `phases` holds the first change of each phase but the first; `depth` the depths, length
        D, the median at each, shape (D, P), and the centre of mass, length P.
    """
    series = trends.series
    title, unit = metric_words(trends.options.metric)
    return {
        "metric": {"title": title, "unit": unit, "linear": trends.options.linear},
        "changes": _list_changes(trends),
        "layers": {
            "name": [printable(row.name) for row in series.rows],
            "kind": [printable(str(row.kind)) for row in series.rows],
            "cluster": trends.labels.tolist(),
            "outlier": trends.outliers.tolist(),
            "confidence": _rounded(trends.confidence),
        },
        "orders": order_layers(trends),
        "values": _rounded(trends.values),
        "states": _list_states(trends),
        "touched": [[row, change, printable(word)] for word, cells in trends.touched.items() for row, change in cells],
        "clusters": [
            {
                "id": cluster.id,
                "summary": printable(cluster.summary),
                "kind": None if cluster.kind is None else printable(cluster.kind),
                "members": list(cluster.members),
                **{
                    name: _rounded(np.array(getattr(cluster, name), dtype=np.float64))
                    for name in ("median", "low", "high")
                },
            }
            for cluster in trends.clusters
        ],
        "points": _rounded(trends.points[:, :2]),
        "explained": _rounded(trends.explained[:2]),
        "log": collect_log(series),
        "kinds": [printable(part.kind) for part in trends.kinds],
        "depth": _list_depth(trends),
        "phases": [phase.first for phase in trends.phases[1:]],
    }


def metric_words(name: str) -> tuple[str, str]:
    """Title and unit of a metric; its name and no unit where it was given by a table."""
    metric = METRICS.get(name)
    return (printable(name), "as given") if metric is None else (metric.title, metric.unit)


def order_layers(trends: Trends) -> dict[str, list[int]]:
    """Orders in which the layers can be shown, each a permutation of 0..L-1; layers in no cluster come last."""
    depth = np.array([row.depth for row in trends.series.rows], dtype=np.int64)
    kind = np.array([str(row.kind) for row in trends.series.rows], dtype=str)
    alone = trends.labels < 0
    return {
        "depth": np.argsort(depth, kind="stable").tolist(),
        "cluster": np.lexsort((depth, trends.labels, alone)).tolist(),
        "kind": np.lexsort((depth, kind)).tolist(),
    }


def _list_changes(trends: Trends) -> list[dict[str, Any]]:
    checkpoints = trends.series.checkpoints
    return [
        {
            "from": printable(checkpoints[before].label),
            "to": printable(checkpoints[after].label),
            "step": checkpoints[after].step,
        }
        for before, after in trends.series.pairs
    ]


def _list_depth(trends: Trends) -> dict[str, Any] | None:
    profile = trends.depth
    if profile is None:
        return None
    return {
        "depths": list(profile.depths),
        "values": _rounded(profile.values),
        "centre": _rounded(profile.centre),
    }


def _list_states(trends: Trends) -> list[list[Any]]:
    name = trends.options.metric
    states = trends.series.metric_states(name)
    absolute = trends.series.absolute(name)
    return [
        [
            int(row),
            int(change),
            str(states[row, change]),
            _rounded(absolute[row, change]) if states[row, change] is State.FROM_ZERO else None,
        ]
        for row, change in np.argwhere(states != None)  # noqa: E711 - elementwise
    ]


def _rounded(values: NDArray[np.float64]) -> Any:  # noqa: ANN401 - lists as deep as the array
    """Nested lists of rounded floats, None where there is no number."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 0:
        return float(f"{values:.{_DIGITS}g}") if np.isfinite(values) else None
    return [_rounded(value) for value in values]
