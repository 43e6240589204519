"""The heatmap: every row by every change, with the mark of its cluster beside it."""

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from wsanalyze.reports.figures.cells import Cells, Order, arrange_cells, find_line_cluster
from wsanalyze.reports.figures.labels import INERT, drawable, font_points, letters_in, name_axes, room_of, write_note
from wsanalyze.reports.figures.marks import add_legend, make_mark, mark_style
from wsanalyze.reports.figures.scale import ValueScale, find_colours
from wsanalyze.reports.figures.time_axis import find_time_axis
from wsanalyze.reports.figures.window import open_axes
from wsanalyze.reports.names import shorten_names
from wsanalyze.reports.palette import CELL_COLOURS, STATE, TEXT, UNCHANGED
from wsanalyze.reports.summary import explain_nothing
from wsanalyze.reports.text import format_count
from wsanalyze.trends.base import Trends

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LINES: Final = 800
"""Lines that can still be told apart on a page; more rows than that are condensed to as many."""

NARROW_POINTS: Final = 330
"""Axes narrower than this have the colour bar below."""
_NAME_SHARE: Final = 0.38  # of the width, for the names of rows
_HEIGHT_SHARE: Final = 0.82  # of the height, for the rows themselves
_LINE_HEIGHT: Final = 1.12  # of the size of the font
_MOST_MARKS: Final = 16
_MORE_STRIDES: Final = 4
_LIKE: Final = 0.2  # of all names, that may be of another role


def draw_heatmap(trends: Trends, ax: "Axes | None" = None, *, order: Order = "depth") -> "Axes":
    """Draw the metric of every row at every change, on a logarithmic scale of colours.

    Cells without a number are grey; those of weights that did not change are light grey. Of more than 800 rows, those
    that follow each other share a line, which shows their median.

    Args:
        trends: What to draw.
        ax: Axes to draw into; None for new ones of pyplot.
        order: "depth", or "kind" or "cluster" for rows in groups.

    Returns:
        The axes. Their last image holds the numbers.

    Raises:
        UsageError: If `order` is none of those.
    """
    cells = arrange_cells(trends, order, MOST_LINES)
    ax = open_axes(ax)
    width, height = room_of(ax)
    find_time_axis(trends.series).set_on(ax, share=1 - _NAME_SHARE)
    name_axes(ax, vertical=_describe_rows(trends, cells, order))
    scale = find_colours(trends, cells.values)
    if scale.problem or not cells.values.size:
        write_note(ax, scale.problem or explain_nothing(trends) or "There is nothing to show.", alone=True)
        return ax
    _draw_cells(ax, cells, scale, below=width < NARROW_POINTS)
    for _, first, _ in cells.groups[1:]:
        ax.axhline(first - 0.5, color=TEXT, lw=0.8)
    named = _name_lines(ax, trends, cells, width, height)
    _mark_lines(ax, trends, cells, named)
    _explain(ax, trends, cells, width)
    return ax


def _describe_rows(trends: Trends, cells: Cells, order: Order) -> str:
    text = f"{trends.options.noun} (by {order}"
    largest = max(map(len, cells.lines), default=1)
    return f"{text}; a line is the median of {format_count(largest, 'row')})" if largest > 1 else f"{text})"


def _draw_cells(ax: "Axes", cells: Cells, scale: ValueScale, *, below: bool) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import to_rgba

    codes = np.array([to_rgba("white", 0.0), to_rgba(STATE), to_rgba(UNCHANGED)])
    shared: dict[str, Any] = {"aspect": "auto", "interpolation": "nearest", "origin": "upper"}
    ax.imshow(codes[cells.states], **shared)
    # A value of 0 that has no state (no weight flips its sign) has the lowest colour there is.
    values = cells.values if scale.linear else np.where(cells.values == 0, scale.low, cells.values)
    numbers = np.ma.masked_array(values, mask=cells.states > 0)
    image = ax.imshow(numbers, norm=scale.make_norm(), cmap=colormaps[CELL_COLOURS], **shared)
    if (cells.states == 0).any():
        scale.add_colorbar(ax, image, below=below)
    ax.spines[:].set_visible(False)


def _name_lines(ax: "Axes", trends: Trends, cells: Cells, width: float, height: float) -> list[int]:
    """Name as many lines as there is room for, or groups where there is none for each of their rows.

    Returns:
        The lines that have the name of a row.
    """
    size = font_points("ytick.labelsize")
    most = max(2, int(_HEIGHT_SHARE * height / (_LINE_HEIGHT * size)))
    letters = max(8, letters_in(_NAME_SHARE * width, size))
    num_lines = len(cells.lines)
    if len(cells.groups) > 1 and max(num_lines, len(trends.series.rows)) > most:
        names: list[str] = []
        places: list[float] = []
        for name, first, end in sorted(cells.groups, key=lambda group: group[1] - group[2]):
            place = (first + end - 1) / 2
            if all(abs(place - other) >= num_lines / most for other in places):
                names.append(f"{name} ({sum(map(len, cells.lines[first:end]))})")
                places.append(place)
        shown, named = drawable(names), []
    else:
        roles = [_name_role(trends.series.names[rows[0]]) for rows in cells.lines]
        named = list(range(0, num_lines, _pick_stride(roles, most)))
        places = [float(line) for line in named]
        shown = drawable(trends.series.names[cells.lines[line][0]] for line in named)
    ax.set_yticks(places, labels=shorten_names(shown, letters), **INERT)
    ax.tick_params(axis="y", length=0, pad=1.6 * size if named else 3.5)
    return named


def _pick_stride(roles: list[str], most: int) -> int:
    """How far apart lines are named, so that the roles among the named are as among all.

    Where two roles alternate, every second name would be of one of them. The smallest stride is taken that leaves no
    more than `most` names and no role out; where each would, the one that comes closest.
    """
    least = max(1, -(-len(roles) // most))
    strides = range(least, least + _MORE_STRIDES)
    apart = {stride: _part_ways(roles, roles[::stride]) for stride in strides}
    return next((stride for stride in strides if apart[stride] <= _LIKE), min(strides, key=lambda one: apart[one]))


def _name_role(name: str) -> str:
    """What a row is within its block: its name without the numbers of blocks."""
    return ".".join(part for part in name.split(".") if not part.isdigit())


def _part_ways(roles: list[str], named: list[str]) -> float:
    """How far the shares of roles among some lines are from those among all, from 0 to 1."""
    every, some = Counter(roles), Counter(named)
    return sum(abs(every[role] / len(roles) - some[role] / len(named)) for role in every) / 2


def _mark_lines(ax: "Axes", trends: Trends, cells: Cells, named: list[int]) -> None:
    """Put the mark of its cluster between the name of a line and its cells."""
    from matplotlib.transforms import ScaledTranslation

    if not trends.clusters:
        return
    size = font_points("ytick.labelsize")
    shift = ScaledTranslation(-0.9 * size / 72, 0, ax.figure.dpi_scale_trans)
    places: dict[tuple[int, bool], list[int]] = {}
    for line in named:
        places.setdefault(find_line_cluster(trends, cells.lines[line]), []).append(line)
    for (cluster, outlier), at in places.items():
        style = mark_style(cluster, 0.7 * size, outlier=outlier)
        ax.plot(
            [0.0] * len(at),
            at,
            transform=ax.get_yaxis_transform() + shift,
            ls="none",
            clip_on=False,
            scaley=False,
            scalex=False,
            **style,
        )


def _explain(ax: "Axes", trends: Trends, cells: Cells, width: float) -> None:
    """A legend of marks and greys, of those that there are."""
    from matplotlib.patches import Patch

    alone = trends.labels < 0
    handles: list[Any] = []
    if 0 < len(trends.clusters) <= _MOST_MARKS:
        handles = [make_mark(cluster.id, f"cluster {cluster.id}") for cluster in trends.clusters]
        words = ((True, "outlier"), (False, "in no cluster"))
        handles += [make_mark(-1, word, outlier=out) for out, word in words if (alone & (trends.outliers == out)).any()]
    greys = ((2, UNCHANGED, "unchanged"), (1, STATE, "no number"))
    handles += [Patch(color=grey, label=word) for code, grey, word in greys if (cells.states == code).any()]
    add_legend(ax, handles, width, right=True, most_columns=6)
