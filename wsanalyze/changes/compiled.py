"""The compiled kernel: the sums of kernels.py by `_sums.c`, without the interpreter's lock, where that was built."""

from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.changes.base import SWAPPED, TYPES, BandSide, IntArray, Pending
from wsanalyze.changes.kernels import HostKernel
from wsanalyze.sums import SUM_NAMES
from wsanalyze.tensors.dtypes import numpy_dtype

try:
    from wsanalyze.changes import _sums
except ImportError:  # not built: there was no compiler, or it is one of another kind of Python
    _sums = None  # type: ignore[assignment]

NUM_BUILTIN_TYPES: Final = 6
"""Types from here on have one byte, and a table says what each value means."""
_NO_TABLES: Final = np.empty((0, 256), dtype=np.float32)


def is_compiled() -> bool:
    """Whether the kernel was built."""
    return _sums is not None


def list_vectors() -> tuple[str, ...]:
    """Names of the kinds of vectors that this processor has, slowest first; none where nothing was built."""
    return _sums.vectors() if _sums is not None else ()


class CompiledKernel(HostKernel):
    """Sums by compiled code; to 3e-7 where both sides fit in float32, else to float64's own accuracy.

    Args:
        vectors: One of `list_vectors`; the fastest by default.
    """

    def __init__(self, vectors: str | None = None) -> None:
        known = list_vectors()
        self._vectors = len(known) - 1 if vectors is None else known.index(vectors)

    def measure(self, before: BandSide, after: BandSide, segments: IntArray) -> Pending:
        """See `Kernel.measure`."""
        sides = (before.offsets, before.types, after.offsets, after.types, after.numels)
        runs = np.stack([array[segments] for array in sides], axis=1)
        sums = np.empty((len(segments), len(SUM_NAMES)))
        tables = _find_tables(runs[:, 1::2])
        _sums.measure(before.data, after.data, runs, tables, sums, self._vectors)
        return lambda: sums

    def walk(
        self, descriptors: IntArray, offsets: IntArray, rooms: IntArray, pairs: IntArray, segments: IntArray
    ) -> NDArray[np.float64] | None:
        """Read segments from open files, side after side, and add up what changes between some of them.

        Args:
            descriptors: int64 array of shape (T, M): the open file of each of M runs of bytes at each of T sides.
            offsets: int64 array of shape (T, M): where each run begins there.
            rooms: int64 array of shape (T,): which room in memory each side is read into; it must last until the
                last side that it is compared with.
            pairs: int64 array of shape (Q, 2): sides before and after, in the order of those after.
            segments: int64 array of shape (S, 4): run, offset in it, type and number of elements of each segment.

        Returns:
            Sums of shape (Q, S, 16), the same bits as `measure` gives; None where something cannot be read.
        """
        sums = np.empty((len(pairs), len(segments), len(SUM_NAMES)))
        tables = _find_tables(segments[:, 2])
        num_rooms = int(rooms.max()) + 1
        done = _sums.walk(descriptors, offsets, rooms, num_rooms, pairs, segments, tables, sums, self._vectors)
        return sums if done else None


def _find_tables(types: IntArray) -> NDArray[np.float32]:
    """The tables that some types need; none for most, and then ml_dtypes is not imported."""
    return _make_tables() if ((types % SWAPPED) >= NUM_BUILTIN_TYPES).any() else _NO_TABLES


@cache
def _make_tables() -> NDArray[np.float32]:
    """What each byte means: float32 array of shape (types of one byte, 256)."""
    values: Any = np.arange(256, dtype=np.uint8)
    with np.errstate(all="ignore"):
        return np.stack([values.view(numpy_dtype(name)).astype(np.float32) for name in TYPES[NUM_BUILTIN_TYPES:]])
