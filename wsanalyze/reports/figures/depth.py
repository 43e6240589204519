"""The plot over depth: where in the network change lies, at each change."""

from typing import TYPE_CHECKING

import numpy as np

from wsanalyze.reports.figures.heatmap import NARROW_POINTS
from wsanalyze.reports.figures.labels import INERT, room_of, write_note
from wsanalyze.reports.figures.marks import add_legend
from wsanalyze.reports.figures.scale import find_scale
from wsanalyze.reports.figures.time_axis import find_time_axis
from wsanalyze.reports.figures.window import open_axes
from wsanalyze.reports.palette import CELL_COLOURS, STATE
from wsanalyze.reports.summary import explain_nothing
from wsanalyze.trends.base import DepthProfile, Trends

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_depth(trends: Trends, ax: "Axes | None" = None) -> "Axes":
    """Draw the median of the rows at each depth over the changes, and the centre of mass of each change.

    Args:
        trends: What to draw.
        ax: Axes to draw into; None for new ones of pyplot.

    Returns:
        The axes; grey where no row has a number.
    """
    from matplotlib.ticker import MaxNLocator

    ax = open_axes(ax)
    find_time_axis(trends.series).set_on(ax, share=0.75)
    ax.set_ylabel("depth (rank, first on top)", **INERT)
    profile = trends.depth
    if profile is None or not np.isfinite(profile.values).any():
        ax.set_xticks([])
        ax.set_yticks([])
        few = "There are too few depths or numbers to say how change lies over the network."
        write_note(ax, explain_nothing(trends) or few)
        return ax
    scale = find_scale(trends, profile.values)
    values = np.maximum(profile.values, scale.low)  # 0 has the lowest colour, and NaN stays
    depths = np.array(profile.depths, dtype=np.float64)
    middle = (depths[1:] + depths[:-1]) / 2
    edges = np.concatenate([[2 * depths[0] - middle[0]], middle, [2 * depths[-1] - middle[-1]]])
    mesh = ax.pcolormesh(
        np.arange(values.shape[1] + 1) - 0.5,
        edges,
        np.ma.masked_invalid(values),
        norm=scale.make_norm(),
        cmap=CELL_COLOURS,
        rasterized=True,
    )
    ax.set_facecolor(STATE)
    ax.set_ylim(edges[-1], edges[0])
    ax.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    scale.add_colorbar(ax, mesh, below=room_of(ax)[0] < NARROW_POINTS)
    ax.spines[:].set_visible(False)
    _draw_centre(ax, profile, empty=bool(np.isnan(values).any()))
    return ax


def _draw_centre(ax: "Axes", profile: DepthProfile, *, empty: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.patheffects import Normal, Stroke

    first, last = profile.depths[0], profile.depths[-1]
    marker = "o" if len(profile.centre) == 1 else ""
    edged = [Stroke(linewidth=3.0, foreground="black"), Normal()]
    ax.plot(first + profile.centre * (last - first), color="white", lw=1.4, marker=marker, path_effects=edged, zorder=3)
    handles = [Line2D([], [], color="white", lw=1.4, path_effects=edged, label="centre of mass")]
    if empty:
        handles.append(Patch(color=STATE, label="no number"))  # type: ignore[arg-type]
    add_legend(ax, handles, room_of(ax)[0])
