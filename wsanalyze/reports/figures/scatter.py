"""The scatter plot: rows that change alike lie close together."""

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.errors import UsageError
from wsanalyze.reports.figures.labels import font_points, name_axes, room_of, write_note
from wsanalyze.reports.figures.marks import add_legend, make_mark, mark_style, name_cluster
from wsanalyze.reports.figures.window import open_axes
from wsanalyze.reports.plotted import pick_map, place_points
from wsanalyze.reports.summary import explain_nothing
from wsanalyze.trends.base import Trends

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROUNDING: Final = 1e-9  # a component that explains less is nothing but rounding
_MANY: Final = 1000
_MOST_NAMES: Final = 16


def draw_scatter(trends: Trends, ax: "Axes | None" = None, *, kind: str | None = None) -> "Axes":
    """Draw where each row lies by the first two principal components of what was clustered.

    Args:
        trends: What to draw.
        ax: Axes to draw into; None for new ones of pyplot.
        kind: Where each kind was clustered by itself and has components of its own, the kind that is drawn; None for
            that with most rows. Otherwise the kind whose rows alone are drawn, or None for all.

    Returns:
        The axes.

    Raises:
        UsageError: If no row is of that kind.
    """
    from matplotlib.ticker import MaxNLocator

    kinds = np.array([str(row.kind) for row in trends.series.rows], dtype=str)
    if kind is not None and kind not in kinds:
        raise UsageError(f"no {trends.options.noun} is of the kind {kind!r}: there are {', '.join(sorted(set(kinds)))}")
    if kind is None and trends.kinds:
        kind = trends.kinds[pick_map(trends)].kind
    placed = np.isfinite(trends.points[:, :2]).any(axis=1) & ((kinds == kind) | (kind is None))
    shown = np.flatnonzero(placed)
    ax = open_axes(ax)
    places, flat = _place_rows(trends, shown)
    own = f"of {kind} {trends.options.noun}s by themselves; " if trends.kinds and kind is not None else ""
    by_depth = f"{trends.options.noun} (place in the order of depth)"
    second = by_depth if flat else f"component 2 (no unit{_share(trends, 1)})"
    name_axes(ax, f"component 1 ({own}no unit{_share(trends, 0)})", second)
    if not len(shown):
        write_note(ax, explain_nothing(trends) or f"No {trends.options.noun} could be placed.", alone=True)
        return ax
    if flat:
        ax.set_ylim(places[:, 1].min() - 0.5, places[:, 1].max() + 0.5)
        ax.yaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    _draw_groups(ax, trends, shown, places)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _place_rows(trends: Trends, shown: NDArray[np.int64]) -> tuple[NDArray[np.float64], bool]:
    """Where rows lie, float64 of shape (N, 2), and whether the order stands in for a component that there is not."""
    points = place_points(trends)[shown]
    flat = points.shape[1] < 2 or not np.isfinite(points[:, 1]).any() or trends.explained[1] < _ROUNDING  # noqa: PLR2004
    first = points[:, 0] if points.shape[1] else np.full(len(shown), np.nan)
    return np.column_stack([first, shown if flat else points[:, 1]]), bool(flat)


def _share(trends: Trends, component: int) -> str:
    if trends.kinds or component >= len(trends.explained) or not np.isfinite(trends.explained[component]):
        return ""
    return f"; {100 * trends.explained[component]:.0f}\N{NO-BREAK SPACE}% of the variance"


def _draw_groups(ax: "Axes", trends: Trends, shown: NDArray[np.int64], places: NDArray[np.float64]) -> None:
    labels, outliers = trends.labels[shown], trends.outliers[shown]
    size = (0.75 if len(shown) < _MANY else 0.45) * font_points("font.size")
    groups = [(cluster.id, False, name_cluster(cluster)) for cluster in trends.clusters]
    groups += [(-1, False, "in no cluster"), (-1, True, "outlier, in no cluster")]
    handles = []
    for cluster, outlier, name in groups:
        members = labels == cluster
        if cluster < 0:
            members = members & (outliers == outlier)
        if members.any():
            style = mark_style(cluster, size, outlier=outlier)
            if cluster >= 0:  # so that marks on top of each other can be told apart
                style |= {"mec": "white", "mew": 0.4}
            ax.plot(*places[members].T, ls="none", zorder=2 + outlier, rasterized=len(shown) > _MANY, **style)
            handles.append(make_mark(cluster, name, outlier=outlier))
    add_legend(ax, handles if len(handles) <= _MOST_NAMES else [], room_of(ax)[0], most_columns=3)
