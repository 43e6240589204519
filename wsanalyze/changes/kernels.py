"""All sums of two runs of elements on the CPU, block by block, in NumPy and float64: the reference for every kernel.

Every block is widened to float64 in buffers that stay in the processor's cache and are used again, so that no result
depends on the range or precision of the stored dtype, and no temporary is ever allocated.

References:
    docs/method.md, "Sums, then ratios".
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.changes.base import BandSide, FloatBlock, IntArray, Kernel, Pending
from wsanalyze.sums import SUM_NAMES, Sums

ALIGNMENT: Final = 64
BLOCK_ELEMENTS: Final = 2**15
_LANE: Final = 2048  # rows of this length are summed by one call of BLAS, below its threshold for threads
_NUM_LANES: Final = BLOCK_ELEMENTS // _LANE


class HostKernel:
    """What kernels of the CPU have in common: sides stay where they were read, and sums come at once."""

    depth = 0

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """See `Kernel.allocate`."""
        return allocate_aligned(nbytes)

    def load(self, side: BandSide) -> BandSide:
        """See `Kernel.load`."""
        return side

    def release(self, side: BandSide) -> None:
        """See `Kernel.release`."""


def measure_arrays(kernel: Kernel, before: NDArray[Any], after: NDArray[Any]) -> Sums:
    """All sums of two arrays of the same number of elements, by any kernel."""
    first, second = (kernel.load(BandSide.of(elements)) for elements in (before, after))
    return Sums(kernel.measure(first, second, np.array([0]))()[0])


def allocate_aligned(nbytes: int) -> NDArray[np.uint8]:
    """Memory whose first byte lies at a multiple of 64: uint8 array of shape (nbytes,)."""
    room = np.empty(nbytes + ALIGNMENT, dtype=np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + nbytes]


class NumpyKernel(HostKernel):
    """Sums in NumPy."""

    def __init__(self) -> None:
        self._before, self._after, self._delta, self._scratch = (np.zeros(BLOCK_ELEMENTS) for _ in range(4))
        self._flags, self._more_flags = (np.zeros(BLOCK_ELEMENTS, dtype=bool) for _ in range(2))

    def measure(self, before: BandSide, after: BandSide, segments: IntArray) -> Pending:
        """See `Kernel.measure`."""
        sums = np.empty((len(segments), len(SUM_NAMES)))
        for index, segment in enumerate(segments.tolist()):
            sums[index] = self._measure(before.elements(segment), after.elements(segment))
        return lambda: sums

    def _measure(self, before: NDArray[Any], after: NDArray[Any]) -> FloatBlock:
        total = np.zeros(len(SUM_NAMES))
        part = np.zeros(len(SUM_NAMES))
        max_delta = 0.0
        is_complex = before.dtype.kind == "c" or after.dtype.kind == "c"
        measure_block = self._measure_complex if is_complex else self._measure_block
        with np.errstate(all="ignore"):
            for start in range(0, before.size, BLOCK_ELEMENTS):
                block = slice(start, start + BLOCK_ELEMENTS)
                measure_block(before[block], after[block], part)
                total += part
                max_delta = max(max_delta, part[_MAX_DELTA])
        total[_MAX_DELTA] = max_delta
        return total

    def _measure_block(self, before: NDArray[Any], after: NDArray[Any], out: FloatBlock) -> None:
        size = before.size
        b, a = self._before[:size], self._after[:size]
        b[...] = before
        a[...] = after
        num_invalid = bad_before = bad_after = 0
        sq_before, sq_after = _sum_products(b, b), _sum_products(a, a)
        if not (np.isfinite(sq_before) and np.isfinite(sq_after)):
            num_invalid, bad_before, bad_after = self._drop_nonfinite(b, a)
            sq_before, sq_after = _sum_products(b, b), _sum_products(a, a)
        d, scratch = self._delta[:size], self._scratch[:size]
        np.subtract(a, b, out=d)
        out[_N] = size
        out[_N_VALID] = size - num_invalid
        out[_BAD_BEFORE] = bad_before
        out[_BAD_AFTER] = bad_after
        out[_SQ_BEFORE], out[_SQ_AFTER] = sq_before, sq_after
        out[_SQ_DELTA], out[_DOT] = _sum_products(d, d), _sum_products(b, d)
        out[_CHANGED] = self._count_nonzero(d)
        out[_REL_N] = num_nonzero = self._count_nonzero(b)
        out[_SIGN_FLIPS] = self._count_flips(b, a, has_zeros=num_nonzero < size or self._count_nonzero(a) < size)
        np.abs(a, out=scratch)
        out[_L1_AFTER] = scratch.sum()
        np.abs(b, out=b)
        out[_L1_BEFORE] = b.sum()
        np.abs(d, out=d)
        out[_L1_DELTA] = d.sum()
        out[_MAX_DELTA] = d.max()
        if num_nonzero < size:
            b[b == 0.0] = np.inf  # so that these elements add nothing to the sum of quotients
        np.divide(d, b, out=scratch)
        out[_REL_SUM] = scratch.sum()

    def _drop_nonfinite(self, b: FloatBlock, a: FloatBlock) -> tuple[int, int, int]:
        """Set elements that are not finite on either side to 0 on both; count them, and those of each side."""
        bad_before, bad_after = ~np.isfinite(b), ~np.isfinite(a)
        bad = bad_before | bad_after
        b[bad] = 0.0
        a[bad] = 0.0
        return int(bad.sum()), int(bad_before.sum()), int(bad_after.sum())

    def _count_nonzero(self, x: FloatBlock) -> int:
        # NumPy counts booleans ten times faster than it counts floats.
        return int(np.count_nonzero(np.not_equal(x, 0.0, out=self._flags[: x.size])))

    def _count_flips(self, b: FloatBlock, a: FloatBlock, *, has_zeros: bool) -> int:
        """Elements whose sign (-1, 0 or 1) differs: those of which exactly one side is above, or below, zero."""
        above, other = self._flags[: b.size], self._more_flags[: b.size]
        np.greater(b, 0.0, out=above)
        np.greater(a, 0.0, out=other)
        np.not_equal(above, other, out=above)
        count = np.count_nonzero(above)
        if has_zeros:  # from minus to zero or back: the only change of sign that is not seen above zero
            below = np.less(b, 0.0, out=other) != (a < 0.0)
            count += np.count_nonzero(below & ~above)
        return int(count)

    def _measure_complex(self, before: NDArray[Any], after: NDArray[Any], out: FloatBlock) -> None:
        """Complex weights: absolute values are moduli, the dot product is its real part, and nothing has a sign."""
        b, a = before.astype(np.complex128), after.astype(np.complex128)
        bad_before, bad_after = ~np.isfinite(b), ~np.isfinite(a)
        valid = ~(bad_before | bad_after)
        b, a = b[valid], a[valid]
        d = a - b
        abs_b, abs_a, abs_d = np.abs(b), np.abs(a), np.abs(d)
        nonzero = abs_b > 0
        out[_N], out[_N_VALID] = before.size, b.size
        out[_BAD_BEFORE], out[_BAD_AFTER] = bad_before.sum(), bad_after.sum()
        out[_L1_DELTA], out[_L1_BEFORE], out[_L1_AFTER] = abs_d.sum(), abs_b.sum(), abs_a.sum()
        out[_SQ_DELTA], out[_SQ_BEFORE], out[_SQ_AFTER] = (abs_d**2).sum(), (abs_b**2).sum(), (abs_a**2).sum()
        out[_DOT] = (b.conj() * d).real.sum()
        out[_MAX_DELTA] = abs_d.max(initial=0.0)
        out[_CHANGED], out[_SIGN_FLIPS] = np.count_nonzero(d), 0.0
        out[_REL_SUM], out[_REL_N] = (abs_d[nonzero] / abs_b[nonzero]).sum(), np.count_nonzero(nonzero)


def _sum_products(x: FloatBlock, y: FloatBlock) -> float:
    """Sum of x * y in float64, in an order that depends on nothing but the number of elements."""
    if x.size == BLOCK_ELEMENTS:
        return float(np.vecdot(x.reshape(_NUM_LANES, _LANE), y.reshape(_NUM_LANES, _LANE)).sum())
    whole = x.size - x.size % _LANE
    lanes = np.vecdot(x[:whole].reshape(-1, _LANE), y[:whole].reshape(-1, _LANE)).sum()
    return float(lanes + np.vecdot(x[whole:], y[whole:]))


(
    _N,
    _N_VALID,
    _BAD_BEFORE,
    _BAD_AFTER,
    _L1_DELTA,
    _L1_BEFORE,
    _L1_AFTER,
    _SQ_DELTA,
    _SQ_BEFORE,
    _SQ_AFTER,
    _DOT,
    _MAX_DELTA,
    _CHANGED,
    _SIGN_FLIPS,
    _REL_SUM,
    _REL_N,
) = range(len(SUM_NAMES))
