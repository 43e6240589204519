"""What stands in a cell where there is no number, and which cells those are. NumPy only.

References:
    docs/method.md, "What stands where there is no number".
"""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from wsanalyze.metrics import FloatArray, Metric, Span
from wsanalyze.sums import Sums


class State(StrEnum):
    """Why a cell has no number, or, for `UNCHANGED`, why its number is exactly 0."""

    UNCHANGED = "unchanged"
    ZERO = "zero"
    FROM_ZERO = "from zero"
    MISSING = "missing"
    NEW = "new"
    RESIZED = "resized"
    NOT_COMPARABLE = "not comparable"
    NONFINITE = "nonfinite"
    UNREADABLE = "unreadable"


StateArray = NDArray[np.object_]
"""Array of `State` or None (a plain number), shape (L, P)."""


def mark_states(values: FloatArray, metric: Metric, sums: Sums, structural: StateArray) -> StateArray:
    """Find the state of each cell and take the number from those that have none to give, in place.

    Args:
        values: What the metric made of the sums, shape (L, P).
        metric: The metric.
        sums: The sums, shape (L, P).
        structural: States that were known before anything was computed, shape (L, P).

    Returns:
        The states, shape (L, P).
    """
    states = structural.copy()
    measured = ~np.isnan(sums["n"])
    states[~measured & (states == None)] = State.UNREADABLE  # noqa: E711 - elementwise
    valid = measured & (sums["n_valid"] > 0) & (states == None)  # noqa: E711 - elementwise
    states[measured & (sums["n_valid"] == 0)] = State.NONFINITE
    states[measured & (sums["n"] == 0)] = State.ZERO  # a tensor without elements: 0 / 0
    if metric.span is not Span.TWO:  # weights that are back where they were two changes ago did change
        still = valid & (sums["changed"] == 0)
        from_zero = valid & (sums["l1_before"] == 0)
        states[still] = State.UNCHANGED
        if metric.relative:
            states[from_zero & still] = State.ZERO
            states[from_zero & ~still] = State.FROM_ZERO
    values[states != None] = np.nan  # noqa: E711 - elementwise
    values[states == State.UNCHANGED] = 0.0  # also per step, over whatever number of steps
    # A sum of squares that overflowed float64, or a step distance that is not known: no number either.
    lost = valid & (states == None) & ~np.isfinite(values)  # noqa: E711 - elementwise
    values[lost] = np.nan
    states[lost] = State.NOT_COMPARABLE
    return states
