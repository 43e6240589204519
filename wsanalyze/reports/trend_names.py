"""What reports call trends: a single change has none, but levels; where nothing changed there is none at all."""

import numpy as np
from numpy.typing import NDArray

from wsanalyze.trends.base import Cluster, Trends
from wsanalyze.trends.words import say_number


def name_trend(cluster: Cluster) -> str:
    """The trend of a cluster in words; of a single change its level, which is all that tells clusters apart."""
    if len(cluster.median) == 1 and cluster.median[0]:
        return f"near {say_number(cluster.median[0])}"
    return cluster.summary


def count_trends(trends: Trends) -> tuple[int, str]:
    """How many trends there are, and the noun for one: "level" where there is but one change."""
    values = trends.values
    if not has_numbers(values):
        return 0, "trend"
    return len(trends.clusters), "level" if values.shape[1] == 1 else "trend"


def is_still(trends: Trends) -> bool:
    """Whether no number is other than 0."""
    return not has_numbers(trends.values)


def has_numbers(values: NDArray[np.float64]) -> bool:
    """Whether a number is other than 0."""
    return bool((np.isfinite(values) & (values != 0)).any())


def has_curve(cluster: Cluster, values: NDArray[np.float64], *, linear: bool) -> bool:
    """Whether a member has a number that a plot can show: 0 has no logarithm.

    Args:
        cluster: The cluster.
        values: The metric of all rows, float64 of shape (L, P).
        linear: Whether it is shown as it is and not by logarithms, as where some of it is negative.
    """
    own = values[list(cluster.members)]
    return bool((np.isfinite(own) if linear else own > 0).any())
