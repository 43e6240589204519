"""Well-known methods by their names, on the curves and components that `robust` compares; without its judgement.

They cluster every row, spikes that show at once tamed. K-means and hierarchical clustering choose among two or more
clusters by the silhouette and cannot find that there is one trend; a mixture of normal distributions can, by BIC.

References:
    Rousseeuw 1987 (silhouette); Schwarz 1978 (BIC); Campello, Moulavi and Sander 2013 (HDBSCAN).
"""

import warnings
from collections.abc import Callable
from typing import Final

import numpy as np

from wsanalyze.series import ChangeSeries
from wsanalyze.trends.base import Partition, TrendOptions
from wsanalyze.trends.cluster import FloatArray, LabelArray, fit_kmeans, measure_confidence, score_silhouette
from wsanalyze.trends.features import Curves
from wsanalyze.trends.moving import Moving, cluster_moving, reduce_curves

_MOST_CLUSTERS: Final = 12
_LEAST_MEMBERS: Final = 3
_STARTS: Final = 5

Labelling = Callable[[FloatArray, int, int], LabelArray]
"""From points, a number of clusters and a seed to labels from 0."""


def find_kmeans_trends(series: ChangeSeries, options: TrendOptions) -> Partition:
    """K-means, of as many clusters as have the best silhouette; see `cluster_moving`."""
    return cluster_moving(series, options, _by_silhouette(lambda points, k, seed: fit_kmeans(points, k, seed).labels))


def find_agglomerative_trends(series: ChangeSeries, options: TrendOptions) -> Partition:
    """Ward's hierarchical clustering, of as many clusters as have the best silhouette; see `cluster_moving`."""
    return cluster_moving(series, options, _by_silhouette(_merge))


def find_gmm_trends(series: ChangeSeries, options: TrendOptions) -> Partition:
    """A mixture of normal distributions with one covariance, of as many as have the least BIC; see `cluster_moving`.

    The confidence of a row is the posterior probability of its own.
    """
    return cluster_moving(series, options, _mix)


def find_hdbscan_trends(series: ChangeSeries, options: TrendOptions) -> Partition:
    """HDBSCAN, which chooses by density and leaves rows in no cluster; see `cluster_moving`.

    A number of clusters cannot be asked of it. Where it finds none at all, there is one trend.
    """
    return cluster_moving(series, options, _by_density)


def _by_silhouette(label: Labelling) -> Callable[[Curves, TrendOptions, int | None], Moving]:
    def cluster(curves: Curves, options: TrendOptions, asked: int | None) -> Moving:
        features, points, components = reduce_curves(curves, options)
        if asked is not None or len(points) <= _LEAST_MEMBERS or not np.ptp(points, axis=0).any():
            labels = label(points, min(asked or 1, len(points)), options.seed)
        else:
            most = min(_MOST_CLUSTERS, len(points) - 1)
            found = [_close_up(label(points, k, options.seed)) for k in range(2, most + 1)]
            labels = max(found, key=lambda labels: score_silhouette(points, labels))
        labels = _close_up(labels)
        return Moving(curves, features, points, components, labels, measure_confidence(points, labels))

    return cluster


def _merge(points: FloatArray, k: int, _seed: int) -> LabelArray:
    from sklearn.cluster import AgglomerativeClustering

    if k == 1 or len(points) == 1:
        return np.zeros(len(points), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as many rows as components look to SciPy like distances
        return np.asarray(AgglomerativeClustering(k, linkage="ward").fit(points).labels_, dtype=np.int64)


def _mix(curves: Curves, options: TrendOptions, asked: int | None) -> Moving:
    from sklearn.mixture import GaussianMixture

    features, points, components = reduce_curves(curves, options)
    # No heap is narrower than the noise.
    floor = float(np.median(curves.noise)) ** 2
    most = max(1, min(_MOST_CLUSTERS, len(points) // _LEAST_MEMBERS))
    numbers = range(1, most + 1) if asked is None else (min(asked, len(points)),)
    labels, confidence = np.zeros(len(points), dtype=np.int64), np.ones(len(points))
    if len(points) > 1:
        models = []
        for k in numbers:
            model = GaussianMixture(
                k, covariance_type="tied", n_init=_STARTS, reg_covar=floor, random_state=options.seed
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what has not converged after 100 rounds has a worse BIC, no more
                models.append(model.fit(points))
        best = min(models, key=lambda model: model.bic(points))
        labels, confidence = _close_up(best.predict(points)), best.predict_proba(points).max(axis=1)
    return Moving(curves, features, points, components, labels, confidence)


def _by_density(curves: Curves, options: TrendOptions, asked: int | None) -> Moving:
    from sklearn.cluster import HDBSCAN

    features, points, components = reduce_curves(curves, options)
    labels, confidence = np.full(len(points), -1, dtype=np.int64), np.zeros(len(points))
    if len(points) > _LEAST_MEMBERS and asked != 1:
        model = HDBSCAN(min_cluster_size=_LEAST_MEMBERS, copy=True).fit(points)
        labels, confidence = np.asarray(model.labels_, dtype=np.int64), np.asarray(model.probabilities_)
    if labels.max() < 0:
        labels, confidence = np.zeros(len(points), dtype=np.int64), np.ones(len(points))
    confidence = np.where(labels < 0, np.nan, confidence)
    more = asked is not None and asked <= int(labels.max())
    notes = (
        (f"HDBSCAN chooses the number of clusters itself, and made more than the {asked} asked for.",) if more else ()
    )
    return Moving(curves, features, points, components, labels, confidence, notes=notes)


def _close_up(labels: LabelArray) -> LabelArray:
    """Labels without holes."""
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)
