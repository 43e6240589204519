"""What the plots of the page and the figures share: orders, words of a metric, points, neighbours put together."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.metrics import METRICS
from wsanalyze.reports.text import printable
from wsanalyze.trends.base import DepthProfile, Trends

_ROUNDING: Final = 1e-9
"""A coordinate that is a smaller part of the largest is nothing but rounding."""


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


def place_points(trends: Trends) -> NDArray[np.float64]:
    """Where rows lie on the map: their first two components, without what is but rounding.

    Args:
        trends: Trends of L rows, whose points have K components.

    Returns:
        float64 of shape (L, min(K, 2)); NaN for rows that have no place. A second component that is 0 for all rows of
        a map is NaN: there is none. Each kind has a map of its own where it was clustered by itself.
    """
    points = trends.points[:, :2].copy()
    largest = np.abs(points[np.isfinite(points)]).max(initial=0.0)
    points[np.abs(points) <= _ROUNDING * largest] = 0.0
    kinds = np.array([str(row.kind) for row in trends.series.rows], dtype=str)
    for rows in (kinds == part.kind for part in trends.kinds) if trends.kinds else (np.ones(len(points), dtype=bool),):
        if not points[rows, 1:].any():
            points[rows, 1:] = np.nan
    return points


def pick_map(trends: Trends) -> int:
    """Which of the kinds that have maps of their own is shown first: that with most rows; 0 where there are none."""
    sizes = [part.size for part in trends.kinds]
    return sizes.index(max(sizes)) if sizes else 0


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
