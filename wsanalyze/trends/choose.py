"""How many trends there are, where one is an answer like any other."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from wsanalyze.trends.cluster import (
    FloatArray,
    KMeansFit,
    LabelArray,
    fit_kmeans,
    mean_by_label,
    spread_within,
    weigh,
)

MAX_CLUSTERS: Final = 12
LEAST_SEPARATION: Final = 4.0
"""Distance of two centres over the spread along the line between them. The halves of a normal distribution lie 2.6
apart by this measure, those of an even one 3.5: below 4 there are no two heaps, only one that was cut."""

_CHANCE_WEIGHT: Final = 2.0
_POOLED_WEIGHT: Final = 10.0
NUM_NULLS: Final = 39
LEAST_P: Final = 1 / (1 + NUM_NULLS)
"""The least share that so few simulated tables can give: none of them is clustered as tightly."""

NULL_LEVEL: Final = 0.05
_MAX_POINTS: Final = 2000
_STARTS: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A clustering whose number of clusters was chosen.

    Attributes:
        labels: int64 of shape (n,), from 0 without holes.
        p_value: See `compare_with_one_trend`; None where only one cluster was considered.
    """

    labels: LabelArray
    p_value: float | None = None


def choose_clusters(points: FloatArray, noise: FloatArray, seed: int, *, compare: bool = True) -> Choice:
    """Cluster points into as many clusters as lie apart, perhaps one.

    The largest k is taken at which every two clusters are separated. A clustering into two or more must then be
    tighter than those of 39 simulated tables that have one trend. Of more than 2000 points, 2000 decide.

    Args:
        points: float64 of shape (n, K), finite, n >= 1.
        noise: float64 of shape (n,): standard deviation of the noise of each point along each axis.
        seed: Seed of starts and simulated tables.
        compare: Whether to compare with tables that have one trend.

    Returns:
        The clustering; some of its clusters may have one member only.
    """
    part = np.unique(np.linspace(0, len(points) - 1, min(len(points), _MAX_POINTS)).astype(np.intp))
    some, its_noise = points[part], noise[part]
    weights = weigh(its_noise)
    for k in range(min(MAX_CLUSTERS, len(some) // 2), 1, -1):
        fit = fit_kmeans(some, k, seed, _STARTS, weights)
        if fit.k == k and measure_separation(some, fit.labels, its_noise) >= LEAST_SEPARATION:
            p_value = compare_with_one_trend(some, fit.labels, its_noise, seed) if compare else None
            if p_value is not None and p_value > NULL_LEVEL:
                return Choice(np.zeros(len(points), dtype=np.int64), p_value)
            return Choice(_assign(points, fit), p_value)
    return Choice(np.zeros(len(points), dtype=np.int64))


def _assign(points: FloatArray, fit: KMeansFit) -> LabelArray:
    """The nearest centre of each point, int64 of shape (n,); a centre keeps one point at least, its own."""
    if len(points) == len(fit.labels):
        return fit.labels
    from sklearn.metrics import pairwise_distances_argmin

    return np.asarray(pairwise_distances_argmin(points, fit.centres), dtype=np.int64)


def measure_separation(points: FloatArray, labels: LabelArray, noise: FloatArray) -> float:
    """Separation of the two clusters that are least apart.

    Args:
        points: float64 of shape (n, K).
        labels: int64 of shape (n,): their clusters, two or more, from 0 without holes.
        noise: float64 of shape (n,): standard deviation of the noise of each point along each axis, which no spread
            falls below.

    Returns:
        Distance of the two centres, in units of the spread of their members along the line between them. Noisy members
        count less. The spread of a small cluster is drawn towards that of all, and the distance of small ones is taken
        down by what chance adds.
    """
    weights = weigh(noise)
    centres = mean_by_label(points, labels, weights)
    floor = float(np.mean(weights * noise**2))
    pooled = spread_within(points, labels, float(np.sqrt(floor)), weights) ** 2
    # What the places of centres are worth: that of noisy rows alone is not known well.
    doubts = floor / np.bincount(labels, weights)
    scatter, sizes = _scatter_within(points - centres[labels], labels, weights), np.bincount(labels)
    first, second = np.triu_indices(len(centres), 1)
    lines = centres[second] - centres[first]
    distances = np.sqrt(np.sum(lines**2, axis=1))
    lines /= np.maximum(distances, np.finfo(float).tiny)[:, None]
    squares = np.einsum("pi,pij,pj->p", lines, scatter[first] + scatter[second], lines)
    numbers = sizes[first] + sizes[second]
    variances = (squares + _POOLED_WEIGHT * pooled) / (numbers - 2 + _POOLED_WEIGHT)
    widest = np.maximum(variances, max(floor, np.finfo(float).tiny))
    widest = np.maximum(widest, doubts[first] + doubts[second])
    # k-means pulls few points further apart by chance than many.
    return float(np.min(distances / ((1 + _CHANCE_WEIGHT / numbers) * np.sqrt(widest)), initial=np.inf))


def _scatter_within(off: FloatArray, labels: LabelArray, weights: FloatArray) -> FloatArray:
    """Weighted sums of products of coordinates within each cluster, float64 of shape (k, K, K)."""
    off = off * np.sqrt(weights)[:, None]
    parts = [off[labels == label] for label in range(int(labels.max()) + 1)]
    return np.array([part.T @ part for part in parts])


def compare_with_one_trend(points: FloatArray, labels: LabelArray, noise: FloatArray, seed: int) -> float:
    """How often tables with one trend are clustered as tightly, or as far apart; what is rarer.

    Args:
        points: float64 of shape (n, K).
        labels: int64 of shape (n,): their clusters, two or more, from 0 without holes.
        noise: float64 of shape (n,): standard deviation of the noise of each point along each axis.
        seed: Seed of the simulated tables.

    Returns:
        The share, in 0..1, among 39 simulated tables and this one: points about one centre, with the same spread along
        each axis beside their own noise.

    References:
        Liu, Hayes, Nobel and Marron, Statistical significance of clustering (SigClust), JASA 2008.
    """
    random = np.random.default_rng(seed)
    weights = weigh(noise)
    total = _scatter(points, weights)
    centres = mean_by_label(points, labels, weights)
    within = float(np.sum(weights[:, None] * (points - centres[labels]) ** 2))
    # Principal components are uncorrelated, so their normal null is one normal distribution an axis.
    own = np.maximum(0.0, total / len(points) - np.mean(weights * noise**2))
    scales = np.sqrt(own[None, :] + noise[:, None] ** 2)
    if np.ptp(noise) == 0:
        scales = np.sqrt(total / len(points))[None, :]
    apart = measure_separation(points, labels, noise)
    tighter = further = 0
    for _ in range(NUM_NULLS):
        null = random.normal(size=points.shape) * scales
        null_fit = fit_kmeans(null, len(centres), seed, starts=2, weights=weights)
        tighter += null_fit.inertia * total.sum() <= within * _scatter(null, weights).sum()
        if null_fit.k > 1:
            further += measure_separation(null, null_fit.labels, noise) >= apart
    return float(1 + min(tighter, further)) / (1 + NUM_NULLS)


def _scatter(points: FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted sum of squares about the mean, of each axis."""
    off = points - np.average(points, axis=0, weights=weights)
    squares: FloatArray = np.sum(weights[:, None] * off**2, axis=0)
    return squares
