"""K-means, and how sure it is: labels, confidence, and how many clusters there are."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
LabelArray = NDArray[np.int64]

_MOST_COMPARED: Final = 4000
_DISTANCES_MB: Final = 16


@contextmanager
def limit_threads() -> Iterator[None]:
    """Run linear algebra and k-means in one thread.

    A layer is a point and there are hundreds, so threads cost more than they save: 20 times more where cores are busy.
    One thread also gives the same bits on every machine with the same libraries.
    """
    import sklearn
    import sklearn.cluster  # only libraries that are loaded can be limited
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # it ships no types

    # What is clustered here is finite: to look again in each of hundreds of fits takes a good part of their time.
    with threadpool_limits(1), sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        yield


@dataclass(frozen=True, slots=True, eq=False)
class KMeansFit:
    """A k-means clustering of n points in K dimensions.

    Attributes:
        labels: int64 of shape (n,), from 0 without holes.
        centres: float64 of shape (k, K).
        inertia: Sum of squared distances to the own centre.
    """

    labels: LabelArray
    centres: FloatArray
    inertia: float

    @property
    def k(self) -> int:
        """Number of clusters."""
        return len(self.centres)

    @property
    def sizes(self) -> LabelArray:
        """Members of each cluster, int64 of shape (k,)."""
        return np.bincount(self.labels, minlength=self.k)


def fit_kmeans(points: FloatArray, k: int, seed: int, starts: int = 10, weights: FloatArray | None = None) -> KMeansFit:
    """Cluster points by k-means (k-means++, the best of some starts, at most 300 iterations).

    Args:
        points: float64 of shape (n, K), finite, n >= 1.
        k: Number of clusters; fewer are made where there are fewer distinct points.
        seed: Seed of the starts.
        starts: Number of starts.
        weights: float64 of shape (n,), positive: how much each point counts; None for all alike.

    Returns:
        The best of them.
    """
    from sklearn.cluster import KMeans

    # Points that differ in one coordinate are distinct: that of all is found only where it decides.
    distinct = len(np.unique(points[:, :1]))
    if distinct < k:
        distinct = len(np.unique(points, axis=0))
    model = KMeans(min(k, distinct), init="k-means++", n_init=starts, max_iter=300, random_state=seed)
    with warnings.catch_warnings():
        # Points that differ by less than rounding end up in one cluster; the ids are closed up below.
        warnings.simplefilter("ignore")
        labels = model.fit(points, sample_weight=weights).labels_
    ids, labels = np.unique(labels, return_inverse=True)
    return KMeansFit(labels.astype(np.int64), np.asarray(model.cluster_centers_)[ids], float(model.inertia_))


def score_silhouette(points: FloatArray, labels: LabelArray) -> float:
    """Mean silhouette of points, of 4000 of them where there are more.

    Args:
        points: float64 of shape (n, K).
        labels: int64 of shape (n,), two or more clusters.

    Returns:
        -1..1; -1 where there is nothing to compare: one cluster, or as many as points.

    References:
        Rousseeuw 1987.
    """
    import sklearn
    from sklearn.metrics import silhouette_score

    part = np.unique(np.linspace(0, len(points) - 1, min(len(points), _MOST_COMPARED)).astype(np.intp))
    points, labels = points[part], labels[part]
    if not 1 < len(np.unique(labels)) < len(labels):
        return -1.0
    # Distances of all pairs of rows, so many at a time: the same to the bit, and by default a GB of them.
    with sklearn.config_context(working_memory=_DISTANCES_MB):
        return float(silhouette_score(points, labels))


def weigh(noise: FloatArray) -> FloatArray:
    """How much rows count: inversely to the variance of their noise, with a mean of 1; float64 of shape (n,)."""
    if np.ptp(noise) == 0:
        return np.ones(len(noise))
    weights: FloatArray = noise**-2.0
    weights /= weights.mean()
    return weights


def spread_within(
    points: FloatArray, labels: LabelArray, floor: float = 0.0, weights: FloatArray | None = None
) -> float:
    """Standard deviation of points about their own centre, along one axis, pooled over clusters.

    Args:
        points: float64 of shape (n, K).
        labels: int64 of shape (n,), from 0 without holes.
        floor: The least that it can be: the noise known from elsewhere.
        weights: As for `fit_kmeans`, with a mean of 1.

    Returns:
        The spread, in the unit of the points; the floor where nothing is left to estimate it from.
    """
    centres = mean_by_label(points, labels, weights)
    free = (len(points) - len(centres)) * points.shape[1]
    if free <= 0:
        return floor
    squares = (points - centres[labels]) ** 2
    if weights is not None:
        squares = squares * weights[:, None]
    return max(floor, float(np.sqrt(np.sum(squares) / free)))


def mean_by_label(points: FloatArray, labels: LabelArray, weights: FloatArray | None = None) -> FloatArray:
    """Centres of clusters, float64 of shape (k, K)."""
    shares = np.zeros((int(labels.max()) + 1, len(points)))
    shares[labels, np.arange(len(points))] = 1.0 if weights is None else weights
    centres: FloatArray = shares @ points / shares.sum(axis=1, keepdims=True)
    return centres


def measure_confidence(points: FloatArray, labels: LabelArray, noise: FloatArray | None = None) -> FloatArray:
    """How clearly each point belongs to its cluster.

    The probability of its own cluster, were the clusters equally likely and round, all with the spread that is seen
    within them, and each point with its own noise besides.

    Args:
        points: float64 of shape (n, K).
        labels: int64 of shape (n,), from 0 without holes.
        noise: float64 of shape (n,): standard deviation of each point's noise along each axis, which no spread falls
            below; None where none is known.

    Returns:
        float64 of shape (n,) in 0..1; 1 where there is one cluster only.
    """
    noise = np.zeros(len(points)) if noise is None else noise
    weights = weigh(noise)
    usual = float(np.sqrt(np.mean(weights * noise**2)))
    centres = mean_by_label(points, labels, weights)
    spread = max(spread_within(points, labels, usual, weights), np.finfo(float).tiny ** 0.25)
    variance = np.maximum(noise**2, spread**2 + noise**2 - usual**2)[:, None]
    square = ((points[:, None, :] - centres[None]) ** 2).sum(axis=-1) / (2 * variance)
    own = square[np.arange(len(points)), labels]
    # A point nearer to another centre than to its own would overflow nothing but its own share.
    likelihood = np.exp(-np.clip(square - own[:, None], -700.0, 700.0))
    share: FloatArray = 1.0 / likelihood.sum(axis=1)
    return share
