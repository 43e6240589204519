"""Marks of clusters as matplotlib draws them, and the legends that say which is which."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from wsanalyze.reports.figures.labels import drawable, font_points, quieten, text_points, wrap_label
from wsanalyze.reports.palette import colour_of
from wsanalyze.reports.text import shorten
from wsanalyze.reports.trend_names import name_trend
from wsanalyze.trends.base import Cluster

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

MARKERS: Final = ("o", "s", "D", "^", "v", "P", "X", "*")
"""Those of `wsanalyze.reports.palette.MARKS`, in the same order."""
OUTLIER_MARKER: Final = (6, 2, 0)  # an asterisk of six strokes
DASHES: Final[tuple[Any, ...]] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)))
_SMALLER: Final = {"D": 0.85, "s": 0.9, "*": 1.4, "P": 1.15, "X": 1.15}  # so that all look as large
_HANDLE_EMS: Final = 3.8  # what stands beside the text of an entry: its mark, and the space around both
_AXIS_EMS: Final = 6  # what stands beside the axes, above which there is no legend
_MOST_LETTERS: Final = 200  # of an entry
_MOST_LINES: Final = 2


def mark_style(cluster: int, size: float, *, outlier: bool = False) -> dict[str, Any]:
    """Options of a line that make its points the mark of a cluster.

    Args:
        cluster: Its id; below 0 for rows in none.
        size: Size in points.
        outlier: Whether the rows in none are outliers.
    """
    colour = colour_of(cluster)
    if cluster < 0:
        shape = OUTLIER_MARKER if outlier else "o"
        width = max(0.6, size / 5)
        return {"marker": shape, "ms": size * 1.2, "mec": colour, "mfc": "none", "mew": width, "color": colour}
    marker = MARKERS[cluster % len(MARKERS)]
    return {"marker": marker, "ms": size * _SMALLER.get(marker, 1.0), "mew": 0, "color": colour}


def make_mark(cluster: int, label: str, *, outlier: bool = False) -> "Line2D":
    """An entry of a legend."""
    from matplotlib.lines import Line2D

    size = 0.75 * font_points("legend.fontsize")
    return Line2D([], [], ls="none", label=label, **mark_style(cluster, size, outlier=outlier))


def name_cluster(cluster: Cluster) -> str:
    """A cluster for a legend: `0: fast, then frozen (12)`."""
    kind = "" if cluster.kind is None else f"{cluster.kind}, "
    return f"{cluster.id}: {kind}{name_trend(cluster)} ({cluster.size})"


def dash_of(cluster: int) -> Any:  # noqa: ANN401 - what matplotlib takes for a style of lines
    """The dashes of the line of a cluster."""
    return DASHES[cluster % len(DASHES)]


def add_legend(
    ax: "Axes", handles: Sequence[Any], points: float, *, right: bool = False, most_columns: int = 8
) -> None:
    """Put a legend on top of axes, in as many columns as fit.

    Args:
        ax: The axes.
        handles: Its entries, whose labels may be any text; what is too long for two lines loses its middle.
        points: The width that there is, in points.
        right: Whether it ends where the axes end; else it begins where they begin.
        most_columns: Columns at most.
    """
    if not handles:
        return
    size = font_points("legend.fontsize")
    beside = _HANDLE_EMS * size
    points -= _AXIS_EMS * size
    labels = [_fit(text, points - beside, size) for text in drawable(str(handle.get_label()) for handle in handles)]
    longest = max(text_points(line, size) for text in labels for line in text.split("\n")) + beside
    columns = min(max(1, int(points / longest)), most_columns, len(labels))
    legend = ax.legend(
        handles,
        labels,
        loc="lower right" if right else "lower left",
        bbox_to_anchor=(1.0 if right else 0.0, 1.0),
        ncols=columns,
        frameon=False,
        borderaxespad=0.2,
        borderpad=0.2,
        handlelength=2.2,
        handletextpad=0.5,
        columnspacing=1.0,
        labelspacing=0.3,
    )
    quieten(legend)


def _fit(text: str, points: float, size: float) -> str:
    """A text in two lines of so many points at most, without its middle where it is too long for them."""
    for width in range(min(len(text), _MOST_LETTERS), 8, -1):
        lines = wrap_label(shorten(text, width), points, size)
        if lines.count("\n") < _MOST_LINES and all(text_points(line, size) <= points for line in lines.split("\n")):
            return lines
    return shorten(text, 8)
