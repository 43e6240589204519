"""The method `robust`, the default: what moves alike in logarithms, whatever its size, noise and spikes.

References:
    docs/method.md, "Edge values".
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from wsanalyze.series import ChangeSeries
from wsanalyze.trends.base import Partition, TrendOptions, list_cells
from wsanalyze.trends.choose import choose_clusters
from wsanalyze.trends.cluster import FloatArray, KMeansFit, LabelArray, fit_kmeans, measure_confidence
from wsanalyze.trends.features import BoolArray, Curves, make_curves, tame_again
from wsanalyze.trends.reduce import count_components, project_onto
from wsanalyze.trends.words import count_cells, count_noun

_PICTURE_COMPONENTS: Final = 2
_LEAST_SHARE: Final = 0.5
_OUTLIER_DEVIATIONS: Final = 5.0
_OUTLIER_RATIO: Final = 2.0
_LEAST_ROWS_FOR_OUTLIERS: Final = 5
_MAX_ROUNDS: Final = 5
_NORMAL_MAD: Final = 1.4826


@dataclass(frozen=True, slots=True, eq=False)
class _Moving:
    """What is found in the n rows that move: as in `Partition`, for those rows only."""

    curves: Curves
    features: FloatArray
    points: FloatArray
    explained: FloatArray
    num_signals: int
    labels: LabelArray


def find_robust_trends(series: ChangeSeries, options: TrendOptions) -> Partition:
    """Cluster rows by the course of their changes.

    Changes become log10 curves with gaps filled and spikes tamed (`make_curves`), or stay as they are if the metric is
    no amount of change; the level of each row is taken off unless asked for, rows that are like no other are set aside,
    principal components above the noise are kept, and k-means finds as many clusters as lie apart, perhaps one
    (`choose_clusters`). Rows that never change have no logarithm: two or more of them are a cluster by themselves. The
    order of rows has no influence.

    Args:
        series: L rows and P changes.
        options: `metric`, `clusters`, `features` and `seed` are used. A single change has no shape: its levels are
            compared, whatever `features` says.

    Returns:
        The partition; rows with a number in fewer than half of the changes are in no cluster.
    """
    changes = series.metric(options.metric)
    num_rows, num_changes = changes.shape
    known = np.isfinite(changes)
    usable = known.any(axis=1) & (known.sum(axis=1) >= _LEAST_SHARE * num_changes)
    moves = usable & (known if options.linear else changes > 0).any(axis=1)
    rows, still = np.flatnonzero(moves), np.flatnonzero(usable & ~moves)

    labels = np.full(num_rows, -1, dtype=np.int64)
    confidence = np.full(num_rows, np.nan)
    num_columns = min(_PICTURE_COMPONENTS, num_changes)
    features = np.full((num_rows, 0), np.nan)
    points, explained = np.full((num_rows, num_columns), np.nan), np.zeros(num_columns)
    spikes, gaps = np.zeros(changes.shape, dtype=np.bool_), np.zeros(changes.shape, dtype=np.bool_)
    notes = _describe_rows(usable, still, num_changes, options)
    if len(rows):
        # An order of their own, so that the order of rows in the model cannot decide anything random.
        rows = rows[np.lexsort(changes[rows].T[::-1])]
        curves = make_curves(changes[rows], linear=options.linear)
        moving = _cluster_moving(curves, options, _count_asked(options, len(still)))
        features, points = (_spread(part, rows, num_rows) for part in (moving.features, moving.points))
        explained, labels[rows] = moving.explained, moving.labels
        spikes[rows], gaps[rows] = moving.curves.spikes, moving.curves.gaps
        inside = moving.labels >= 0
        confidence[rows[inside]] = measure_confidence(moving.points[inside], moving.labels[inside], moving.curves.noise)
        notes += _describe_curves(moving, changes[rows], options)
    if len(still) > 1 or not len(rows):
        labels[still] = 0 if options.clusters == 1 else labels.max(initial=-1) + 1
        confidence[still] = 1.0
    outliers = usable & (labels < 0)
    touched = {"spike": list_cells(spikes), "gap": list_cells(gaps)}
    return Partition(features, points, explained, labels, confidence, outliers, touched, notes)


def _count_asked(options: TrendOptions, num_still: int) -> int | None:
    """Clusters asked for among the rows that move, where those that do not are one."""
    if options.clusters is None or options.clusters == 1:
        return options.clusters
    return options.clusters - (num_still > 1)


def _spread(part: FloatArray, rows: LabelArray, num_rows: int) -> FloatArray:
    whole = np.full((num_rows, part.shape[1]), np.nan)
    whole[rows] = part
    return whole


def _cluster_moving(curves: Curves, options: TrendOptions, asked: int | None) -> _Moving:
    """Cluster, look again at what is a spike now that the clusters are known, and cluster once more if any is."""
    moving = _cluster_curves(curves, options, asked)
    curves = tame_again(curves, moving.labels)
    return moving if curves is moving.curves else _cluster_curves(curves, options, asked)


def _cluster_curves(curves: Curves, options: TrendOptions, asked: int | None) -> _Moving:
    features = _take_features(curves, options.features)
    strange = find_strange(features, curves.noise)
    for _ in range(_MAX_ROUNDS):
        usual = ~strange
        num_signals = count_components(features[usual], curves.noise)
        # Two columns for the picture, where there are two changes; a single change has one.
        num_columns = max(num_signals, min(_PICTURE_COMPONENTS, curves.values.shape[1]))
        points, explained = project_onto(features[usual], features, num_columns)
        fit = _cluster_points(points[usual], curves.noise, num_signals, asked, options.seed)
        alone = fit.sizes == 1
        if asked or fit.k == 1 or not alone.any():
            break
        strange[np.flatnonzero(usual)[alone[fit.labels]]] = True
    labels = np.full(len(features), -1, dtype=np.int64)
    labels[usual] = fit.labels
    return _Moving(curves, features, points, explained, num_signals, labels)


def _cluster_points(points: FloatArray, noise: float, num_signals: int, asked: int | None, seed: int) -> KMeansFit:
    if asked or num_signals == 0:
        return fit_kmeans(points, asked or 1, seed)
    return choose_clusters(points, noise, seed)


def _take_features(curves: Curves, features: str) -> FloatArray:
    num_changes = curves.values.shape[1]
    if features == "level":
        # As if every change had that level: distances then mean the same as for shapes.
        levels: FloatArray = curves.level[:, None] * np.sqrt(num_changes)
        return levels
    if features == "both" or num_changes == 1:
        return curves.values
    shapes: FloatArray = curves.values - curves.values.mean(axis=1, keepdims=True)
    return shapes


def find_strange(features: FloatArray, noise: float) -> BoolArray:
    """Find rows that are like no other: those whose second nearest row is far off.

    Args:
        features: float64 of shape (n, F).
        noise: Standard deviation of the noise in each cell.

    Returns:
        bool of shape (n,): True where that distance is twice the usual one and, in logarithms, 5 deviations above it.
        Always False for fewer than 5 rows.
    """
    if len(features) < _LEAST_ROWS_FOR_OUTLIERS:
        return np.zeros(len(features), dtype=np.bool_)
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(features)
    distances = np.maximum(nearest.kneighbors()[0][:, 1], noise * np.sqrt(2 * features.shape[1]))
    # In logarithms, since distances in few dimensions are spread over decades and in many hardly at all.
    logs = np.log(distances)
    deviation = _NORMAL_MAD * np.median(np.abs(logs - np.median(logs)))
    limit = np.median(logs) + max(np.log(_OUTLIER_RATIO), _OUTLIER_DEVIATIONS * deviation)
    strange: BoolArray = logs > limit
    return strange


def _describe_rows(usable: BoolArray, still: LabelArray, num_changes: int, options: TrendOptions) -> tuple[str, ...]:
    notes = []
    sparse = int((~usable).sum())
    if sparse:
        notes.append(
            f"{count_noun(sparse, options.noun)} with a number in fewer than half of the changes "
            f"{'is' if sparse == 1 else 'are'} in no cluster."
        )
    if len(still):
        notes.append(f"{count_noun(len(still), options.noun)} never changed and had no curve to compare.")
    if num_changes == 1 and options.features == "shape":
        notes.append("A single change has no shape, so levels were compared.")
    return tuple(notes)


def _describe_curves(moving: _Moving, changes: FloatArray, options: TrendOptions) -> tuple[str, ...]:
    curves, noun, notes = moving.curves, options.noun, []
    missing = curves.gaps & np.isnan(changes)
    if missing.any():
        notes.append(
            f"{count_cells(missing, 'cell', noun, ' without a number')} took values between those beside them in time."
        )
    if curves.still.any():
        notes.append(
            f"{count_cells(curves.still, 'unchanged cell', noun)} counted as a tenth of their {noun}'s "
            "smallest change, since 0 has no logarithm."
        )
    if curves.spikes.any():
        notes.append(f"{count_cells(curves.spikes, 'spike', noun)} took values that fit their {noun}'s course.")
    alone = int((moving.labels < 0).sum())
    if alone:
        notes.append(f"{count_noun(alone, noun)} like no other {'was' if alone == 1 else 'were'} set aside.")
    notes.append(
        f"{count_noun(moving.num_signals, 'principal component')} stood out from the noise "
        f"of {curves.noise:.2g}{'' if options.linear else ' decades'} a value."
    )
    return tuple(notes)
