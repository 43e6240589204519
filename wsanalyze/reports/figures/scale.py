"""The scale of the values of a metric: logarithmic, or linear where values have a sign, with round numbers on it."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsanalyze.reports.figures.labels import INERT, drawable, font_points, name_axes, room_of, wrap_label
from wsanalyze.reports.plotted import metric_words
from wsanalyze.trends.base import Trends

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar
    from matplotlib.colors import Normalize
    from matplotlib.ticker import Locator

_DIGITS: Final = ((1,), (1, 2, 5), (1, 2, 3, 4, 5, 6, 7, 8, 9))
_ENOUGH_TICKS: Final = 3
_SMALLEST_PLAIN: Final = 1e-4
_LARGEST_PLAIN: Final = 1e5
_AIR: Final = 0.04
_LOG_ENDS: Final = (-150.0, 150.0)  # an axis looks for ticks as far again on either side, where floats must reach
_LINEAR_ENDS: Final = (-1e150, 1e150)
_BEYOND_ALL: Final = "Numbers lie beyond what an axis can hold (1e-150 to 1e150); the tables have them."
_LEAST_SPAN: Final = 1e-9
_BEYOND: Final = 0.01  # of all cells, that may lie beyond either end of the colours
_FAR: Final = 0.25  # of the range of the others, that makes such cells lie far off
_EXTENSIONS: Final[dict[tuple[bool, bool], Literal["neither", "min", "max", "both"]]] = {
    (False, False): "neither",
    (True, False): "min",
    (False, True): "max",
    (True, True): "both",
}
_MOST_BELOW: Final = 5  # ticks of a bar below narrow axes
_BELOW_SHARE: Final = 0.55  # of the width, for the name of a bar below: beside names of rows it has no more
_BESIDE_SHARE: Final = 0.7  # of the height, for that of a bar beside


@dataclass(frozen=True, slots=True)
class ValueScale:
    """How values are shown.

    Attributes:
        title: The metric with its unit.
        linear: Whether the scale is linear; else it is logarithmic.
        low: The lowest value that the scale can show.
        high: The highest one, above `low`.
        below: Whether values lie below `low`, which have its colour.
        above: Whether values lie above `high`, which have its colour.
        problem: Why the values cannot be shown, in a sentence to be drawn in their place; "" where they can.
    """

    title: str
    linear: bool
    low: float
    high: float
    below: bool = False
    above: bool = False
    problem: str = ""

    def shown(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values, NaN where the scale has no place for one (0 on a logarithmic scale)."""
        return values if self.linear else np.where(values > 0, values, np.nan)

    def make_norm(self) -> "Normalize":
        """What maps values to colours."""
        from matplotlib.colors import LogNorm, Normalize

        return Normalize(self.low, self.high) if self.linear else LogNorm(self.low, self.high)

    def make_locator(self, most: int = 7) -> "Locator":
        """Round numbers, no more than so many: powers of ten, with others between them where the range is short."""
        from matplotlib.ticker import LogLocator, MaxNLocator

        if not self.linear:
            powers = 10.0 ** np.arange(np.floor(np.log10(self.low)), np.ceil(np.log10(self.high)) + 1)
            for digits in _DIGITS:
                ticks = np.multiply.outer(powers, digits)
                if np.count_nonzero((ticks >= self.low) & (ticks <= self.high)) >= _ENOUGH_TICKS:
                    return LogLocator(10.0, digits, numticks=most)
        return MaxNLocator(5)

    def set_axis(self, ax: "Axes", span: tuple[float, float] | None = None) -> None:
        """Make this the vertical scale of axes.

        Args:
            ax: The axes.
            span: Lowest and highest value to show, in place of the scale's own.
        """
        from matplotlib.ticker import FuncFormatter, NullLocator

        ends = np.array(span or (self.low, self.high), dtype=np.float64)
        if not self.linear:
            ax.set_yscale("log")
            ends = np.log10(ends)
        air = _AIR * max(float(ends[1] - ends[0]), 1e-3)
        ends = np.clip(ends + np.array([-air, air]), *(_LINEAR_ENDS if self.linear else _LOG_ENDS))
        low, high = (ends if self.linear else 10.0**ends).tolist()
        ax.set_ylim(low, high)
        ax.yaxis.set_major_locator(ValueScale(self.title, self.linear, low, high).make_locator())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: format_tick(value)))
        ax.yaxis.set_minor_locator(NullLocator())
        name_axes(ax, vertical=self.title)

    def add_colorbar(self, ax: "Axes", mappable: "ScalarMappable", *, below: bool) -> "Colorbar":
        """Put a bar of the colours beside axes, or below them."""
        from matplotlib.ticker import FuncFormatter

        room = room_of(ax)
        bar = ax.figure.colorbar(
            mappable,
            ax=ax,
            location="bottom" if below else "right",
            ticks=self.make_locator(_MOST_BELOW) if below else self.make_locator(),
            format=FuncFormatter(lambda value, _place: format_tick(value)),
            aspect=30,
            pad=0.015 if below else 0.02,
            extend=_EXTENSIONS[self.below, self.above],
            extendfrac=0.03,
        )
        bar.minorticks_off()
        bar.outline.set_visible(False)
        points = _BELOW_SHARE * room[0] if below else _BESIDE_SHARE * room[1]
        bar.set_label(wrap_label(self.title, points, font_points("axes.labelsize")), **INERT)
        return bar


def find_scale(trends: Trends, values: NDArray[np.float64]) -> ValueScale:
    """Find the scale for some values of the metric of trends.

    Args:
        trends: Trends, whose options name the metric.
        values: float64 of any shape; NaN where there is no number.
    """
    title, unit = metric_words(trends.options.metric)
    words = drawable([title if not unit or unit in title else f"{title} ({unit})"])[0]
    numbers = values[np.isfinite(values)]
    linear = trends.options.linear or bool((numbers < 0).any())
    numbers = numbers if linear else numbers[numbers > 0]
    infinite = bool(np.isinf(values).any())  # the median of some that are near the end
    if not numbers.size:
        return ValueScale(words, linear, 0.1, 1.0, problem=_BEYOND_ALL if infinite else "")
    ends = _ends(linear=linear)
    least, most = float(numbers.min()), float(numbers.max())
    low, high = np.clip((least, most), *ends).tolist()
    if high - low <= _LEAST_SPAN * abs(high):
        low, high = (low - 0.5, high + 0.5) if linear else (low / 2, high * 2)
    beyond = infinite or least < ends[0] or most > ends[1]
    return ValueScale(words, linear, low, high, problem=_BEYOND_ALL if beyond else "")


def near_ends(values: NDArray[np.float64]) -> bool:
    """Whether some numbers lie where floats end, so that no axis has room for them."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    low, high = _ends(linear=False)
    return bool(((sizes < low) | (sizes > high)).any() or np.isinf(values).any())


def _ends(*, linear: bool) -> tuple[float, float]:
    return _LINEAR_ENDS if linear else (10.0 ** _LOG_ENDS[0], 10.0 ** _LOG_ENDS[1])


def find_colours(trends: Trends, values: NDArray[np.float64]) -> ValueScale:
    """Find the scale for the colours of cells: that of `find_scale`, without the few that lie far off.

    They would leave one colour for all others. An end of the colours is that of 99 % of the cells where the others lie
    beyond by a quarter of what the colours span; the HTML report follows the same rule.

    Args:
        trends: Trends, whose options name the metric.
        values: float64 of any shape; NaN where there is no number.
    """
    scale = find_scale(trends, values)
    shown = scale.shown(values)
    numbers = np.sort(shown[~np.isnan(shown)])
    few = int(_BEYOND * numbers.size)
    outside = (numbers < scale.low, numbers > scale.high)
    if not few or max(map(np.count_nonzero, outside)) > few:
        return scale
    ends = np.clip(np.array([scale.low, numbers[few], numbers[-1 - few], scale.high]), scale.low, scale.high)
    least, low, high, most = (ends if scale.linear else np.log10(ends)).tolist()
    far = _FAR * (high - low)
    below, above = bool(low - least > far > 0), bool(most - high > far > 0)
    return replace(
        scale,
        low=float(ends[1] if below else ends[0]),
        high=float(ends[2] if above else ends[3]),
        below=below or bool(outside[0].any()),
        above=above or bool(outside[1].any()),
        problem="",
    )


def format_tick(value: float) -> str:
    """A number of an axis, no longer than need be: `0.001`, `20`, `5e-5`."""
    if not np.isfinite(value):
        return ""  # beyond what floats hold, where an axis looks for its next tick
    if value != 0 and not _SMALLEST_PLAIN <= abs(value) < _LARGEST_PLAIN:
        mantissa, _, power = f"{value:.3e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}"
    return f"{float(f'{value:.4g}'):.7f}".rstrip("0").rstrip(".")
