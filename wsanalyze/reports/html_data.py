"""What the plots of the HTML report draw, as JSON values."""

from typing import Any, Final

import numpy as np

from wsanalyze.errors import UsageError
from wsanalyze.metrics import METRICS
from wsanalyze.reports.course import find_rivalled
from wsanalyze.reports.html_heights import MAX_DEPTHS
from wsanalyze.reports.html_lines import write_shape
from wsanalyze.reports.html_numbers import encode, pack_numbers, rounded
from wsanalyze.reports.html_time import list_changes, list_events
from wsanalyze.reports.plotted import condense_depths, metric_words, order_layers, pick_map, place_points
from wsanalyze.reports.summary import is_table
from wsanalyze.reports.text import printable
from wsanalyze.reports.training_log import collect_log
from wsanalyze.reports.trend_names import name_trend
from wsanalyze.series import State
from wsanalyze.trends.base import DepthProfile, Trends

_MAX_OTHER_CELLS: Final = 1_500_000
"""Cells of all other metrics together up to which they are in the page: 4 MB of it."""


def collect_plot_data(trends: Trends) -> dict[str, Any]:
    """Collect what the plots draw.

    Args:
        trends: Trends of L layers over P changes.

    Returns:
        JSON values: every name printable, arrays as `pack_numbers` packs them. `layers` holds lists of length L,
        `values` shape (L, P); `marks` the `words` [state or None, what the method did or None] of cells and the
        `codes`, uint8 of shape (L, P), that number them; `absolute` lists [layer, change, absolute change] of cells
        that come from zero. `log` is that of `collect_log`. `map`
        is the place among `kinds` of the one whose map is shown first. `phases` holds the first change of each phase
        but the first; `events` is that of `list_events`. `depth` holds D groups of depths, from `first` to `last`, the
        median at each, shape (D, P), and the centre of mass, length P. `metrics` are the other metrics, each with
        values of shape (L, P); `without` says why there is none of them: "table", "size" or nothing, and `not_had`
        names those that need what the series does not hold.
    """
    series = trends.series
    values = trends.values
    title, unit = metric_words(trends.options.metric)
    return {
        "metric": {"name": printable(trends.options.metric), "title": title, "unit": unit}
        | {"linear": trends.options.linear}
        | {"signed": bool((values < 0).any())},
        "noun": printable(trends.options.noun),
        "changes": list_changes(series),
        "layers": {
            "name": [printable(row.name) for row in series.rows],
            "kind": [printable(str(row.kind)) for row in series.rows],
            "depth": [row.depth for row in series.rows],
            "shape": [write_shape(row.shape, known=not is_table(series)) for row in series.rows],
            "numel": [row.numel for row in series.rows],
            "cluster": trends.labels.tolist(),
            "outlier": trends.outliers.astype(int).tolist(),
            "confidence": rounded(
                np.where(np.isin(trends.labels, list(find_rivalled(trends))), trends.confidence, np.nan)
            ),
        },
        "orders": order_layers(trends),
        "values": pack_numbers(values),
        **_list_marks(trends),
        "clusters": [
            {
                "id": cluster.id,
                "summary": printable(name_trend(cluster)),
                "kind": None if cluster.kind is None else printable(cluster.kind),
                **{
                    name: rounded(np.array(getattr(cluster, name), dtype=np.float64))
                    for name in ("median", "low", "high")
                },
            }
            for cluster in trends.clusters
        ],
        "points": rounded(place_points(trends)),
        "explained": rounded(trends.explained[:2]),
        "log": collect_log(series),
        "kinds": [printable(part.kind) for part in trends.kinds],
        "map": pick_map(trends),
        "depth": None if trends.depth is None else _describe_depth(trends.depth),
        "phases": [phase.first for phase in trends.phases[1:]],
        "events": list_events(trends),
        **_list_metrics(trends),
    }


def _list_marks(trends: Trends) -> dict[str, Any]:
    """States of cells and what the method did to them: few words, and a byte a cell that says which."""
    states = trends.states
    known = states != None  # noqa: E711 - elementwise
    codes = np.zeros(states.shape, dtype=np.uint8)
    numbers: dict[tuple[str | None, str | None], int] = {(None, None): 0}
    for word in dict.fromkeys(states[known]):
        codes[states == word] = numbers.setdefault((str(word), None), len(numbers))
    for touch, cells in trends.touched.items():
        for cell in cells:
            state = states[cell]
            words = (None if state is None else str(state), printable(touch))
            codes[cell] = numbers.setdefault(words, len(numbers))
    from_zero = np.argwhere(states == State.FROM_ZERO)
    absolute = trends.series.absolute(trends.options.metric) if len(from_zero) else None
    return {
        "marks": {"words": [list(words) for words in numbers], "codes": encode(codes)},
        "absolute": []
        if absolute is None
        else [[row, change, rounded(absolute[row, change])] for row, change in from_zero.tolist()],
    }


def _describe_depth(profile: DepthProfile) -> dict[str, Any]:
    groups, values = condense_depths(profile, MAX_DEPTHS)
    return {
        "first": [first for first, _ in groups],
        "last": [last for _, last in groups],
        "values": pack_numbers(values),
        "centre": rounded(profile.centre),
    }


def _list_metrics(trends: Trends) -> dict[str, Any]:
    """The other metrics that the stored sums give; none where they would make the page too large."""
    series = trends.series
    others = [metric for name, metric in METRICS.items() if name != trends.options.metric]
    without = "table" if series.given else "size" if len(others) * series.states.size > _MAX_OTHER_CELLS else ""
    found, not_had = [], []
    for metric in others if series.states.size and not without else []:
        try:
            values = series.metric(metric.name)
        except UsageError:
            not_had.append(metric.name)
            continue
        if np.isfinite(values).any():
            words = {"name": metric.name, "title": metric.title, "unit": metric.unit, "linear": metric.linear}
            found.append({**words, "values": pack_numbers(values, exact=False)})
    return {"metrics": found, "without": without, "not_had": not_had}
