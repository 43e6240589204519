"""Figures as files, for papers: every plot for one and for two columns, as SVG, PDF and PNG."""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wsanalyze.errors import ReportError
from wsanalyze.reports.figures.curves import draw_curves
from wsanalyze.reports.figures.depth import draw_depth
from wsanalyze.reports.figures.heatmap import draw_heatmap
from wsanalyze.reports.figures.marks import name_cluster
from wsanalyze.reports.figures.scale import near_ends
from wsanalyze.reports.figures.scatter import draw_scatter
from wsanalyze.reports.figures.window import load_matplotlib
from wsanalyze.reports.files import explain_failure, write_bytes
from wsanalyze.reports.palette import MUTED, RULE, TEXT
from wsanalyze.reports.summary import describe_size
from wsanalyze.reports.text import join_some
from wsanalyze.trends.base import Trends

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES: "Final[dict[str, Callable[..., Axes]]]" = {
    "heatmap": draw_heatmap,
    "curves": draw_curves,
    "scatter": draw_scatter,
    "depth": draw_depth,
}
"""What draws each figure, by its name."""

WIDTHS: Final = {"1col": 3.3, "2col": 7.0}
"""Widths in inches: one column of a page, and both."""

FORMATS: Final = ("svg", "pdf", "png")
_DPI: Final = 300
_FONT_POINTS: Final = 7.0
_SMALL_POINTS: Final = 6.0
_ROW_INCHES: Final = 0.1
_MOST_ROWS: Final = 64  # that are named one by one; a page is not taller
_LEAST_ROWS: Final = 6
_MOST_FAILURES: Final = 3  # that are named one by one
_LINE_LETTERS: Final = 58  # that a legend of one column takes in a line

STYLE: Final[dict[str, Any]] = {
    # TrueType, whole glyphs as outlines: a PDF that journals take, an SVG that looks the same where the font is not.
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "wsanalyze",
    "font.family": ["DejaVu Sans"],
    "font.size": _FONT_POINTS,
    "axes.labelsize": _FONT_POINTS,
    "axes.titlesize": _FONT_POINTS,
    "xtick.labelsize": _SMALL_POINTS,
    "ytick.labelsize": _SMALL_POINTS,
    "legend.fontsize": _SMALL_POINTS,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": TEXT,
    "ytick.labelcolor": TEXT,
    "grid.color": RULE,
}


class FiguresReporter:
    """Writes every figure into a folder.

    The files are `heatmap-1col.svg` and so on: the names in `FIGURES`, for each of `WIDTHS`, in each of `FORMATS`. The
    user's settings of matplotlib play no part, and the same trends give the same bytes.

    Args:
        version: The version of wsanalyze.
    """

    def __init__(self, *, version: str) -> None:
        self.version = version

    def write(self, trends: Trends, folder: Path) -> tuple[Path, ...]:
        """Write the figures; see `wsanalyze.reports.base.FolderReporter.write`.

        Raises:
            ReportError: If the folder or a file cannot be written; the message names it. The others are written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ReportError(f"cannot make the folder {folder} for figures: {explain_failure(error)}") from error
        written, failed = [], dict[str, str]()
        for name, content in self._try_all(trends, failed):
            try:
                write_bytes((content,), folder / name)
                written.append(folder / name)
            except ReportError as error:
                failed[name] = explain_failure(error.__cause__) if isinstance(error.__cause__, OSError) else str(error)
        if failed:
            raise ReportError(_list_failures(folder, failed, len(written)))
        return tuple(written)

    def _try_all(self, trends: Trends, failed: dict[str, str]) -> Iterator[tuple[str, bytes]]:
        """Each file that can be drawn, by its name; why others cannot is noted."""
        for name in FIGURES:
            for width in WIDTHS:
                try:
                    yield from list(self._render_figure(trends, name, width))
                except (ValueError, OverflowError) as error:
                    if not near_ends(trends.values):
                        raise
                    # An axis of matplotlib ends where floats do.
                    reason = f"numbers near the ends of floats: {error}"
                    failed.update({f"{name}-{width}.{suffix}": reason for suffix in FORMATS})

    def render(self, trends: Trends) -> Iterator[tuple[str, bytes]]:
        """Each file, by its name."""
        for name in FIGURES:
            for width in WIDTHS:
                yield from self._render_figure(trends, name, width)

    def _render_figure(self, trends: Trends, name: str, width: str) -> Iterator[tuple[str, bytes]]:
        title = f"{name}: {describe_size(trends)}"
        with use_style():
            figure = make_figure(trends, name, WIDTHS[width])
            for suffix in FORMATS:
                yield f"{name}-{width}.{suffix}", _save(figure, suffix, _describe(suffix, title, self.version))


def list_figures(folder: Path) -> tuple[Path, ...]:
    """The files that `FiguresReporter` writes into a folder."""
    return tuple(folder / f"{name}-{width}.{suffix}" for name in FIGURES for width in WIDTHS for suffix in FORMATS)


def write_figures(trends: Trends, folder: Path) -> tuple[Path, ...]:
    """Write every figure into a folder; see `FiguresReporter`."""
    from wsanalyze.version import __version__

    return FiguresReporter(version=__version__).write(trends, folder)


def render_svg(trends: Trends, name: str, width: float) -> bytes:
    """One of `FIGURES` as an SVG image of a width in inches."""
    with use_style():
        return _save(make_figure(trends, name, width), "svg", {"Date": None, "Creator": None})


def use_style() -> AbstractContextManager[None]:
    """The settings that figures are written with, in place of the user's."""
    load_matplotlib()
    from matplotlib.style import context

    return context(["default", STYLE])


def make_figure(trends: Trends, name: str, width: float) -> "Figure":
    """Draw one of `FIGURES` in the settings of matplotlib that are in force, and lay it out for good.

    Args:
        trends: What to draw.
        name: Which figure.
        width: Its width in inches; its height follows from what there is to draw.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, _height_of(trends, name, width)), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    FIGURES[name](trends, figure.add_subplot())
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # once for all formats, which so look the same
    return figure


def _list_failures(folder: Path, failed: dict[str, str], num_written: int) -> str:
    """Which files could not be written, and why, in a line."""
    total = num_written + len(failed)
    parts = []
    for reason in dict.fromkeys(failed.values()):
        names = [name for name, why in failed.items() if why == reason]
        parts.append(f"{join_some(names, _MOST_FAILURES)} ({reason})")
    rest = "; the others are written" if num_written else ""
    return f"cannot write {len(failed)} of {total} figures in {folder}: {', '.join(parts)}{rest}"


def _height_of(trends: Trends, name: str, width: float) -> float:
    narrow = width < 5.0  # noqa: PLR2004 - inches, between the two widths
    if name == "heatmap":
        rows = min(max(len(trends.series.rows), _LEAST_ROWS), _MOST_ROWS)
        return rows * _ROW_INCHES + (1.35 if narrow else 0.9)
    names = [name_cluster(cluster) for cluster in trends.clusters[:16]]
    lines = sum(1 + (len(name) > _LINE_LETTERS) for name in names) if narrow else -(-len(names) // 2)
    legend = 0.12 * lines
    return {"curves": 0.62, "scatter": 0.75, "depth": 0.75}[name] * (width if narrow else 0.6 * width) + legend


def _save(figure: "Figure", suffix: str, metadata: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format=suffix, dpi=_DPI, metadata=metadata)
    return stream.getvalue()


def _describe(suffix: str, title: str, version: str) -> dict[str, Any]:
    """Metadata without a date."""
    creator = f"wsanalyze {version}"
    if suffix == "svg":
        return {"Title": title, "Creator": [creator], "Date": None}
    if suffix == "pdf":
        return {"Title": title, "Creator": creator, "CreationDate": None}
    return {"Title": title, "Software": creator}
