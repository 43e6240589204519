"""Where a figure is drawn: axes that someone gave, or new ones of pyplot, which notebooks show."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def open_axes(ax: "Axes | None") -> "Axes":
    """The axes themselves, or new ones in a figure that makes room for what stands around them."""
    if ax is not None:
        return ax
    from matplotlib import pyplot as plt

    return plt.subplots(layout="constrained")[1]
