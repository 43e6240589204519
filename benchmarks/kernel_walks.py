"""The same walk with each candidate for the kernel: `python benchmarks/kernel_walks.py WAY FOLDER [--repeat 1]`.

Two workers share the tiles of a sequence of float32 safetensors files. Each reads a tile at every checkpoint in turn
into two buffers that it uses again, and takes all sums of the one before and this one. Writes the sums as JSON.
"""

import json
import os
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sequences import Files

from wsanalyze.sums import SUM_NAMES, Sums

TILE: Final = 2**18
"""Elements of a tile: of 2^15 to 2^20, the fastest for each of the ways."""
_WORKERS: Final = 2
_ITEMSIZE: Final = 4

FloatArray = NDArray[np.float32]
Measure = Callable[[FloatArray, FloatArray], NDArray[np.float64]]


def make_numpy() -> Measure:
    """Blocks in NumPy and float64: what is used where nothing was compiled."""
    from wsanalyze.changes.kernels import NumpyKernel, measure_arrays

    kernel = NumpyKernel()
    return lambda before, after: measure_arrays(kernel, before, after).values


def make_numba() -> Measure:
    """A fused loop that numba compiled and found in its cache."""
    from numba_kernel import measure

    sums = np.empty(len(SUM_NAMES))

    def call(before: FloatArray, after: FloatArray) -> NDArray[np.float64]:
        measure(before, after, sums)
        return sums

    return call


def make_compiled() -> Measure:
    """A fused loop in C, compiled when the program was installed."""
    from wsanalyze.changes import _sums

    measure: Any = _sums.measure  # takes arrays for the buffers that they are
    sums, tables, fastest = np.empty(len(SUM_NAMES)), np.empty((0, 256), np.float32), len(_sums.vectors()) - 1
    runs = np.zeros((1, 5), np.int64)

    def call(before: FloatArray, after: FloatArray) -> NDArray[np.float64]:
        runs[0, -1] = after.size
        measure(before, after, runs, tables, sums, fastest)
        return sums

    return call


WAYS: Final[dict[str, tuple[Callable[[], Measure], Callable[[], Executor]]]] = {
    "numpy-processes": (make_numpy, lambda: ProcessPoolExecutor(_WORKERS, get_context("fork"))),
    "numpy-threads": (make_numpy, lambda: ThreadPoolExecutor(_WORKERS)),
    "numba-threads": (make_numba, lambda: ThreadPoolExecutor(_WORKERS)),
    "c-threads": (make_compiled, lambda: ThreadPoolExecutor(_WORKERS)),
}


def walk(way: str, paths: Sequence[Path], repeat: int = 1) -> Sums:
    """Sums of each change of a sequence, of shape (changes,); of all repeats together."""
    make, make_executor = WAYS[way]
    with make_executor() as executor:
        return Sums.of(list(executor.map(partial(_walk_part, make, paths, repeat), range(_WORKERS))))


def _walk_part(make: Callable[[], Measure], paths: Sequence[Path], repeat: int, part: int) -> Sums:
    measure = make()
    descriptors = [os.open(path, os.O_RDONLY) for path in paths]
    starts = [8 + int.from_bytes(os.pread(descriptor, 8, 0), "little") for descriptor in descriptors]
    numel = (os.fstat(descriptors[0]).st_size - starts[0]) // _ITEMSIZE
    before, after = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    total = [Sums(np.zeros(len(SUM_NAMES))) for _ in paths[1:]]
    for first in [*range(part * TILE, numel, _WORKERS * TILE)] * repeat:
        size = min(TILE, numel - first)
        for side, (descriptor, start) in enumerate(zip(descriptors, starts, strict=True)):
            before, after = after, before
            if os.preadv(descriptor, [after[:size].data], start + _ITEMSIZE * first) != _ITEMSIZE * size:
                raise SystemExit(f"{paths[side]} is not of the size of the first")
            if side:
                total[side - 1] += Sums(measure(before[:size], after[:size]))
    for descriptor in descriptors:
        os.close(descriptor)
    return Sums(np.stack([sums.values for sums in total]))


def main() -> None:
    """Walk once and write the sums."""
    parser = ArgumentParser(description="Read and sum a sequence with one of the candidates for the kernel.")
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeat", type=int, default=1, help="so many times in one process [%(default)s]")
    options = parser.parse_args()
    print(json.dumps(walk(options.way, Files.find(options.folder).weights, options.repeat).values.tolist()))


if __name__ == "__main__":
    main()
