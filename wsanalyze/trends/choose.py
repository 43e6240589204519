"""How many trends there are, where one is an answer like any other."""

from typing import Final

import numpy as np

from wsanalyze.trends.cluster import FloatArray, KMeansFit, fit_kmeans, mean_by_label, spread_within

MAX_CLUSTERS: Final = 12
LEAST_SEPARATION: Final = 4.0
"""Distance of two centres over the spread along the line between them. The halves of a normal distribution lie 2.6
apart by this measure, those of an even one 3.5: below 4 there are no two heaps, only one that was cut."""

_CHANCE_WEIGHT: Final = 2.0
_POOLED_WEIGHT: Final = 10.0
_NUM_NULLS: Final = 39
_NULL_LEVEL: Final = 0.05


def choose_clusters(points: FloatArray, noise: float, seed: int) -> KMeansFit:
    """Cluster points into as many clusters as lie apart, perhaps one.

    The largest k is taken at which every two clusters are separated. A clustering into two or more must then be
    tighter than those of 39 simulated tables that have one trend: normal points of the same covariance.

    Args:
        points: float64 of shape (n, K), finite, n >= 1.
        noise: Standard deviation of the noise along each axis.
        seed: Seed of starts and simulated tables.

    Returns:
        The clustering; some of its clusters may have one member only.
    """
    one = fit_kmeans(points, 1, seed)
    for k in range(min(MAX_CLUSTERS, len(points) // 2), 1, -1):
        fit = fit_kmeans(points, k, seed)
        if fit.k == k and measure_separation(points, fit, noise) >= LEAST_SEPARATION:
            return fit if beats_one_trend(points, fit, one.inertia, seed) else one
    return one


def measure_separation(points: FloatArray, fit: KMeansFit, noise: float) -> float:
    """Separation of the two clusters that are least apart.

    Args:
        points: float64 of shape (n, K).
        fit: Their clustering, k >= 2.
        noise: Standard deviation of the noise along each axis, which no spread falls below.

    Returns:
        Distance of the two centres, in units of the spread of their members along the line between them. The spread
        of a small cluster is drawn towards that of all, and the distance of small ones is taken down by what chance
        adds.
    """
    centres = mean_by_label(points, fit.labels)
    pooled = spread_within(points, fit.labels, noise) ** 2
    least = np.inf
    for first in range(fit.k):
        for second in range(first + 1, fit.k):
            line = centres[second] - centres[first]
            distance = float(np.linalg.norm(line))
            pair = (fit.labels == first) | (fit.labels == second)
            along = (points[pair] - centres[fit.labels[pair]]) @ line / distance
            number = np.count_nonzero(pair)
            variance = (np.sum(along**2) + _POOLED_WEIGHT * pooled) / (number - 2 + _POOLED_WEIGHT)
            # k-means pulls few points further apart by chance than many.
            by_chance = 1 + _CHANCE_WEIGHT / number
            least = min(least, distance / (by_chance * np.sqrt(max(variance, noise**2))))
    return float(least)


def beats_one_trend(points: FloatArray, fit: KMeansFit, inertia_of_one: float, seed: int) -> bool:
    """Whether a clustering is tighter than those of tables with one trend.

    Args:
        points: float64 of shape (n, K).
        fit: Their clustering.
        inertia_of_one: Inertia of all points about their mean.
        seed: Seed of the simulated tables.

    Returns:
        True where at most one in twenty tables of normal points with the same covariance is clustered as tightly.

    References:
        Liu, Hayes, Nobel and Marron, Statistical significance of clustering (SigClust), JASA 2008.
    """
    random = np.random.default_rng(seed)
    scales = points.std(axis=0)
    tighter = 0
    for _ in range(_NUM_NULLS):
        # Principal components are uncorrelated, so their normal null is one normal distribution an axis.
        null = random.normal(size=points.shape) * scales
        total = float(np.sum((null - null.mean(axis=0)) ** 2))
        null_fit = fit_kmeans(null, fit.k, seed, starts=2)
        tighter += null_fit.inertia / total <= fit.inertia / inertia_of_one
    return (1 + tighter) / (1 + _NUM_NULLS) <= _NULL_LEVEL
