"""Tensors as matrices: which, where their elements lie, and what of them counts.

A tensor of two or more axes is the matrix of its first axis by all others; one of fewer, a single column.

References:
    docs/method.md, "Spectral norms".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsanalyze.tensors.base import TensorInfo


def matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of a tensor."""
    return (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (math.prod(shape), 1)


@dataclass(frozen=True, slots=True)
class Pair:
    """Both sides of a change as tensors whose elements, in C order, are those of a matrix of the same norm.

    Attributes:
        before: The side before.
        after: The side after.
        shape: Rows and columns of the matrix.
        dtype: What products are computed in: float32, or complex64 for complex weights.
        ordered: Whether any run of elements can be read by itself; else a side is read whole.
    """

    before: TensorInfo
    after: TensorInfo
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    ordered: bool

    @classmethod
    def of(cls, before: TensorInfo, after: TensorInfo) -> "Pair":
        """The pair of two tensors of one shape."""
        is_complex = any(info.dtype.startswith("complex") for info in (before, after))
        dtype = np.dtype(np.complex64 if is_complex else np.float32)
        rows, columns = matrix_shape(before.shape)
        if before.contiguous and after.contiguous:
            return cls(before, after, (rows, columns), dtype, ordered=True)
        order = _find_order(before)
        if order is None or order != _find_order(after):
            return cls(before, after, (rows, columns), dtype, ordered=False)
        # Columns may stand in any order, and what lies column by column is the transpose.
        shape = (rows, columns) if order[0] == 0 else (columns, rows)
        return cls(_lay_flat(before), _lay_flat(after), shape, dtype, ordered=True)

    @property
    def numel(self) -> int:
        """Elements of one side."""
        return self.shape[0] * self.shape[1]

    @property
    def itemsize(self) -> int:
        """Bytes of an element of the wider side."""
        return max(self.before.type.itemsize, self.after.type.itemsize)

    @property
    def nbytes(self) -> int:
        """Bytes of both sides."""
        return self.numel * (self.before.type.itemsize + self.after.type.itemsize)


def _find_order(info: TensorInfo) -> list[int] | None:
    """The axes by their strides, where elements lie densely and the first axis is the outermost or the innermost."""
    strides = None if info.contiguous or not info.dense else info.pieces[0].strides
    if strides is None:
        return None
    order = sorted(range(len(strides)), key=lambda axis: (-strides[axis], axis))
    return order if 0 in (order[0], order[-1]) else None


def _lay_flat(info: TensorInfo) -> TensorInfo:
    return replace(info, shape=(info.numel,), pieces=(replace(info.pieces[0], strides=None),))


def clean(before: NDArray[Any], after: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both sides widened to float64 (complex128), with 0 on both where an element of either is not finite."""
    wide = np.complex128 if "c" in (before.dtype.kind, after.dtype.kind) else np.float64
    b, a = before.astype(wide), after.astype(wide)
    bad = ~(np.isfinite(b) & np.isfinite(a))
    b[bad] = 0
    a[bad] = 0
    return b, a


def sum_squares(matrix: NDArray[Any]) -> float:
    """The sum of the squares of few elements: of a block, in its own precision."""
    return float(np.vdot(matrix, matrix).real)


def is_safe(square: float) -> bool:
    """Whether a sum of squares in float32 lost nothing to its range."""
    return 1e-25 < square < 1e30  # noqa: PLR2004 - far from either end of it


def confine(value: float, square: float, num_values: int) -> float:
    """A norm, no larger than that of Frobenius, and no smaller than if all singular values were equal.

    Args:
        value: The spectral norm as it was found.
        square: The sum of the squares of all elements.
        num_values: How many singular values there are.
    """
    return min(max(value, math.sqrt(square / num_values)), math.sqrt(square))
