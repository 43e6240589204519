"""The horizontal axis of all plots over time: steps to scale where that can be read, else changes evenly spaced."""

from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsanalyze.errors import UsageError
from wsanalyze.reports.figures.labels import INERT, drawable, font_points, letters_in, room_of
from wsanalyze.reports.text import shorten
from wsanalyze.series import ChangeSeries

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Spacing = Literal["auto", "steps", "even"]

# Steps that lie farther apart than this in some places than in others would fall on one another if drawn to scale.
_MOST_UNEVEN: Final = 20
_LONGEST_LABEL: Final = 14
_LEAST_TICKS: Final = 2
_NARROW_POINTS: Final = 260


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """Where changes lie on the horizontal axis.

    Attributes:
        places: float64 of shape (P,): one for each change.
        scaled: Whether the places are steps; else they are 0, 1, ...
        labels: What each change is called: the step after it, or its checkpoint.
        title: What the axis shows.
        narrow_title: The same, shorter.
    """

    places: NDArray[np.float64]
    scaled: bool
    labels: tuple[str, ...]
    title: str
    narrow_title: str

    def set_on(self, ax: "Axes", *, share: float = 1.0) -> None:
        """Make this the horizontal axis of axes.

        Args:
            ax: The axes.
            share: The part of their width that is left for the axis itself.
        """
        from matplotlib.ticker import FuncFormatter, MaxNLocator

        width = share * room_of(ax)[0]
        ax.set_xlabel(self.title if width >= _NARROW_POINTS else self.narrow_title, **INERT)
        if self.scaled:
            longest = len(f"{self.places.max(initial=0):.0f}")
            most = max(_LEAST_TICKS, letters_in(width, font_points("xtick.labelsize")) // (longest + 2))
            ax.xaxis.set_major_locator(MaxNLocator(min(most, 9), integer=True, steps=[1, 2, 2.5, 5, 10], min_n_ticks=1))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:.0f}"))
            return
        longest = max(map(len, self.labels), default=1)
        most = max(_LEAST_TICKS, letters_in(width, font_points("xtick.labelsize")) // (longest + 1))
        ticks = np.arange(0, len(self.labels), nice_stride(len(self.labels), most))
        ax.set_xticks(ticks, labels=[self.labels[tick] for tick in ticks], **INERT)

    def before(self, change: int) -> float:
        """Where a change begins: at the one before it to scale, else half-way between the two."""
        return float(self.places[change - 1]) if self.scaled else change - 0.5


def find_time_axis(series: ChangeSeries, spacing: Spacing = "even") -> TimeAxis:
    """Find where changes lie.

    Args:
        series: A series of P changes.
        spacing: "steps" to scale, "even", or "auto": to scale where no two changes come too close.

    Raises:
        UsageError: If `spacing` is none of those, or the steps are not known or do not increase and are to be to scale.
    """
    if spacing not in ("auto", "steps", "even"):
        raise UsageError(f"spacing takes auto, steps or even, not {spacing!r}")
    records = [series.checkpoints[after] for _, after in series.pairs]
    steps = [record.step for record in records]
    known = [step for step in steps if step is not None]
    complete = len(known) == len(records)
    gaps = [later - earlier for earlier, later in pairwise(known)]
    can_scale = complete and bool(known) and all(gap > 0 for gap in gaps)
    if spacing == "steps" and not can_scale:
        raise UsageError("this sequence has no increasing step numbers to draw to scale: choose even spacing")
    if spacing == "steps" or (spacing == "auto" and can_scale and (not gaps or max(gaps) <= _MOST_UNEVEN * min(gaps))):
        title = "training step after the change"
        return TimeAxis(np.array(known, dtype=np.float64), True, tuple(map(str, known)), title, title)  # noqa: FBT003
    labels = [str(step) for step in known] if complete else _name_checkpoints([record.label for record in records])
    wide, narrow = (
        ("training step after the change (evenly spaced)", "step after the change")
        if complete
        else ("checkpoint after the change (in order)", "checkpoint after the change")
    )
    return TimeAxis(np.arange(len(records), dtype=np.float64), False, tuple(labels), wide, narrow)  # noqa: FBT003


def _name_checkpoints(labels: list[str]) -> list[str]:
    """What tells `run-epoch-1.pt` from `run-epoch-2.pt`: 1 and 2; numbers are left whole."""
    start = _count_shared(labels)
    rest = [label[start:] for label in labels]
    end = _count_shared([text[::-1] for text in rest])
    names = [text[: len(text) - end] for text in rest]
    return [shorten(name, _LONGEST_LABEL) for name in drawable(names if all(names) else labels)]


def _count_shared(texts: list[str]) -> int:
    """Letters that all texts begin with, up to the number, if any, in which they part."""
    start = "".join(column[0] for column in takewhile(lambda column: len(set(column)) == 1, zip(*texts, strict=False)))
    return len(start.rstrip("0123456789"))


def nice_stride(count: int, most: int) -> int:
    """The smallest of 1, 2, 3, 4, 5, 10, 20, 30, ... that leaves no more than so many of `count` places."""
    power = 1
    while True:
        for factor in (1, 2, 3, 4, 5):
            if -(-count // (factor * power)) <= max(most, 1):
                return factor * power
        power *= 10
