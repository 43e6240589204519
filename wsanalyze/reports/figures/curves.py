"""The curves: the median of each cluster over the changes, in its band."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.errors import UsageError
from wsanalyze.reports.figures.labels import font_points, name_axes, room_of, write_note
from wsanalyze.reports.figures.marks import add_legend, dash_of, mark_style, name_cluster
from wsanalyze.reports.figures.scale import ValueScale, find_scale
from wsanalyze.reports.figures.time_axis import Spacing, TimeAxis, find_time_axis
from wsanalyze.reports.figures.window import open_axes
from wsanalyze.reports.palette import ALONE, MUTED, colour_of
from wsanalyze.reports.summary import explain_nothing
from wsanalyze.reports.text import format_count
from wsanalyze.trends.base import Cluster, Trends

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BANDS: Final = 8  # more of them would hide each other
_FEW_BANDS: Final = 4
_SHADES: Final = (0.18, 0.1)  # of few bands, and of more
_MOST_NAMES: Final = 16
_MOST_MARKS: Final = 12  # on one line
_MOST_OUTLIERS: Final = 200


def draw_curves(
    trends: Trends,
    ax: "Axes | None" = None,
    *,
    kind: str | None = None,
    spacing: Spacing = "auto",
    outliers: bool = False,
) -> "Axes":
    """Draw the median of each cluster over the changes, in a band from the 10th to the 90th percentile.

    Args:
        trends: What to draw.
        ax: Axes to draw into; None for new ones of pyplot.
        kind: Where each kind was clustered by itself, the one whose clusters are drawn; None for all.
        spacing: "steps" for steps to scale, "even", or "auto": to scale where no two changes come too close.
        outliers: Whether to draw the rows that are in no cluster as well.

    Returns:
        The axes. Of more than eight clusters, the eight largest have bands.

    Raises:
        UsageError: If `spacing` is none of those, or the steps cannot be drawn to scale and are to be, or a kind is
            asked for that has no clusters of its own.
    """
    time = find_time_axis(trends.series, spacing)
    if kind is not None:
        _check_kind(trends, kind)
    ax = open_axes(ax)
    clusters = [cluster for cluster in trends.clusters if kind is None or cluster.kind == kind]
    alone = _list_alone(trends) if outliers else []
    banded = {cluster.id for cluster in sorted(clusters, key=lambda cluster: -cluster.size)[:_MOST_BANDS]}
    drawn = [_curve(cluster, "median") for cluster in clusters]
    drawn += [_curve(cluster, name) for cluster in clusters if cluster.id in banded for name in ("low", "high")]
    drawn += [trends.values[row] for row in alone]
    scale = find_scale(trends, np.array(drawn, dtype=np.float64))
    time.set_on(ax, share=0.85)
    if scale.problem:
        name_axes(ax, vertical=scale.title)
        write_note(ax, scale.problem, alone=True)
        return ax
    scale.set_axis(ax)
    if not any(np.isfinite(scale.shown(curve)).any() for curve in drawn):
        write_note(ax, explain_nothing(trends) or f"No {trends.options.noun} could be clustered.")
        return ax
    for phase in trends.phases[1:]:
        ax.axvline(time.before(phase.first), color=MUTED, lw=0.8, ls=":", zorder=0.5)
    for row in alone:
        ax.plot(time.places, scale.shown(trends.values[row]), color=ALONE, lw=0.7, alpha=0.6, zorder=1.5)
    _draw_clusters(ax, clusters, scale, time, banded=banded)
    air = 0.03 * float(np.ptp(time.places)) or 0.5
    ax.set_xlim(float(time.places.min()) - air, float(time.places.max()) + air)
    ax.spines[["top", "right"]].set_visible(False)
    _explain(ax, clusters, len(alone))
    return ax


def _check_kind(trends: Trends, kind: str) -> None:
    known = [part.kind for part in trends.kinds]
    if not known:
        raise UsageError(f"kind={kind!r} chooses among the clusters of each kind: give by_kind=True as well")
    if kind not in known:
        raise UsageError(f"no {trends.options.noun} is of the kind {kind!r}: there are {', '.join(known)}")


def _list_alone(trends: Trends) -> list[int]:
    """Rows in no cluster that have a number, outliers first."""
    alone = np.flatnonzero((trends.labels < 0) & np.isfinite(trends.values).any(axis=1))
    return [int(row) for row in alone[np.argsort(~trends.outliers[alone], kind="stable")][:_MOST_OUTLIERS]]


def _curve(cluster: Cluster, name: str) -> NDArray[np.float64]:
    return np.array(getattr(cluster, name), dtype=np.float64)


def _draw_clusters(
    ax: "Axes", clusters: Sequence[Cluster], scale: ValueScale, time: TimeAxis, *, banded: set[int]
) -> None:
    size = 0.6 * font_points("font.size")
    shade = _SHADES[len(banded) > _FEW_BANDS]
    stride = max(1, -(-len(time.places) // _MOST_MARKS))
    for place, cluster in enumerate(clusters):
        low, median, high = (scale.shown(_curve(cluster, name)) for name in ("low", "median", "high"))
        if cluster.id in banded:
            colour = colour_of(cluster.id)
            # A low end of 0 has no place on a logarithmic scale: the band then reaches the edge.
            low = np.where(np.isnan(low) & np.isfinite(high), ax.get_ylim()[0], low)
            ax.fill_between(time.places, low, high, where=np.isfinite(high), color=colour, alpha=shade, lw=0, zorder=1)
        ax.plot(
            time.places,
            median,
            lw=1.3,
            ls=dash_of(cluster.id),
            markevery=(place * stride // max(len(clusters), 1), stride),
            zorder=2.5,
            label=name_cluster(cluster),
            **mark_style(cluster.id, size),
        )


def _explain(ax: "Axes", clusters: Sequence[Cluster], num_alone: int) -> None:
    """A legend of the clusters, largest first where they are too many, and of what is drawn beside them."""
    from matplotlib.lines import Line2D

    named = sorted(sorted(clusters, key=lambda cluster: -cluster.size)[:_MOST_NAMES], key=lambda cluster: cluster.id)
    size = 0.6 * font_points("legend.fontsize")
    handles = [
        Line2D([], [], lw=1.3, ls=dash_of(cluster.id), label=name_cluster(cluster), **mark_style(cluster.id, size))
        for cluster in named
    ]
    if len(clusters) > _MOST_BANDS:
        handles.append(Line2D([], [], ls="none", label=f"bands of the {_MOST_BANDS} largest clusters"))
    if len(named) < len(clusters):
        handles.append(Line2D([], [], ls="none", label=f"and {len(clusters) - len(named)} smaller clusters"))
    if num_alone:
        handles.append(Line2D([], [], color=ALONE, lw=0.7, label=f"{format_count(num_alone, 'row')} in no cluster"))
    add_legend(ax, handles, room_of(ax)[0], most_columns=3)
