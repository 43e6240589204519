"""Checkpoints that are not equally far apart: what that does to changes, and what to say of it. NumPy only.

A longer way makes a larger change: by the root of its steps where they go to and fro as in a random walk, by their
number where they go straight on. All rows share the distances, so what tells one row's course from another's stays as
it is; what is said of a single course, or of a single change, may be a matter of distance alone.
"""

from typing import Final

import numpy as np

from wsanalyze.metrics import METRICS
from wsanalyze.series import ChangeSeries
from wsanalyze.trends.cluster import FloatArray

_UNEVEN_RATIO: Final = 4.0


def step_distances(series: ChangeSeries) -> FloatArray:
    """Steps from one side of each change to the other.

    Returns:
        float64 of shape (P,). A distance that is not known (a table does not tell where its first change starts, a
        training that starts over has none there) is that of the nearest change with one; all are NaN where none is.
    """
    distances = series.step_gaps
    known = np.flatnonzero(np.isfinite(distances))
    if not len(known):
        return distances
    nearest = np.abs(np.arange(len(distances))[:, None] - known).argmin(axis=1)
    filled: FloatArray = distances[known[nearest]]
    return filled


def is_uneven(distances: FloatArray) -> bool:
    """Whether distances differ so much, by a factor of 4, that changes would differ by one of 2 for that alone."""
    known = distances[np.isfinite(distances)]
    return len(known) > 1 and bool(known.max() >= _UNEVEN_RATIO * known.min())


def root_distances(series: ChangeSeries) -> FloatArray:
    """How many times as large as usual each change would be for its distance alone, were it a random walk.

    Returns:
        float64 of shape (P,): root of the distance over the median one; 1 for all where distances are even or unknown.
    """
    distances = step_distances(series)
    if not is_uneven(distances):
        return np.ones(len(distances))
    ratio: FloatArray = np.sqrt(distances / np.median(distances))
    return ratio


def grows_with_distance(metric: str) -> bool:
    """Whether values of a metric are amounts of successive changes, not divided by steps."""
    if metric not in METRICS:
        return True  # given by a table, which holds changes
    about = METRICS[metric]
    return about.span is None and not about.needs_steps and about.unit != "rank"


def note_spacing(series: ChangeSeries, metric: str) -> tuple[str, ...]:
    """Say that distances are uneven, where that makes some changes larger.

    Args:
        series: P changes.
        metric: Name of the metric that is looked at.

    Returns:
        One sentence; none where distances are even or unknown, or where the metric does not grow with them.
    """
    distances = step_distances(series)
    if not is_uneven(distances) or not grows_with_distance(metric):
        return ()
    text = (
        f"Checkpoints are unevenly spaced ({distances.min():.0f} to {distances.max():.0f} steps apart): a larger "
        "change may only be a longer way"
    )
    return (f"{text}.",) if series.given else (f"{text}; --metric rate divides by the root of the distance.",)
