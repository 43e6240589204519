"""Where a figure is drawn: axes that someone gave, or new ones of pyplot, which notebooks show."""

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from wsanalyze.errors import UsageError
from wsanalyze.options import say

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def open_axes(ax: "Axes | None") -> "Axes":
    """The axes themselves, or new ones in a figure that makes room for what stands around them.

    Raises:
        UsageError: If they are no axes of two dimensions.
    """
    if ax is not None:
        from matplotlib.axes import Axes

        if not isinstance(ax, Axes) or hasattr(ax, "get_zlim"):
            raise UsageError(f"ax takes axes of matplotlib of two dimensions, or None for new ones, not {say(ax)}")
        return ax
    from matplotlib import pyplot as plt

    return plt.subplots(layout="constrained")[1]


def load_matplotlib() -> None:
    """Import matplotlib whatever `MPLBACKEND` says, which only what opens windows has a use for.

    A name there that it does not know would end the import. One that it knows holds for pyplot afterwards, as ever.
    """
    if "matplotlib" in sys.modules:
        return
    wanted = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib as mpl
    finally:
        if wanted is not None:
            os.environ["MPLBACKEND"] = wanted
    if wanted:
        with suppress(ValueError):
            mpl.rcParams["backend"] = wanted
