"""Find the trends of a series: the one way into this package."""

from dataclasses import replace
from typing import Final

import numpy as np

from wsanalyze.errors import UsageError
from wsanalyze.series import ChangeSeries
from wsanalyze.trends.base import Cluster, Partition, TrendOptions, Trends, mark_cells
from wsanalyze.trends.by_kind import cluster_by_kind, sum_up_quality
from wsanalyze.trends.cluster import FloatArray, limit_threads
from wsanalyze.trends.common_course import trace_common_course
from wsanalyze.trends.confounders import find_confounders
from wsanalyze.trends.depth import find_depth_profile
from wsanalyze.trends.elsewhere import MIXED, find_exceptions, move_apart
from wsanalyze.trends.even_courses import describe_course
from wsanalyze.trends.events import find_events
from wsanalyze.trends.headline import write_headline
from wsanalyze.trends.lone import find_lone
from wsanalyze.trends.makeup import describe_makeup
from wsanalyze.trends.methods import METHODS
from wsanalyze.trends.phases import find_phases
from wsanalyze.trends.quality import measure_quality
from wsanalyze.trends.spacing import note_spacing
from wsanalyze.trends.windows import find_windows
from wsanalyze.trends.words import APART, number_by_level

FEATURES: Final = ("shape", "level", "both")

_MAX_SEED: Final = 2**32 - 1
_SHORTEST_WINDOW: Final = 2
_LOW_PERCENTILE: Final = 10
_HIGH_PERCENTILE: Final = 90


def find_trends(series: ChangeSeries, options: TrendOptions | None = None) -> Trends:
    """Find which rows of a series change alike, and say what that means.

    Args:
        series: The series as measured or as read from a table; rows are added together first where `options.group`
            says so.
        options: How; `TrendOptions()` where None.

    Returns:
        The trends; of a series without rows, changes or numbers, trends without clusters.

    Raises:
        UsageError: If an option is unknown or out of range, or the series does not hold what the metric needs.
    """
    options = options or TrendOptions()
    check_options(options)
    if options.group is not None:
        series = series.grouped(options.group)
    values = series.metric(options.metric)
    method = METHODS[options.method]
    with limit_threads():
        if options.by_kind:
            partition, kinds = cluster_by_kind(series, values, options, method)
            quality = sum_up_quality(kinds, options)
        else:
            partition, kinds = method(series, options), ()
            partition = replace(partition, labels=number_by_level(partition.labels, values))
            quality = measure_quality(partition, options, values)
        windows = find_windows(series, partition, options, method)
    clusters = _describe_clusters(series, partition, values, options)
    phases, changes_of_phase = find_phases(series, values, options)
    found = find_events(series, options.metric, options.noun)
    events = (
        *found,
        *changes_of_phase,
        *find_lone(series, values, options, told=found),
        *find_confounders(series, values, options),
    )
    trends = Trends(
        series=series,
        options=options,
        points=partition.points,
        explained=partition.explained,
        labels=partition.labels,
        confidence=partition.confidence,
        outliers=partition.outliers,
        clusters=clusters,
        quality=quality,
        touched=partition.touched,
        events=events,
        notes=partition.notes + _compare_with_asked(partition, options) + note_spacing(series, options.metric),
        kinds=kinds,
        depth=find_depth_profile(series, values, options),
        phases=phases,
        windows=windows,
    )
    clusters = tuple(_say_if_mixed(trends, cluster) for cluster in trends.clusters)
    trends = replace(trends, clusters=clusters)
    return replace(trends, headline=write_headline(trends))


def _say_if_mixed(trends: Trends, cluster: Cluster) -> Cluster:
    """The cluster; without a course where half of its members do not follow that of its median, or all none."""
    if cluster.size > 1 and 2 * len(find_exceptions(trends, cluster)) >= cluster.size:
        return replace(cluster, summary=MIXED)
    return replace(cluster, summary=APART) if move_apart(trends, cluster) else cluster


def check_options(options: TrendOptions) -> None:
    """Check options that any series could be clustered with.

    Raises:
        UsageError: If the method or the features are unknown, clusters, window or seed are out of range, or rows of a
            kind would be clustered by themselves after they were added together.
    """
    if options.method not in METHODS:
        raise UsageError(f"no method named {options.method!r}: choose one of {', '.join(METHODS)}")
    if options.features not in FEATURES:
        raise UsageError(f"no features named {options.features!r}: choose one of {', '.join(FEATURES)}")
    if options.clusters is not None and options.clusters < 1:
        raise UsageError(f"{options.clusters} clusters cannot be made: ask for 1 or more, or for auto")
    if options.window is not None and options.window < _SHORTEST_WINDOW:
        raise UsageError(f"a window of {options.window} has no trend in it: ask for {_SHORTEST_WINDOW} changes or more")
    if options.by_kind and options.group == "kind":
        raise UsageError("--by-kind clusters the rows that --group kind adds together: give one of them")
    if options.by_kind and options.window is not None:
        raise UsageError("--by-kind finds no trends within the windows of --window: give one of them")
    if not 0 <= options.seed <= _MAX_SEED:
        raise UsageError(f"{options.seed} is no seed: give a whole number from 0 to {_MAX_SEED}")


def _describe_clusters(
    series: ChangeSeries, partition: Partition, values: FloatArray, options: TrendOptions
) -> tuple[Cluster, ...]:
    labels, clusters = partition.labels, []
    spikes = mark_cells(partition.touched.get("spike", ()), values.shape)
    for label in range(int(labels.max(initial=-1)) + 1):
        members = np.flatnonzero(labels == label)
        low, median, high = _take_percentiles(values[members])
        course = trace_common_course(values[members], median, spikes[members], linear=options.linear)
        summary = describe_course(course, series, options)
        kind = str(series.rows[members[0]].kind) if options.by_kind else None
        curves = (_list_numbers(median), _list_numbers(low), _list_numbers(high))
        makeup = describe_makeup(series.rows, members.tolist(), kind)
        clusters.append(Cluster(label, tuple(members.tolist()), summary, *curves, kind, makeup))
    return tuple(clusters)


def _list_numbers(curve: FloatArray) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(x) else float(x) for x in curve)


def _take_percentiles(values: FloatArray) -> FloatArray:
    """10th, 50th and 90th percentile of each column over its numbers, float64 of shape (3, P)."""
    curves: FloatArray = np.full((3, values.shape[1]), np.nan)
    known = np.isfinite(values).any(axis=0)
    if known.any():
        curves[:, known] = np.nanpercentile(values[:, known], (_LOW_PERCENTILE, 50, _HIGH_PERCENTILE), axis=0)
    return curves


def _compare_with_asked(partition: Partition, options: TrendOptions) -> tuple[str, ...]:
    k = int(partition.labels.max(initial=-1)) + 1
    if options.clusters is None or options.by_kind or k >= options.clusters:
        return ()
    number = int((partition.labels >= 0).sum())
    return (f"{options.clusters} clusters were asked for, but {number} clustered {options.noun}s only make {k}.",)
