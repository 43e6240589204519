"""The plot over depth: where in the network change lies, at each change."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.reports.figures.heatmap import MOST_LINES, NARROW_POINTS
from wsanalyze.reports.figures.labels import name_axes, room_of, write_note
from wsanalyze.reports.figures.marks import add_legend
from wsanalyze.reports.figures.scale import find_colours
from wsanalyze.reports.figures.time_axis import find_time_axis
from wsanalyze.reports.figures.window import open_axes
from wsanalyze.reports.palette import CELL_COLOURS, STATE
from wsanalyze.reports.plotted import condense_depths
from wsanalyze.reports.summary import explain_nothing
from wsanalyze.trends.base import DepthProfile, Trends

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TITLE: Final = "depth (rank, first on top)"


def draw_depth(trends: Trends, ax: "Axes | None" = None) -> "Axes":
    """Draw the median of the rows at each depth over the changes, and the centre of mass of each change.

    Args:
        trends: What to draw.
        ax: Axes to draw into; None for new ones of pyplot.

    Returns:
        The axes; grey where no row has a number. Of more than 800 depths, neighbours share a line, which shows their
        median.
    """
    from matplotlib.ticker import MaxNLocator

    ax = open_axes(ax)
    find_time_axis(trends.series).set_on(ax, share=0.75)
    profile = trends.depth
    if profile is None or not np.isfinite(profile.values).any():
        name_axes(ax, vertical=_TITLE)
        few = "There are too few depths or numbers to say how change lies over the network."
        write_note(ax, explain_nothing(trends) or few, alone=True)
        return ax
    groups, medians = condense_depths(profile, MOST_LINES)
    largest = -(-len(profile.depths) // len(groups))
    name_axes(ax, vertical=f"{_TITLE[:-1]}; a line is the median of {largest} ranks)" if largest > 1 else _TITLE)
    scale = find_colours(trends, medians)
    if scale.problem:
        write_note(ax, scale.problem, alone=True)
        return ax
    values = medians if scale.linear else np.where(medians == 0, scale.low, medians)  # 0 has the lowest colour
    edges = _find_edges(groups)
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


def _find_edges(groups: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """Where each group of depths begins, and where the last one ends: half-way between the depths on both sides."""
    first, last = np.array(groups, dtype=np.float64).T
    middle = (last[:-1] + first[1:]) / 2
    top, bottom = (middle[0] - last[0], first[-1] - middle[-1]) if len(middle) else (0.5, 0.5)
    return np.concatenate([[first[0] - top], middle, [last[-1] + bottom]])


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
