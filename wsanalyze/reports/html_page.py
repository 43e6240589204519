"""What the HTML report says in words and tables: plain data, made for its template."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsanalyze.reports.course import SURE
from wsanalyze.reports.html_course import describe_cluster, describe_phases, describe_unsure, describe_windows
from wsanalyze.reports.html_heights import CURVES, LOG, reserve_heights
from wsanalyze.reports.html_lines import (
    MAX_LINES,
    MAX_NAMES,
    ClusterLine,
    EventLine,
    Fact,
    LayerLine,
    PhaseLine,
    SkipGroup,
    UnsureLine,
    WindowLine,
)
from wsanalyze.reports.html_marks import SEVERAL, EventMark, mark_of
from wsanalyze.reports.html_table import describe_layer, find_empty_columns
from wsanalyze.reports.plotted import metric_words
from wsanalyze.reports.summary import (
    count_rows,
    count_touched,
    describe_checkpoints,
    describe_place,
    explain_nothing,
    is_table,
    name_row,
)
from wsanalyze.reports.text import format_bytes, format_count, format_number
from wsanalyze.reports.training_log import collect_log, describe_plotted_log
from wsanalyze.reports.trend_names import count_trends
from wsanalyze.series import ChangeSeries, CheckpointRecord, Event, Provenance, Skip, State, StateArray
from wsanalyze.trends.base import KindQuality, Quality, TrendOptions, Trends
from wsanalyze.trends.words import begin_sentence


@dataclass(frozen=True, slots=True)
class Page:
    """All that the report says, from top to bottom; strings are raw and become harmless in the template."""

    title: str
    metric_name: str
    linear: bool
    metric: str
    unit: str
    noun: str
    headline: tuple[str, ...]
    facts: tuple[Fact, ...]
    events: tuple[EventLine, ...]
    heatmap_summary: str
    scatter_summary: str
    log_summary: str | None
    has_log: bool
    heights: dict[str, tuple[int, int]]
    has_cells: bool
    has_unchanged: bool
    greys: tuple[str, ...] | None
    has_points: bool
    has_curves: bool
    has_alone_curves: bool
    has_depth: bool
    depth_text: str | None
    phases: tuple[PhaseLine, ...]
    windows: tuple[WindowLine, ...]
    num_events: int
    several: EventMark
    unsure: tuple[UnsureLine, ...]
    num_unsure: int
    sure: float
    kinds: tuple[KindQuality, ...]
    clusters: tuple[ClusterLine, ...]
    alone: tuple[LayerLine, ...]
    num_alone: int
    num_outliers: int
    layers: tuple[LayerLine, ...]
    num_layers: int
    empty_columns: tuple[str, ...]
    is_table: bool
    checkpoints: tuple[CheckpointRecord, ...]
    checkpoints_summary: str
    skips: tuple[SkipGroup, ...]
    num_skips: int
    quality: Quality
    touched: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]
    provenance: Provenance
    options: TrendOptions


def describe_page(trends: Trends) -> Page:
    """Put what the report says into words and lines.

    Args:
        trends: What to report; nothing in it needs to be printable.
    """
    series = trends.series
    nothing = explain_nothing(trends)
    metric, unit = metric_words(trends.options.metric)
    values = trends.values
    states = trends.states
    alone = np.flatnonzero(trends.labels < 0)
    unsure = describe_unsure(trends)
    has_alone_curves = bool(np.isfinite(values[alone]).any())
    has_points = bool(trends.points.size) and bool(np.isfinite(trends.points[:, 0]).any())
    return Page(
        title=", ".join(series.provenance.source) or "checkpoints",
        metric_name=trends.options.metric,
        linear=trends.options.linear,
        metric=metric,
        unit=unit,
        noun=name_row(trends),
        headline=(nothing,) if nothing else trends.headline,
        facts=_collect_facts(trends),
        events=tuple(_describe_event(event, series) for event in trends.all_events[:MAX_LINES]),
        num_events=len(trends.all_events),
        several=SEVERAL,
        heatmap_summary=_summarize_heatmap(trends, values, metric),
        scatter_summary=_summarize_scatter(trends),
        log_summary=describe_plotted_log(series),
        has_log=collect_log(series) is not None,
        heights={"curves": CURVES, "training-log": LOG, **reserve_heights(trends)},
        has_cells=bool(values.size),
        has_unchanged=bool((states == State.UNCHANGED).any()),
        greys=_list_greys(values, states),
        has_points=has_points,
        has_curves=bool(trends.clusters) or has_alone_curves,
        has_alone_curves=has_alone_curves,
        has_depth=trends.depth is not None and bool(np.isfinite(trends.depth.values).any()),
        depth_text=None if trends.depth is None else trends.depth.text,
        phases=describe_phases(trends),
        windows=describe_windows(trends),
        unsure=unsure[:MAX_NAMES],
        num_unsure=len(unsure),
        sure=SURE,
        kinds=trends.kinds,
        clusters=tuple(describe_cluster(trends, cluster, values) for cluster in trends.clusters),
        alone=tuple(describe_layer(trends, int(row), values[row], states[row]) for row in alone[:MAX_NAMES]),
        num_alone=len(alone),
        num_outliers=int(np.count_nonzero(trends.outliers & (trends.labels < 0))),
        layers=tuple(
            describe_layer(trends, row, values[row], states[row]) for row in range(min(MAX_LINES, len(values)))
        ),
        num_layers=len(values),
        empty_columns=find_empty_columns(trends),
        is_table=is_table(series),
        checkpoints=() if is_table(series) else series.checkpoints,
        checkpoints_summary=_summarize_checkpoints(series),
        skips=_group_skips(series.skips),
        num_skips=len(series.skips),
        quality=trends.quality,
        touched=tuple(count_touched(trends)),
        notes=trends.notes,
        provenance=series.provenance,
        options=trends.options,
    )


def _collect_facts(trends: Trends) -> tuple[Fact, ...]:
    series = trends.series
    good = [record for record in series.checkpoints if record.status == "ok"]
    left_out = len(series.checkpoints) - len(good)
    num_outliers = int(trends.outliers.sum())
    found = (
        _count_fact(len(series.rows), name_row(trends)),
        _count_fact(len(series.pairs), "change"),
        _count_fact(*count_trends(trends), format_count(num_outliers, "outlier") if num_outliers else ""),
    )
    if is_table(series):
        return found
    return (
        _count_fact(len(good), "checkpoint", f"{left_out} left out" if left_out else ""),
        *found,
        _count_fact(len(series.skips), "skipped tensor"),
        Fact(format_bytes(sum(record.nbytes for record in good)), "of files"),
    )


def _count_fact(count: int, noun: str, note: str = "") -> Fact:
    value, _, name = format_count(count, noun).partition(" ")
    return Fact(value, name, note)


def _describe_event(event: Event, series: ChangeSeries) -> EventLine:
    """An event and where it is: a checkpoint is known by its label, and what a table begins with by its step."""
    if event.checkpoint is None or is_table(series):
        return EventLine(event.kind, describe_place(series, event.checkpoint), event.text, mark_of(event))
    return EventLine(event.kind, series.checkpoints[event.checkpoint].label, event.text, mark_of(event))


def _group_skips(skips: tuple[Skip, ...]) -> tuple[SkipGroup, ...]:
    """Skips by reason, the most frequent first."""
    groups: dict[str, list[str]] = {}
    for skip in skips:
        groups.setdefault(skip.reason, []).append(skip.name)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return tuple(SkipGroup(reason, len(names), tuple(names[:MAX_LINES])) for reason, names in ordered)


def _list_greys(values: NDArray[np.float64], states: StateArray) -> tuple[str, ...] | None:
    """The states of cells that are grey since they have no number; None where no cell is, of arrays of shape (L, P)."""
    found = tuple(str(state) for state in State if state != State.UNCHANGED and (states == state).any())
    return found if found or np.isnan(values).any() else None


def _summarize_heatmap(trends: Trends, values: NDArray[np.float64], metric: str) -> str:
    size = f"{count_rows(trends, values.shape[0])} by {format_count(values.shape[1], 'change')}"
    numbers = values[np.isfinite(values) & (values != 0)]
    if not numbers.size:
        return f"{size}; no cell has a number other than 0."
    return f"{size}; {metric} from {format_number(numbers.min())} to {format_number(numbers.max())}."


def _summarize_scatter(trends: Trends) -> str:
    placed = int(np.isfinite(trends.points[:, 0]).sum()) if trends.points.size else 0
    shares = " and ".join(f"{100 * share:.0f} %" for share in trends.explained[:2])
    explained = f"; the components shown explain {shares} of the variance" if shares and not trends.kinds else ""
    return f"{placed} of {count_rows(trends, len(trends.series.rows))} placed{explained}."


def _summarize_checkpoints(series: ChangeSeries) -> str:
    if is_table(series):
        return begin_sentence(f"{describe_checkpoints(series)}.")
    checkpoints = series.checkpoints
    counts = Counter(record.status for record in checkpoints)
    others = [f"{counts[status]} {status}" for status in ("duplicate", "unreadable") if counts[status]]
    return ", ".join((f"{counts['ok']} of {format_count(len(checkpoints), 'checkpoint')} compared", *others)) + "."
