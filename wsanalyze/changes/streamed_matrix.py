"""Spectral norms of a pair of matrices that do not fit in memory: every product reads both sides anew."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.changes.matrices import Pair, clean, confine, is_safe, sum_squares
from wsanalyze.changes.spectrum import Block, Norm, Search, multiply_gram

TOLERANCE: Final = 5e-3
"""Relative error at which a search ends here, where each step costs a pass over both sides."""
_MOST_COLUMNS: Final = 2**16

ReadSide = Callable[[int, int, int, NDArray[np.uint8]], NDArray[Any]]
"""Reads elements into a buffer: of which side (0 before, 1 after), the first, and one behind the last."""


class StreamedPair:
    """A pair of which some rows, or some columns, are in memory at a time.

    Args:
        pair: The pair, `ordered`.
        read: What reads elements; of wide matrices short runs.
        memory_bytes: Memory allowed.
    """

    def __init__(self, pair: Pair, read: ReadSide, memory_bytes: int) -> None:
        self._pair = pair
        self._read_side = read
        self._by_columns = pair.shape[1] > max(_MOST_COLUMNS, pair.shape[0])
        self._size = pair.shape[0] if self._by_columns else pair.shape[1]
        # An element takes room on both sides, twice as it is computed with, and in what is halfway between.
        self._chunk = max(1, memory_bytes // (4 * (2 * pair.itemsize + 8 * pair.dtype.itemsize)))
        self._max_columns = memory_bytes // (2 * 64 * self._size)

    def find(self, starts: Sequence[Block | None]) -> list[Norm]:
        """The norms of the change and of the weights before, as `find_held` gives them.

        Raises:
            CheckpointError: As `read` does.
        """
        wide = np.dtype(np.complex128 if self._pair.dtype.kind == "c" else np.float64)
        narrow = self._pair.itemsize <= self._pair.dtype.itemsize
        with np.errstate(all="ignore"):
            norms = self._find(starts, self._pair.dtype, wide) if narrow else None
            return norms or self._find(starts, wide, wide) or [Norm(math.nan, 0.0)] * 2

    def _find(self, starts: Sequence[Block | None], dtype: np.dtype[Any], wide: np.dtype[Any]) -> list[Norm] | None:
        """The norms by products in a dtype; None where its range is too small."""
        searches = [Search(self._size, TOLERANCE, start, self._max_columns, wide) for start in starts]
        squares = self._multiply(searches, dtype)
        if squares is None or (dtype != wide and not all(is_safe(square) or square == 0.0 for square in squares)):
            return None
        while not all(search.done for search in searches):
            if self._multiply(searches, dtype) is None:
                return None
        norms = [search.result() for search in searches]
        num_values = min(self._pair.shape)
        values = [confine(norm.value, square, num_values) for norm, square in zip(norms, squares, strict=True)]
        return [replace(norm, value=value) for norm, value in zip(norms, values, strict=True)]

    def _multiply(self, searches: Sequence[Search], dtype: np.dtype[Any]) -> list[float] | None:
        """One step of both searches: the sums of squares, or None where a product is not finite."""
        products = [np.zeros_like(search.block) for search in searches]
        squares = [0.0, 0.0]
        for before, after in self._read():
            for index, matrix in enumerate(_convert(before, after, dtype)):
                square = sum_squares(matrix)
                # Too small to be squared is not 0.
                squares[index] += square or (math.ulp(0.0) if matrix.any() else 0.0)
                if not searches[index].done and square:
                    turned = matrix.T if self._by_columns else matrix
                    products[index] += multiply_gram(turned, searches[index].block)
        for product, search in zip(products, searches, strict=True):
            if not np.isfinite(product).all():
                return None
            if not search.done:
                search.take(product)
        return squares

    def _read(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Both sides, some rows or some columns at a time: arrays of two axes."""
        num_rows, num_columns = self._pair.shape
        along, across = (num_columns, num_rows) if self._by_columns else (num_rows, num_columns)
        step = max(1, self._chunk // across)
        for start in range(0, along, step):
            part = slice(start, min(start + step, along))
            rows, columns = (slice(0, num_rows), part) if self._by_columns else (part, slice(0, num_columns))
            yield self._read_box(0, rows, columns), self._read_box(1, rows, columns)

    def _read_box(self, side: int, rows: slice, columns: slice) -> NDArray[Any]:
        info = (self._pair.before, self._pair.after)[side]
        num_rows, width = rows.stop - rows.start, columns.stop - columns.start
        length = width * info.type.itemsize
        room = np.empty(num_rows * length, dtype=np.uint8)
        if width == self._pair.shape[1]:
            return self._read_side(side, rows.start * width, rows.stop * width, room).reshape(num_rows, width)
        for index in range(num_rows):
            start = (rows.start + index) * self._pair.shape[1] + columns.start
            elements = self._read_side(side, start, start + width, room[index * length :])
        return room.view(elements.dtype).reshape(num_rows, width)


def _convert(before: NDArray[Any], after: NDArray[Any], dtype: np.dtype[Any]) -> list[NDArray[Any]]:
    """The change and the weights before, without what is not finite on either side."""
    b = before.astype(dtype)
    change = after.astype(dtype)
    np.subtract(change, b, out=change)
    if np.isfinite(change).all():
        return [change, b]
    b, a = clean(before, after)
    return [(a - b).astype(dtype), b.astype(dtype)]
