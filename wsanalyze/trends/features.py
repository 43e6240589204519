"""Features of the robust method: logarithms of the changes, with gaps filled and spikes tamed in the open.

Those few metrics that are no changes but numbers from -1 to 1 are taken as they are; what is said of decades then holds
of their own unit.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from wsanalyze.trends.blocks import cut_blocks, find_medians
from wsanalyze.trends.cluster import FloatArray
from wsanalyze.trends.noise import BoolArray, measure_noise

_FEW_RESTS: Final = 0.1
_STILL_STEP: Final = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """The changes of n rows as curves of log10, or as they are, ready to be compared.

    Attributes:
        values: float64 of shape (n, P), decades; finite everywhere.
        level: float64 of shape (n,), decades: median of each row over the cells that had a number.
        noise: float64 of shape (n,): standard deviation of the noise in one cell of each row, decades; see
            `moderate_noise`.
        gaps: bool of shape (n, P): cells that had no number, or 0, and were filled.
        still: bool of shape (n, P): those of them that were 0.
        spikes: bool of shape (n, P): cells that were tamed.
    """

    values: FloatArray
    level: FloatArray
    noise: FloatArray
    gaps: BoolArray
    still: BoolArray
    spikes: BoolArray

    @property
    def usual_noise(self) -> float:
        """Median noise of the rows."""
        return float(np.median(self.noise))


def make_curves(changes: FloatArray, *, linear: bool = False) -> Curves:
    """Take logarithms, fill gaps, tame spikes.

    A cell without a number takes the value between its neighbours in time; before the first and after the last number
    it takes theirs. An unchanged cell has no logarithm: it is drawn one decade below the row's smallest number, or
    filled as a gap where the row moves just before and just after and rests in a tenth of the changes at most. A spike
    is a cell far off both from its row's running median and from what the most similar rows do there; it is treated
    as a gap. An unchanged cell never is one: that a layer stood still is no slip of a measurement.

    Args:
        changes: float64 of shape (n, P), not negative; NaN where there is no number, 0 where unchanged. Every row has
            at least one number above 0.
        linear: Whether to take no logarithms: numbers from -1 to 1, of which 0 is one like any other.

    Returns:
        The curves.
    """
    from wsanalyze.trends.taming import find_spikes

    still = (changes == 0) & (not linear)
    known = np.isfinite(changes) & ~still
    still &= ~_find_lone_rests(still)
    logs = changes if linear else np.log10(changes, where=known, out=np.full(changes.shape, np.nan))
    level = find_medians(logs)
    logs = np.where(still, np.fmin.reduce(logs, axis=1, keepdims=True) - _STILL_STEP, logs)
    gaps = np.isnan(logs)
    filled = interpolate(logs)
    noise = measure_noise(filled, gaps | still, shared=True)
    # A running median errs at bends, of all rows as well.
    spikes = find_spikes(filled, measure_noise(filled, gaps | still), still) & ~gaps
    tamed = interpolate(np.where(spikes, np.nan, filled)) if spikes.any() else filled
    return Curves(tamed, level, noise, gaps | still, still, spikes)


def _find_lone_rests(still: BoolArray) -> BoolArray:
    """Unchanged cells between two that are not, in rows with few of them; bool of shape (n, P)."""
    lone = np.zeros_like(still)
    lone[:, 1:-1] = still[:, 1:-1] & ~still[:, :-2] & ~still[:, 2:]
    lone[np.count_nonzero(still, axis=1) > _FEW_RESTS * still.shape[1]] = False
    return lone


def interpolate(curves: FloatArray) -> FloatArray:
    """Fill NaN linearly between neighbours in time, and with the nearest value at the ends.

    Args:
        curves: float64 of shape (n, P); every row has at least one value.

    Returns:
        A filled copy.
    """
    filled = curves.copy()
    for block in cut_blocks(*curves.shape):
        _fill(filled[block])
    return filled


def _fill(curves: FloatArray) -> None:
    """Fill NaN in some rows, in place."""
    gaps = np.isnan(curves)
    rows, places = np.nonzero(gaps)
    if not len(rows):
        return
    # Cells in reading order: those with a number just before and just after, where they are of the same row.
    known = np.flatnonzero(~gaps)
    after = np.searchsorted(known, rows * curves.shape[1] + places)
    left, right = known[np.maximum(after - 1, 0)], known[np.minimum(after, len(known) - 1)]
    left, right = (
        np.where(side // curves.shape[1] == rows, side, other) for side, other in ((left, right), (right, left))
    )
    start, end = curves.ravel()[left], curves.ravel()[right]
    slopes = (end - start) / np.maximum(right - left, 1)
    curves[rows, places] = start + slopes * (places - left % curves.shape[1])


def take_features(curves: Curves, features: str) -> FloatArray:
    """What is compared of the curves.

    Args:
        curves: Of n rows and P changes.
        features: "shape", "level" or "both".

    Returns:
        float64 of shape (n, F), of which F is P, or 1 for levels.
    """
    num_changes = curves.values.shape[1]
    if features == "level":
        # As if every change had that level: distances then mean the same as for shapes.
        levels: FloatArray = curves.level[:, None] * np.sqrt(num_changes)
        return levels
    if features == "both" or num_changes == 1:
        return curves.values
    shapes: FloatArray = curves.values - curves.values.mean(axis=1, keepdims=True)
    return shapes
