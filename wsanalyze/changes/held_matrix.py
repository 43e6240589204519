"""Spectral norms of a pair of matrices that fit in memory."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.changes.matrices import Pair, clean, confine, is_safe, sum_squares
from wsanalyze.changes.spectrum import Block, Norm, find_norm

_BLOCK_ELEMENTS: Final = 2**16


def find_held(
    room: NDArray[Any], sides: Sequence[NDArray[Any]], pair: Pair, starts: Sequence[Block | None]
) -> list[Norm]:
    """The norms of the change and of the weights before.

    Args:
        room: Where a matrix is put: array of shape (numel,) of the dtype of products.
        sides: The elements before and after, each of shape (numel,).
        pair: What they are.
        starts: Where the searches of the pair before ended, of the change and of the weights.

    Returns:
        Both norms; NaN where a matrix is beyond float64.
    """
    before, after = sides
    found = []
    for change, start in zip((True, False), starts, strict=True):
        with np.errstate(all="ignore"):
            scale, square = _fill(room, before, after, change=change)
        if not square or not math.isfinite(square):
            found.append(Norm(square, 0.0, start))
            continue
        norm = find_norm(room.reshape(pair.shape), start)
        value = confine(norm.value, square, min(pair.shape)) * scale
        found.append(Norm(value, norm.error, start if norm.vectors is None else norm.vectors))
    return found


def _fill(room: NDArray[Any], before: NDArray[Any], after: NDArray[Any], *, change: bool) -> tuple[float, float]:
    """Put a matrix into its room; what it was divided by, and the sum of squares of what is there."""
    if max(before.dtype.itemsize, after.dtype.itemsize) <= room.dtype.itemsize:
        square = _fill_as_is(room, before, after, change=change)
        if is_safe(square):
            return 1.0, square
    largest = 0.0
    for block in _blocks(room.size):
        largest = max(largest, float(np.abs(_clean_block(before, after, block, change=change)).max()))
    if not largest or not math.isfinite(largest):
        return 1.0, 0.0 if not largest else math.nan
    square = 0.0
    for block in _blocks(room.size):
        room[block] = _clean_block(before, after, block, change=change) / largest
        square += sum_squares(room[block])
    return largest, square


def _fill_as_is(room: NDArray[Any], before: NDArray[Any], after: NDArray[Any], *, change: bool) -> float:
    """As `_fill`, without a look at what is not finite: the sum of squares is not, either, where there is any."""
    square = 0.0
    for block in _blocks(room.size):
        out = room[block]
        out[...] = before[block]
        a = after[block].astype(room.dtype, copy=False)
        if change:
            np.subtract(a, out, out=out)
        else:
            square += 0.0 * sum_squares(a)
        square += sum_squares(out)
    return square


def _clean_block(before: NDArray[Any], after: NDArray[Any], block: slice, *, change: bool) -> NDArray[Any]:
    b, a = clean(before[block], after[block])
    return a - b if change else b


def _blocks(size: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK_ELEMENTS) for start in range(0, size, _BLOCK_ELEMENTS))
