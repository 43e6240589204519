"""The method `robust`, the default: what moves alike in logarithms, whatever its size, noise and spikes.

References:
    docs/method.md, "Trends".
"""

from typing import Final

import numpy as np

from wsanalyze.series import ChangeSeries
from wsanalyze.trends.base import Partition, TrendOptions
from wsanalyze.trends.choose import Choice, choose_clusters
from wsanalyze.trends.cluster import fit_kmeans, measure_confidence, weigh
from wsanalyze.trends.features import Curves, take_features
from wsanalyze.trends.moving import Moving, cluster_moving, count_columns
from wsanalyze.trends.outliers import find_odd_groups, find_strange, find_strays, measure_loneliness
from wsanalyze.trends.reduce import find_components
from wsanalyze.trends.taming import tame_again

_MAX_ROUNDS: Final = 5
_TWINS: Final = 1.3
_ALONE_RATIO: Final = 1.15
_ALONE_DEVIATIONS: Final = 3.0


def find_robust_trends(series: ChangeSeries, options: TrendOptions) -> Partition:
    """Cluster rows by the course of their changes.

    Rows that are like no other are set aside, principal components above the noise are kept, and k-means finds as many
    clusters as lie apart, perhaps one (`choose_clusters`). With the clusters known, spikes and noise are judged anew by
    the course that each row follows, and rows are clustered once more; those that follow no course are outliers.

    Args:
        series: L rows and P changes.
        options: See `cluster_moving`.

    Returns:
        The partition; see `cluster_moving`.
    """
    return cluster_moving(series, options, _cluster_twice)


def _cluster_twice(curves: Curves, options: TrendOptions, asked: int | None) -> Moving:
    """Cluster, look again at what is a spike now that the clusters are known, and cluster once more."""
    first = _cluster_curves(curves, options, asked, final=False)
    return _cluster_curves(tame_again(curves, first.labels), options, asked, final=True)


def _cluster_curves(curves: Curves, options: TrendOptions, asked: int | None, *, final: bool) -> Moving:
    features, noise = take_features(curves, options.features), curves.noise
    nearest, loneliness = measure_loneliness(features, noise)
    # Two that go together are a trend of their own, if they are one at all; else they stray.
    strange = find_strange(loneliness) & (nearest > _TWINS)
    # The last of those that differ by degrees from the others is far off their course, but not alone.
    alone = find_strange(loneliness, _ALONE_RATIO, _ALONE_DEVIATIONS)
    odd = np.zeros(len(features), dtype=np.bool_)
    for _ in range(_MAX_ROUNDS):
        usual = ~strange
        components = find_components(features[usual], noise[usual])
        points = components.project(features, count_columns(components, curves))
        if asked or components.num_signals == 0:
            fit = fit_kmeans(points[usual], asked or 1, options.seed, weights=weigh(noise[usual]))
            choice = Choice(fit.labels)
        else:
            # Beside the signals lie axes for the picture only: rows are spread along them by more than their noise.
            signals = points[usual, : components.num_signals]
            choice = choose_clusters(signals, noise[usual], options.seed, compare=final)
        labels = np.full(len(features), -1, dtype=np.int64)
        labels[usual] = choice.labels
        again = find_strays(features, noise, labels, curves.spikes.sum(axis=1)) & alone
        if asked is None:
            # What was no cluster stays set aside: it would be one again.
            odd[usual] |= find_odd_groups(points[usual], choice.labels)
            again |= odd
        if np.array_equal(again, strange) or again.all():
            break
        strange = again
    confidence = np.full(len(features), np.nan)
    confidence[usual] = measure_confidence(points[usual], choice.labels, noise[usual])
    return Moving(curves, features, points, components, labels, confidence, choice.p_value)
