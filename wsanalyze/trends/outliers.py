"""Rows that are like no other, and rows that follow no cluster."""

from typing import Final

import numpy as np

from wsanalyze.trends.blocks import cut_blocks
from wsanalyze.trends.cluster import FloatArray, LabelArray, mean_by_label, weigh
from wsanalyze.trends.noise import NORMAL_MAD, VARIANCE_OF_MEANS, BoolArray
from wsanalyze.trends.reduce import find_axes

_LEAST_ROWS: Final = 5
_RATIO: Final = 1.7
_CHANCE: Final = 1e-3
_MOST_CHANCE: Final = 1e-2
_MAX_ROWS_APART: Final = 2000
_NUM_AXES: Final = 32
_NEAR_SHARE: Final = 0.75
_FEW_ROWS: Final = 3
_NO_STRUCTURE: Final = 0.25


def measure_loneliness(features: FloatArray, noise: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How far the nearest row is off, and the second nearest.

    Args:
        features: float64 of shape (n, F).
        noise: float64 of shape (n,): standard deviation of the noise in each cell of each row.

    Returns:
        float64 of shape (n,), twice: each distance over what noise makes it, 1 at least. All 1 for fewer than 5 rows.
    """
    if len(features) < _LEAST_ROWS:
        return np.ones(len(features)), np.ones(len(features))
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(_shorten(features))
    distances, places = nearest.kneighbors()
    # Of two rows the other one is likely to have the usual noise, not to be as noisy as a row that is.
    variance = noise[:, None] ** 2 + np.minimum(noise[:, None], noise[places]) ** 2
    first, second = np.maximum(distances / np.sqrt(variance * features.shape[1]), 1.0).T
    return first, second


def find_strange(loneliness: FloatArray, ratio: float = 2.0, deviations: float = 5.0) -> BoolArray:
    """Rows whose loneliness is so many times the usual one and, in logarithms, so many deviations above it."""
    # In logarithms, since distances in few dimensions are spread over decades and in many hardly at all.
    logs = np.log(loneliness)
    usual = np.median(logs)
    deviation = NORMAL_MAD * np.median(np.abs(logs - usual))
    strange: BoolArray = logs > usual + max(np.log(ratio), deviations * deviation)
    return strange


def find_odd_groups(points: FloatArray, labels: LabelArray) -> BoolArray:
    """Find clusters that are none: of one row, or of two or three that are hardly nearer to each other than to others.

    Args:
        points: float64 of shape (n, K).
        labels: int64 of shape (n,): clusters, from 0 without holes.

    Returns:
        bool of shape (n,): True for rows of a cluster of one, and of one of two or three whose mean silhouette is below
        0.25: "no substantial structure has been found" (Kaufman and Rousseeuw, Finding Groups in Data, 1990, p. 88).
        Where there is one cluster only, none.
    """
    sizes = np.bincount(labels)
    odd = np.zeros(len(sizes), dtype=np.bool_)
    if len(sizes) > 1:
        for label in np.flatnonzero(sizes <= _FEW_ROWS).tolist():
            odd[label] = _find_silhouette(points, labels, label) < _NO_STRUCTURE
    return odd[labels]


def _find_silhouette(points: FloatArray, labels: LabelArray, label: int) -> float:
    """The mean silhouette of one cluster of several; 0 where it has one row."""
    from sklearn.metrics import pairwise_distances

    own = labels == label
    size = np.count_nonzero(own)
    if size == 1:
        return 0.0
    means = mean_by_label(pairwise_distances(points, points[own]), labels)
    within, between = means[label] * size / (size - 1), np.delete(means, label, axis=0).min(axis=0)
    return float(np.mean((between - within) / np.maximum(np.maximum(between, within), np.finfo(float).tiny)))


def _shorten(features: FloatArray) -> FloatArray:
    """As many coordinates as distances between thousands of rows can be had from in seconds."""
    if len(features) <= _MAX_ROWS_APART or features.shape[1] <= _NUM_AXES:
        return features
    mean = features.mean(axis=0)
    _, axes = find_axes(features, mean, np.ones(len(features)))
    centred = features - mean
    points = centred @ axes[:_NUM_AXES].T
    # What lies beside these axes counts as if rows had nothing of it in common.
    beside = np.sqrt(np.maximum(0.0, np.square(centred, out=centred).sum(axis=1) - np.sum(points**2, axis=1)))
    return np.column_stack((points, beside))


def find_strays(features: FloatArray, noise: FloatArray, labels: LabelArray, num_spikes: LabelArray) -> BoolArray:
    """Find rows that follow no cluster: too far off the course of the nearest for their noise.

    Args:
        features: float64 of shape (n, F).
        noise: float64 of shape (n,): standard deviation of the noise in each cell of each row.
        labels: int64 of shape (n,): clusters, from 0 without holes, -1 for rows that are in none as yet.
        num_spikes: int64 of shape (n,): how many spikes of each row were tamed.

    Returns:
        bool of shape (n,): True where the distance is 1.7 times the usual one for the row's noise and, together with
        its spikes, more than chance would ever make it, were noise normal; where it spreads more than that, by so
        much more; and larger than that of three quarters of the rows in clusters, whatever the noise.
    """
    from scipy.stats import chi2, norm, poisson

    if len(features) < _LEAST_ROWS:
        return np.zeros(len(features), dtype=np.bool_)
    inside = labels >= 0
    courses = mean_by_label(features[inside], labels[inside], weigh(noise[inside]))
    distances = np.full(len(features), np.inf)
    for some in cut_blocks(*features.shape):
        for course in courses:
            distances[some] = np.minimum(distances[some], np.sqrt(np.mean((features[some] - course) ** 2, axis=1)))
    logs = np.log(np.maximum(distances / noise, np.finfo(float).tiny))
    usual = float(np.median(logs[inside]))
    free = max(1, features.shape[1] - 1)
    # A row that came near a course only once many spikes were taken from it may well be off it.
    so_many = poisson.sf(num_spikes - 1, max(float(num_spikes[inside].mean()), 1 / len(features)))
    chances = np.minimum(_CHANCE / len(features) / so_many, _MOST_CHANCE)
    highest = np.log(chi2.isf(chances, free)) / 2
    median, low = np.log(chi2.isf((0.5, 0.75), free)) / 2
    high = float(np.log(chi2.isf(0.25, free)) / 2)
    spread = float(np.median(np.abs(logs[inside] - usual)))
    inflation = max(1.0, spread / ((high - low) / 2))
    # How noisy a row is was estimated as well; each row's own noise the less surely, the fewer changes there are.
    doubt = norm.isf(chances) * _measure_doubt(noise[inside], free)
    least = np.hypot(inflation * (highest - median), doubt)
    # How noisy a row is may be misjudged: what lies as near as most others do is not said to be off their course.
    near = distances <= np.quantile(distances[inside], _NEAR_SHARE)
    strays: BoolArray = (logs > usual + np.maximum(np.log(_RATIO), least)) & ~near
    return strays


def _measure_doubt(noise: FloatArray, free: int) -> float:
    """Standard deviation of the logarithm of each row's noise, given what `moderate_noise` made of its estimate.

    That drew an estimate of variance c about a true spread s to the mean by s / (s + c), which left a variance of
    s^2 / (s + c), and a doubt of s c / (s + c).

    Args:
        noise: float64 of shape (n,).
        free: How many values each was estimated from, about.
    """
    logs = np.log(noise)
    left = (NORMAL_MAD * float(np.median(np.abs(logs - np.median(logs))))) ** 2
    chance = VARIANCE_OF_MEANS / free
    true = (left + np.sqrt(left**2 + 4 * left * chance)) / 2
    return float(np.sqrt(true * chance / (true + chance)))
