"""What the plots of the page and the figures share: orders of layers, words of a metric, neighbours put together."""

import numpy as np
from numpy.typing import NDArray

from wsanalyze.metrics import METRICS
from wsanalyze.reports.text import printable
from wsanalyze.trends.base import DepthProfile, Trends


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


def bound_groups(count: int, most: int) -> list[tuple[int, int]]:
    """Bounds [start, end) of at most `most` groups of as many neighbours each, but perhaps the last."""
    size = max(1, -(-count // most))
    return [(start, min(start + size, count)) for start in range(0, count, size)]


def condense_depths(profile: DepthProfile, most: int) -> tuple[list[tuple[int, int]], NDArray[np.float64]]:
    """Put neighbouring depths together where there are too many to see.

    Args:
        profile: D depths over P changes.
        most: Groups at most.

    Returns:
        The first and the last depth of each of G groups, and the median of its depths at each change, float64 of
        shape (G, P); NaN where none has a number.
    """
    groups = bound_groups(len(profile.depths), most)
    values = np.full((len(groups), profile.values.shape[1]), np.nan)
    for index, (start, end) in enumerate(groups):
        part = profile.values[start:end]
        known = np.isfinite(part).any(axis=0)
        values[index, known] = np.nanmedian(part[:, known], axis=0)
    return [(profile.depths[start], profile.depths[end - 1]) for start, end in groups], values
