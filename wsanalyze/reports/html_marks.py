"""The marks of events above plots, and the same marks where events are listed."""

from dataclasses import dataclass
from typing import Final

from wsanalyze.series import Event


@dataclass(frozen=True, slots=True)
class EventMark:
    """A mark, as plotly.js draws it at a size of 9.

    Attributes:
        symbol: What plotly.js calls it.
        path: Its outline as SVG, about the origin.
    """

    symbol: str
    path: str

    @property
    def is_open(self) -> bool:
        """Whether it is an outline only."""
        return self.symbol.endswith("-open")


_CIRCLE: Final = "M4.5,0A4.5,4.5 0 1,1 0,-4.5A4.5,4.5 0 0,1 4.5,0Z"
_DIAMOND: Final = "M5.85,0L0,5.85L-5.85,0L0,-5.85Z"
_SQUARE: Final = "M4.5,4.5H-4.5V-4.5H4.5Z"
_MARKS: Final = {
    "spike": EventMark("triangle-up", "M-5.2,2.25H5.2L0,-4.5Z"),
    "lone": EventMark("triangle-up-open", "M-5.2,2.25H5.2L0,-4.5Z"),
    "frozen": EventMark("square", _SQUARE),
    "wakes": EventMark("square-open", _SQUARE),
    "dead": EventMark("square-cross-open", f"M0,4.5V-4.5M4.5,0H-4.5{_SQUARE}"),
    "nonfinite": EventMark("cross", "M5.4,1.8H1.8V5.4H-1.8V1.8H-5.4V-1.8H-1.8V-5.4H1.8V-1.8H5.4Z"),
    "dtype": EventMark("diamond", _DIAMOND),
    "duplicate": EventMark("circle-open", _CIRCLE),
    "impostor": EventMark("circle-x-open", f"M3.18,3.18L-3.18,-3.18M3.18,-3.18L-3.18,3.18{_CIRCLE}"),
    "unreadable": EventMark(
        "x",
        "M0,2.55l2.55,2.55l2.55,-2.55l-2.55,-2.55l2.55,-2.55l-2.55,-2.55l-2.55,2.55l-2.55,-2.55l-2.55,2.55l2.55,2.55"
        "l-2.55,2.55l2.55,2.55Z",
    ),
    "missing-steps": EventMark("diamond-open", _DIAMOND),
    "resized": EventMark("hourglass", "M4.5,4.5H-4.5L4.5,-4.5H-4.5Z"),
    "renamed": EventMark("bowtie", "M4.5,4.5V-4.5L-4.5,4.5V-4.5Z"),
    "tied": EventMark("circle-cross-open", f"M0,4.5V-4.5M4.5,0H-4.5{_CIRCLE}"),
    "phase": EventMark("triangle-down", "M-5.2,-2.25H5.2L0,4.5Z"),
    "confounded": EventMark("hexagon-open", "M3.9,-2.25V2.25L0,4.5L-3.9,2.25V-2.25L0,-4.5Z"),
}
_OTHER: Final = EventMark("circle", _CIRCLE)
SEVERAL: Final = EventMark(
    "star", "M1.42,-1.95H5.99L2.29,0.74L3.7,5.1L0,2.41L-3.7,5.1L-2.29,0.74L-5.99,-1.95H-1.42L0,-6.3Z"
)
"""What stands for several events that have no room for marks of their own."""


def mark_of(event: Event) -> EventMark | None:
    """The mark of an event above plots; None for one of no checkpoint, which has none."""
    return None if event.checkpoint is None else _MARKS.get(event.kind, _OTHER)
