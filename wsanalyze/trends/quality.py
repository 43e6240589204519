"""How far clusters can be trusted."""

from typing import Final

import numpy as np

from wsanalyze.trends.base import Partition, Quality, TrendOptions
from wsanalyze.trends.blocks import order_rows
from wsanalyze.trends.choose import LEAST_P, NULL_LEVEL, compare_with_one_trend
from wsanalyze.trends.cluster import FloatArray, LabelArray, fit_kmeans, score_silhouette
from wsanalyze.trends.noise import BoolArray

_TOO_FEW: Final = 2
_NUM_RESAMPLES: Final = 10
_SHARE: Final = 0.8
_MOST_JUDGED: Final = 2000
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
        Silhouette, stability and the comparison with one trend over the rows that have points, 2000 of them where there
        are more; None where those rows are in one cluster, or each in one of its own.

    References:
        Rousseeuw 1987 (silhouette); Hubert and Arabie 1985 (adjusted Rand index).
    """
    k = int(partition.labels.max(initial=-1)) + 1
    judged = np.flatnonzero((partition.labels >= 0) & np.isfinite(partition.points).all(axis=1))
    # Rows in an order of their own, as in the methods: theirs in the model decides nothing, not even the last bit.
    judged = judged[order_rows(partition.features[judged])] if judged.size else judged
    judged = judged[np.unique(np.linspace(0, len(judged) - 1, min(len(judged), _MOST_JUDGED)).astype(np.intp))]
    labels, points = partition.labels[judged], partition.points[judged]
    num_judged = len(np.unique(labels))
    silhouette = stability = None
    p_value = partition.p_value
    if 1 < num_judged < len(labels):
        silhouette = score_silhouette(points, labels)
        stability = measure_stability(partition.features[judged], labels, options.seed)
        if p_value is None:
            found = np.unique(labels, return_inverse=True)[1].astype(np.int64)
            p_value = compare_with_one_trend(points, found, np.zeros(len(points)), options.seed)
    moves: BoolArray = np.any(np.isfinite(values) if options.linear else values > 0, axis=1)
    what = "level" if values.shape[1] == 1 else "trend"
    text = (
        _describe_several(k, silhouette, stability, p_value, options.noun, what)
        if k > 1
        else _describe_one(partition.labels, moves, p_value, options, what)
    )
    return Quality(k, k > 1, silhouette, stability, text, p_value)


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


def _describe_one(labels: LabelArray, moves: BoolArray, p_value: float | None, options: TrendOptions, what: str) -> str:
    """Say why there is no more than one cluster, of rows that move or not."""
    noun, inside = options.noun, labels >= 0
    number = np.count_nonzero(inside)
    still = f"No clustered {noun} changed." if moves.any() else f"No {noun} changed."
    differs = "noise, a matter of degree, or their own"
    if p_value is not None:
        differs = f"no more than chance makes of one {what} ({_say_p(p_value)})"
    reasons = (
        (number == 0, f"No {noun} could be clustered."),
        (options.clusters == 1, "One cluster, as asked for."),
        (len(labels) == 1, f"There is one {noun} only."),
        (not moves[inside].any(), still),
        (number == 1, f"Only one {noun} could be clustered."),
        (number <= _TOO_FEW, f"{number} {noun}s are too few to tell {what}s apart."),
    )
    return next((text for holds, text in reasons if holds), f"One {what}: what differs between {noun}s is {differs}.")


def _describe_several(
    k: int, silhouette: float | None, stability: float | None, p_value: float | None, noun: str, what: str
) -> str:
    if silhouette is None or stability is None:
        return f"{k} {what}s, told apart by definition or with one {noun} each, so there is nothing to measure."
    apart, stable = say_apart(silhouette), say_stable(stability)
    text = (
        f"{k} {what}s, {apart} (silhouette {silhouette:.2f}) and {stable} when {noun}s and steps are left out "
        f"(adjusted Rand index {stability:.2f})"
    )
    if p_value is None:
        return f"{text}."
    if p_value > NULL_LEVEL:
        return f"{text}; but chance often makes as much of one {what} ({_say_p(p_value)}), so do not rely on them."
    tighter = f"tighter than chance makes of one {what} ({_say_p(p_value)})"
    return f"{text}, and {tighter}." if stability >= _FAIRLY_STABLE else f"{text}: {tighter}, but do not rely on them."


def say_apart(silhouette: float) -> str:
    """How far apart clusters are: "well apart", "apart" or "hardly apart"."""
    return "well apart" if silhouette >= _WELL_APART else "apart" if silhouette >= _APART else "hardly apart"


def say_stable(stability: float) -> str:
    """How far clusters stay the same on resampled data: "stable", "fairly stable" or "unstable"."""
    return "stable" if stability >= _STABLE else "fairly stable" if stability >= _FAIRLY_STABLE else "unstable"


def say_doubt(quality: Quality) -> str:
    """Why several clusters are not to be relied on, in a clause; empty where they are, or nothing was compared."""
    if quality.p_value is None or quality.stability is None:
        return ""
    if quality.p_value > NULL_LEVEL:
        return "but chance often makes as much of one trend, so do not rely on them"
    return "so do not rely on them" if quality.stability < _FAIRLY_STABLE else ""


def _say_p(p_value: float) -> str:
    """Its two digits, or that it is the least that so few simulated tables can give."""
    return f"p {'<=' if p_value <= LEAST_P else '='} {p_value:.2g}"
