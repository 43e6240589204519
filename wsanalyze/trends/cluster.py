"""K-means, and how sure it is: labels, confidence, and how many clusters there are."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
LabelArray = NDArray[np.int64]


@contextmanager
def limit_threads() -> Iterator[None]:
    """Run linear algebra and k-means in one thread.

    A layer is a point and there are hundreds, so threads cost more than they save: 20 times more where cores are busy.
    One thread also gives the same bits on every machine with the same libraries.
    """
    import sklearn.cluster  # noqa: F401 - only libraries that are loaded can be limited
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # it ships no types

    with threadpool_limits(1):
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


def fit_kmeans(points: FloatArray, k: int, seed: int, starts: int = 10) -> KMeansFit:
    """Cluster points by k-means (k-means++, the best of some starts, at most 300 iterations).

    Args:
        points: float64 of shape (n, K), finite, n >= 1.
        k: Number of clusters; fewer are made where there are fewer distinct points.
        seed: Seed of the starts.
        starts: Number of starts.

    Returns:
        The best of them.
    """
    from sklearn.cluster import KMeans

    distinct = len(np.unique(points, axis=0))
    model = KMeans(min(k, distinct), init="k-means++", n_init=starts, max_iter=300, random_state=seed)
    with warnings.catch_warnings():
        # Points that differ by less than rounding end up in one cluster; the ids are closed up below.
        warnings.simplefilter("ignore")
        labels = model.fit(points).labels_
    ids, labels = np.unique(labels, return_inverse=True)
    return KMeansFit(labels.astype(np.int64), np.asarray(model.cluster_centers_)[ids], float(model.inertia_))


def spread_within(points: FloatArray, labels: LabelArray, floor: float = 0.0) -> float:
    """Standard deviation of points about their own centre, along one axis, pooled over clusters.

    Args:
        points: float64 of shape (n, K).
        labels: int64 of shape (n,), from 0 without holes.
        floor: The least that it can be: the noise known from elsewhere.

    Returns:
        The spread, in the unit of the points; the floor where nothing is left to estimate it from.
    """
    centres = mean_by_label(points, labels)
    free = (len(points) - len(centres)) * points.shape[1]
    if free <= 0:
        return floor
    return max(floor, float(np.sqrt(np.sum((points - centres[labels]) ** 2) / free)))


def mean_by_label(points: FloatArray, labels: LabelArray) -> FloatArray:
    """Centres of clusters, float64 of shape (k, K)."""
    return np.array([points[labels == label].mean(axis=0) for label in range(int(labels.max()) + 1)])


def measure_confidence(points: FloatArray, labels: LabelArray, floor: float = 0.0) -> FloatArray:
    """How clearly each point belongs to its cluster.

    The probability of its own cluster, were the clusters equally likely and round, all with the spread that is seen
    within them.

    Args:
        points: float64 of shape (n, K).
        labels: int64 of shape (n,), from 0 without holes.
        floor: The least spread to assume.

    Returns:
        float64 of shape (n,) in 0..1; 1 where there is one cluster only.
    """
    centres = mean_by_label(points, labels)
    spread = max(spread_within(points, labels, floor), np.finfo(float).tiny ** 0.25)
    square = ((points[:, None, :] - centres[None]) ** 2).sum(axis=-1) / (2 * spread**2)
    own = square[np.arange(len(points)), labels]
    # A point nearer to another centre than to its own would overflow nothing but its own share.
    likelihood = np.exp(-np.clip(square - own[:, None], -700.0, 700.0))
    share: FloatArray = 1.0 / likelihood.sum(axis=1)
    return share
