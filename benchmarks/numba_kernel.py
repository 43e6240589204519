"""The candidate that compiles itself: all sums of two runs of float32 by numba, as C does them.

Plain blocks of 1,024 elements add up in float64 lanes; where a block's sums are not finite, what is not finite is
counted, set to zero on both sides, and the block is done again.
"""

from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

_BLOCK: Final = 1024
# Additions in any order, so that there can be lanes; NaN and infinity stay what they are.
_OPTIONS: Final = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "nsz", "contract"}}

(N, N_VALID, BAD_BEFORE, BAD_AFTER, L1_DELTA, L1_BEFORE, L1_AFTER, SQ_DELTA, SQ_BEFORE, SQ_AFTER, DOT) = range(11)
(MAX_DELTA, CHANGED, SIGN_FLIPS, REL_SUM, REL_N) = range(11, 16)


def _add_block(before: NDArray[np.float32], after: NDArray[np.float32], sums: NDArray[np.float64]) -> bool:
    l1_delta = l1_before = l1_after = sq_delta = sq_before = sq_after = dot = rel_sum = 0.0
    top = np.int32(0)  # bits of floats above zero are in the order of the floats, and have lanes where NaN is minded
    changed = flips = rel_n = 0
    for i in range(before.size):
        b, a = np.float64(before[i]), np.float64(after[i])
        delta = a - b
        size, moved = abs(before[i]), abs(after[i] - before[i])
        l1_delta += abs(delta)
        l1_before += abs(b)
        l1_after += abs(a)
        sq_delta += delta * delta
        sq_before += b * b
        sq_after += a * a
        dot += b * delta
        top = max(top, np.float32(moved).view(np.int32))
        changed += before[i] != after[i]
        flips += ((b > 0.0) != (a > 0.0)) | ((b < 0.0) != (a < 0.0))
        rel_sum += np.float64(moved / size if size > 0.0 else np.float32(0.0))
        rel_n += size > 0.0
    if not l1_delta + l1_before + l1_after + rel_sum < np.inf:
        return False
    sums[N_VALID] += before.size
    sums[L1_DELTA] += l1_delta
    sums[L1_BEFORE] += l1_before
    sums[L1_AFTER] += l1_after
    sums[SQ_DELTA] += sq_delta
    sums[SQ_BEFORE] += sq_before
    sums[SQ_AFTER] += sq_after
    sums[DOT] += dot
    sums[MAX_DELTA] = max(sums[MAX_DELTA], np.float64(np.int32(top).view(np.float32)))
    sums[CHANGED] += changed
    sums[SIGN_FLIPS] += flips
    sums[REL_SUM] += rel_sum
    sums[REL_N] += rel_n
    return True


_block: Any = numba.njit(**_OPTIONS)(_add_block)


def _measure(before: NDArray[np.float32], after: NDArray[np.float32], sums: NDArray[np.float64]) -> None:
    sums[:] = 0.0
    for start in range(0, before.size, _BLOCK):
        b, a = before[start : start + _BLOCK], after[start : start + _BLOCK]
        if _block(b, a, sums):
            continue
        bad_before, bad_after = ~np.isfinite(b), ~np.isfinite(a)
        bad = bad_before | bad_after
        _block(np.where(bad, np.float32(0.0), b), np.where(bad, np.float32(0.0), a), sums)
        sums[N_VALID] -= bad.sum()
        sums[BAD_BEFORE] += bad_before.sum()
        sums[BAD_AFTER] += bad_after.sum()
    sums[N] = before.size


measure: Any = numba.njit(**_OPTIONS)(_measure)
"""measure(before, after, sums): fills the float64 array of shape (16,)."""
