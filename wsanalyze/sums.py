"""The sums that one pass over two tensors yields, and how they add. NumPy only.

References:
    docs/method.md, "Sums, then ratios".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

SUM_NAMES: Final = (
    "n",
    "n_valid",
    "nonfinite_before",
    "nonfinite_after",
    "l1_delta",
    "l1_before",
    "l1_after",
    "sq_delta",
    "sq_before",
    "sq_after",
    "dot_before_delta",
    "max_delta",
    "changed",
    "sign_flips",
    "rel_sum",
    "rel_n",
)
_INDEX: Final = {name: index for index, name in enumerate(SUM_NAMES)}
_MAX_DELTA: Final = _INDEX["max_delta"]


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """The stored sums of one cell or of any array of cells.

    Attributes:
        values: float64 array of shape (..., 16), the last axis in the order of `SUM_NAMES`. NaN in a cell
            that was not measured; in a measured cell no sum is NaN, and only an overflow of float64 is inf.
    """

    values: NDArray[np.float64]

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """One sum as a float64 array of shape (...)."""
        return self.values[..., _INDEX[name]]

    def __add__(self, other: Self) -> Self:
        """Combine sums of two disjoint sets of elements: `max_delta` by maximum, the others by adding."""
        total = self.values + other.values
        total[..., _MAX_DELTA] = np.maximum(self.values[..., _MAX_DELTA], other.values[..., _MAX_DELTA])
        return type(self)(total)

    def total(self, axis: int = 0) -> Self:
        """Combine along one axis of the cells, ignoring cells that were not measured.

        Args:
            axis: Which of the leading axes to reduce; the axis of the sums themselves is not one of them.

        Returns:
            Sums of shape (...) without that axis; NaN where no cell along it was measured.
        """
        measured = ~np.isnan(self.values[..., :1]).all(axis=axis)
        total = np.nansum(self.values, axis=axis)
        filled = np.where(np.isnan(self.values[..., _MAX_DELTA]), 0.0, self.values[..., _MAX_DELTA])
        total[..., _MAX_DELTA] = filled.max(axis=axis, initial=0.0)
        return type(self)(np.where(measured, total, np.nan))

    @classmethod
    def zero(cls) -> Self:
        """The sums of no element at all."""
        return cls(np.zeros(len(SUM_NAMES)))

    @classmethod
    def unmeasured(cls, *shape: int) -> Self:
        """Cells of the given shape, all NaN."""
        return cls(np.full((*shape, len(SUM_NAMES)), np.nan))

    @classmethod
    def absent(cls, *shape: int) -> Self:
        """As `unmeasured`, of cells that will never be: read-only, and takes no memory."""
        return cls(np.broadcast_to(np.float64(np.nan), (*shape, len(SUM_NAMES))))

    @classmethod
    def of(cls, parts: Iterable[Self]) -> Self:
        """Add parts one after another, in the order given, so that the bits do not depend on who made them."""
        total = cls.zero()
        for part in parts:
            total = total + part
        return total
