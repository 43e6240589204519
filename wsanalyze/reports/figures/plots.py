"""`run.plot`: the figures of a run, drawn into the axes of whoever asks."""

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from wsanalyze.errors import UsageError
from wsanalyze.reports.figures.cells import Order
from wsanalyze.reports.figures.time_axis import Spacing
from wsanalyze.trends.base import TrendOptions, Trends

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Plots:
    """Draws the figures of a run.

    Each method takes the axes to draw into, or None for new ones of pyplot, and returns them; options that it does not
    name itself are those of `wsanalyze.run.Run.trends`.

    Each raises UsageError for an argument that is not known or of no use.

    Args:
        find_trends: Finds the trends for such options.
    """

    def __init__(self, find_trends: Callable[..., Trends]) -> None:
        self._find_trends = find_trends

    def heatmap(self, ax: "Axes | None" = None, *, order: Order = "depth", **options: Any) -> "Axes":  # noqa: ANN401
        """Every row by every change; see `wsanalyze.reports.figures.heatmap.draw_heatmap`."""
        from wsanalyze.reports.figures.heatmap import draw_heatmap

        return draw_heatmap(self._find("heatmap", ("order",), options), ax, order=order)

    def curves(
        self,
        ax: "Axes | None" = None,
        *,
        kind: str | None = None,
        spacing: Spacing = "auto",
        outliers: bool = False,
        **options: Any,  # noqa: ANN401 - checked by `Run.trends`
    ) -> "Axes":
        """The median of each cluster in its band; see `wsanalyze.reports.figures.curves.draw_curves`."""
        from wsanalyze.reports.figures.curves import draw_curves

        trends = self._find("curves", ("kind", "spacing", "outliers"), options)
        return draw_curves(trends, ax, kind=kind, spacing=spacing, outliers=outliers)

    def scatter(self, ax: "Axes | None" = None, *, kind: str | None = None, **options: Any) -> "Axes":  # noqa: ANN401
        """Rows by their principal components; see `wsanalyze.reports.figures.scatter.draw_scatter`."""
        from wsanalyze.reports.figures.scatter import draw_scatter

        return draw_scatter(self._find("scatter", ("kind",), options), ax, kind=kind)

    def depth(self, ax: "Axes | None" = None, **options: Any) -> "Axes":  # noqa: ANN401 - checked by `Run.trends`
        """Change over depth and time; see `wsanalyze.reports.figures.depth.draw_depth`."""
        from wsanalyze.reports.figures.depth import draw_depth

        return draw_depth(self._find("depth", (), options), ax)

    def _find(self, plot: str, own: tuple[str, ...], options: dict[str, Any]) -> Trends:
        """Find the trends, or refuse an option that neither they nor the plot know."""
        known = (*own, *(field.name for field in fields(TrendOptions)))
        for name in options:
            if name not in known:
                raise UsageError(f"plot.{plot} has no option {name!r}: there are {', '.join(known)}")
        return self._find_trends(**options)
