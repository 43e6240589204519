"""What all methods but `paper` share: which rows can be compared, their curves and components, and notes on both."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from wsanalyze.series import ChangeSeries
from wsanalyze.trends.base import Partition, TrendOptions, list_cells
from wsanalyze.trends.blocks import order_rows
from wsanalyze.trends.cluster import FloatArray, LabelArray
from wsanalyze.trends.features import Curves, make_curves, take_features
from wsanalyze.trends.noise import BoolArray
from wsanalyze.trends.reduce import Components, find_components
from wsanalyze.trends.words import count_cells, count_noun, say_number

PICTURE_COMPONENTS: Final = 2
_LEAST_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Moving:
    """What is found in the n rows that move.

    Attributes:
        curves: Their curves, as they were clustered.
        features: float64 of shape (n, F): what was compared.
        points: float64 of shape (n, K): their components.
        components: Those components.
        labels: int64 of shape (n,), from 0 without holes, -1 for rows in no cluster.
        confidence: float64 of shape (n,), of those in one.
        p_value: See `Quality`.
        notes: What else should be said.
    """

    curves: Curves
    features: FloatArray
    points: FloatArray
    components: Components
    labels: LabelArray
    confidence: FloatArray
    p_value: float | None = None
    notes: tuple[str, ...] = ()


Clustering = Callable[[Curves, TrendOptions, int | None], Moving]
"""Clusters n rows that move, sorted by their changes, into as many clusters as asked for, or as it chooses."""


def cluster_moving(series: ChangeSeries, options: TrendOptions, cluster: Clustering) -> Partition:
    """Cluster rows by the course of their changes, those that never change by themselves.

    Changes become log10 curves with gaps filled and spikes tamed (`make_curves`), or stay as they are if the metric is
    no amount of change; the level of each row is taken off unless asked for. Rows that never change have no logarithm:
    two or more of them are a cluster by themselves. The order of rows has no influence.

    Args:
        series: L rows and P changes.
        options: `metric`, `clusters`, `features` and `seed` are used. A single change has no shape: its levels are
            compared, whatever `features` says.
        cluster: What to do with those that change.

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
    num_columns = min(PICTURE_COMPONENTS, num_changes)
    features = np.full((num_rows, 0), np.nan)
    points, explained = np.full((num_rows, num_columns), np.nan), np.zeros(num_columns)
    spikes, gaps = np.zeros(changes.shape, dtype=np.bool_), np.zeros(changes.shape, dtype=np.bool_)
    notes = _describe_rows(usable, still, num_changes, options)
    p_value = None
    if len(rows):
        # An order of their own, so that the order of rows in the model cannot decide anything random.
        rows = rows[order_rows(changes[rows])]
        asked = _count_asked(options, len(still))
        moving = cluster(make_curves(changes[rows], linear=options.linear), options, asked)
        features, points = (_spread(part, rows, num_rows) for part in (moving.features, moving.points))
        explained = np.zeros(points.shape[1])
        explained[: len(moving.components.explained)] = moving.components.explained[: points.shape[1]]
        labels[rows], confidence[rows] = moving.labels, moving.confidence
        if len(rows) == 1 and len(still) > 1 and asked is None:
            labels[rows], confidence[rows] = -1, np.nan  # the only one that moves is like no other
        spikes[rows], gaps[rows] = moving.curves.spikes, moving.curves.gaps
        p_value = moving.p_value
        notes += _describe_curves(moving, changes[rows], options) + moving.notes
    if len(still) > 1 or not len(rows):
        labels[still] = 0 if options.clusters == 1 else labels.max(initial=-1) + 1
        confidence[still] = 1.0
    outliers = usable & (labels < 0)
    touched = {"spike": list_cells(spikes), "gap": list_cells(gaps)}
    return Partition(features, points, explained, labels, confidence, outliers, touched, notes, p_value)


def reduce_curves(curves: Curves, options: TrendOptions) -> tuple[FloatArray, FloatArray, Components]:
    """Features, points and components of curves, all rows taking part.

    Returns:
        float64 of shape (n, F), float64 of shape (n, K), and what K of them stand out from the noise: two more than
        that for the picture where there are none.
    """
    features = take_features(curves, options.features)
    components = find_components(features, curves.noise)
    return features, components.project(features, count_columns(components, curves)), components


def count_columns(components: Components, curves: Curves) -> int:
    """How many components are kept: two for the picture at least, where there are two changes."""
    return max(components.num_signals, min(PICTURE_COMPONENTS, int(curves.values.shape[1])))


def _count_asked(options: TrendOptions, num_still: int) -> int | None:
    """Clusters asked for among the rows that move, where those that do not are one."""
    if options.clusters is None or options.clusters == 1:
        return options.clusters
    return options.clusters - (num_still > 1)


def _spread(part: FloatArray, rows: LabelArray, num_rows: int) -> FloatArray:
    whole = np.full((num_rows, part.shape[1]), np.nan)
    whole[rows] = part
    return whole


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


def _say_filled(cells: BoolArray, noun: str, which: str) -> str:
    value, beside = ("a value", "it") if np.count_nonzero(cells) == 1 else ("values", "them")
    return f"{count_cells(cells, 'cell', noun, f' {which}')} took {value} between those beside {beside} in time."


def _describe_curves(moving: Moving, changes: FloatArray, options: TrendOptions) -> tuple[str, ...]:
    curves, noun, notes = moving.curves, options.noun, []
    missing = curves.gaps & np.isnan(changes)
    if missing.any():
        notes.append(_say_filled(missing, noun, "without a number"))
    lone = curves.gaps & ~curves.still & (changes == 0)
    if lone.any():
        notes.append(_say_filled(lone, noun, "that stand still alone" if lone.sum() > 1 else "that stands still alone"))
    if curves.still.any():
        whose = "its" if np.count_nonzero(curves.still) == 1 else "their"
        notes.append(
            f"{count_cells(curves.still, 'unchanged cell', noun)} counted as a tenth of {whose} {noun}'s "
            "smallest change, since 0 has no logarithm."
        )
    if curves.spikes.any():
        single = np.count_nonzero(curves.spikes) == 1
        off = count_cells(curves.spikes, "cell", noun, f" off {'its' if single else 'their'} {noun}'s course")
        notes.append(f"{off} took {'a value that fits' if single else 'values that fit'} it.")
    alone = int((moving.labels < 0).sum())
    if alone:
        notes.append(
            f"{alone} {noun} like no other was set aside."
            if alone == 1
            else f"{alone} {noun}s unlike the others were set aside."
        )
    found = moving.components.num_signals
    notes.append(
        f"{count_noun(found, 'principal component') if found else 'No principal component'} stood out from the noise "
        f"of {say_number(curves.usual_noise)}{'' if options.linear else ' decades'} a value."
    )
    return tuple(notes)
