"""The colours and marks of clusters, on a light ground.

Nothing is told by colour alone. The colours are those of Okabe and Ito, some of them darker so that
thin lines show on white.

References:
    Okabe and Ito, "Color universal design", 2008, https://jfly.uni-koeln.de/color/.
"""

from typing import Final

COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b97f00", "#3a9fd8", "#3c4248")
"""The colour of cluster n is that at n modulo their number; as in report.css."""

MARKS: Final = "●■◆▲▼✚✖★"
"""The mark of cluster n, likewise; their number shares no factor with that of the colours, so pairs repeat late."""

ALONE: Final = "#6a737c"
"""The colour of rows that are in no cluster."""

OUTLIER_MARK: Final = "✳"

STATE: Final = "#8a8f96"
"""A cell that has no number."""

UNCHANGED: Final = "#d3d6da"
"""A cell whose weights did not change."""

TEXT: Final = "#1d2125"
MUTED: Final = "#5b6570"
RULE: Final = "#dfe3e7"

CELL_COLOURS: Final = "viridis"
"""The colour map of numbers. Not cividis, whose middle could be taken for the grey of a state."""


def colour_of(cluster: int) -> str:
    """The colour of a cluster as `#rrggbb`; below 0 that of rows in none."""
    return ALONE if cluster < 0 else COLOURS[cluster % len(COLOURS)]
