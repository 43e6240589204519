"""What reports call trends: a single change has none, but levels; where nothing changed there is none at all."""

import numpy as np

from wsanalyze.trends.base import Cluster, Trends
from wsanalyze.trends.words import say_number


def name_trend(cluster: Cluster) -> str:
    """The trend of a cluster in words; of a single change its level, which is all that tells clusters apart."""
    if len(cluster.median) == 1 and cluster.median[0]:
        return f"near {say_number(cluster.median[0])}"
    return cluster.summary


def count_trends(trends: Trends) -> tuple[int, str]:
    """How many trends there are, and the noun for one: "level" where there is but one change."""
    if is_still(trends):
        return 0, "trend"
    return len(trends.clusters), "level" if trends.values.shape[1] == 1 else "trend"


def is_still(trends: Trends) -> bool:
    """Whether no number is other than 0."""
    return not np.any(np.isfinite(trends.values) & (trends.values != 0))


def has_curve(trends: Trends, cluster: Cluster) -> bool:
    """Whether a member has a number that a plot can show: 0 has no logarithm."""
    values = trends.values[list(cluster.members)]
    known = np.isfinite(values)
    return bool((known if trends.options.linear or (trends.values < 0).any() else known & (values > 0)).any())
