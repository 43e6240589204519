"""Clusters, phases and windows as lines of the HTML report."""

import numpy as np
from numpy.typing import NDArray

from wsanalyze.reports.course import SURE, describe_phase, describe_range, find_unsure
from wsanalyze.reports.html_lines import (
    MAX_NAMES,
    ClusterLine,
    MemberLine,
    PhaseLine,
    UnsureLine,
    WindowLine,
    sign_of,
)
from wsanalyze.reports.trend_names import has_curve, name_trend
from wsanalyze.trends.base import Cluster, Trends


def describe_cluster(trends: Trends, cluster: Cluster, values: NDArray[np.float64]) -> ClusterLine:
    """A cluster with its members, those marked that are unsure.

    Args:
        trends: What to report.
        cluster: One of its clusters.
        values: Its metric, float64 of shape (L, P).
    """
    numbers = [value for value in cluster.median if value is not None]
    confidences, names = trends.confidence, trends.series.names
    return ClusterLine(
        id=cluster.id,
        sign=sign_of(cluster.id),
        summary=name_trend(cluster),
        is_drawn=has_curve(cluster, values, linear=trends.options.linear or bool((values < 0).any())),
        kind=cluster.kind,
        makeup=cluster.makeup,
        size=cluster.size,
        members=tuple(
            MemberLine(row, names[row], float(confidences[row]) if confidences[row] < SURE else None)
            for row in cluster.members[:MAX_NAMES]
        ),
        median=float(np.median(numbers)) if numbers else None,
    )


def describe_unsure(trends: Trends) -> tuple[UnsureLine, ...]:
    """Rows whose confidence is low, the least sure first."""
    names = trends.series.names
    return tuple(
        UnsureLine(layer.index, names[layer.index], sign_of(layer.cluster), layer.confidence)
        for layer in find_unsure(trends)
    )


def describe_phases(trends: Trends) -> tuple[PhaseLine, ...]:
    """The parts of the training, in order."""
    return tuple(
        PhaseLine(describe_range(trends.series, phase.first, phase.last), describe_phase(trends.series, phase))
        for phase in trends.phases
    )


def describe_windows(trends: Trends) -> tuple[WindowLine, ...]:
    """The sliding windows, in order."""
    return tuple(
        WindowLine(
            describe_range(trends.series, window.first, window.last),
            len(np.unique(window.labels[window.labels >= 0])),
            len(window.moved),
            window.text,
        )
        for window in trends.windows
    )
