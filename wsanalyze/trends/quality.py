"""How far clusters can be trusted."""

from typing import Final

import numpy as np

from wsanalyze.trends.base import Partition, Quality, TrendOptions
from wsanalyze.trends.cluster import FloatArray, LabelArray, fit_kmeans, score_silhouette
from wsanalyze.trends.noise import BoolArray

_NUM_RESAMPLES: Final = 10
_SHARE: Final = 0.8
_STARTS: Final = 3
_WELL_APART: Final = 0.5
_APART: Final = 0.25
_STABLE: Final = 0.9
_FAIRLY_STABLE: Final = 0.7


def measure_quality(partition: Partition, options: TrendOptions, values: FloatArray) -> Quality:
    """Measure how far the clusters of a partition can be trusted.

    Args:
        partition: What a method found.
        options: How it was found; `seed` is that of the resampling as well.
        values: The metric that was clustered, float64 of shape (L, P).

    Returns:
        Silhouette and stability over the rows that have points; None where those rows are in one cluster, or each in
        one of its own.

    References:
        Rousseeuw 1987 (silhouette); Hubert and Arabie 1985 (adjusted Rand index).
    """
    k = int(partition.labels.max(initial=-1)) + 1
    judged = np.flatnonzero((partition.labels >= 0) & np.isfinite(partition.points).all(axis=1))
    # Rows in an order of their own, as in the methods: theirs in the model decides nothing, not even the last bit.
    judged = judged[np.lexsort(partition.features[judged].T[::-1])] if judged.size else judged
    labels = partition.labels[judged]
    num_judged = len(np.unique(labels))
    silhouette = stability = None
    if 1 < num_judged < len(labels):
        silhouette = score_silhouette(partition.points[judged], labels)
        stability = measure_stability(partition.features[judged], labels, options.seed)
    moves: BoolArray = np.any(np.isfinite(values) if options.linear else values > 0, axis=1)
    text = (
        _describe_several(k, silhouette, stability, options.noun)
        if k > 1
        else _describe_one(partition.labels, moves, options)
    )
    return Quality(k, k > 1, silhouette, stability, text)


def measure_stability(features: FloatArray, labels: LabelArray, seed: int) -> float:
    """Mean adjusted Rand index of clusters against those of resampled data.

    Each of 10 resamples keeps four fifths of the rows and of the columns, drawn without replacement.

    Args:
        features: float64 of shape (n, F), finite.
        labels: int64 of shape (n,): their clusters.
        seed: Seed of the draws.

    Returns:
        1 where the clusters are always the same, about 0 where they are made anew each time.
    """
    from sklearn.metrics import adjusted_rand_score

    random = np.random.default_rng(seed)
    k = len(np.unique(labels))
    scores = []
    for _ in range(_NUM_RESAMPLES):
        rows = np.sort(random.permutation(len(features))[: max(k, round(_SHARE * len(features)))])
        columns = np.sort(random.permutation(features.shape[1])[: max(1, round(_SHARE * features.shape[1]))])
        again = fit_kmeans(features[np.ix_(rows, columns)], k, seed, _STARTS)
        scores.append(adjusted_rand_score(labels[rows], again.labels))
    return float(np.mean(scores))


def _describe_one(labels: LabelArray, moves: BoolArray, options: TrendOptions) -> str:
    """Say why there is no more than one cluster, of rows that move or not."""
    noun, inside = options.noun, labels >= 0
    if not inside.any():
        return f"No {noun} could be clustered."
    if options.clusters == 1:
        return "One cluster, as asked for."
    if len(labels) == 1:
        return f"There is one {noun} only."
    if not moves[inside].any():
        return f"No clustered {noun} changed." if moves.any() else f"No {noun} changed."
    if np.count_nonzero(inside) == 1:
        return f"Only one {noun} could be clustered."
    return f"One trend: what differs between {noun}s is noise, or a matter of degree."


def _describe_several(k: int, silhouette: float | None, stability: float | None, noun: str) -> str:
    if silhouette is None or stability is None:
        return f"{k} trends, told apart by definition or with one {noun} each, so there is nothing to measure."
    apart = "well apart" if silhouette >= _WELL_APART else "apart" if silhouette >= _APART else "hardly apart"
    stable = "stable" if stability >= _STABLE else "fairly stable" if stability >= _FAIRLY_STABLE else "unstable"
    return (
        f"{k} trends, {apart} (silhouette {silhouette:.2f}) and {stable} when {noun}s and steps are left out "
        f"(adjusted Rand index {stability:.2f})."
    )
