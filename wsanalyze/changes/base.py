"""The contract of changes: bands of segments, what is loaded of one, and kernels that make sums of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import FileRef
from wsanalyze.tensors.dtypes import numpy_dtype

SEGMENT_ELEMENTS: Final = 2**20
"""Elements of one segment. Segments lie on a grid from element 0 of each tensor, and their sums are added in index
order, so that a result does not depend on bands, memory or threads."""

TYPES: Final = (
    "float32",
    "float64",
    "float16",
    "bfloat16",
    "complex64",
    "complex128",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
)
"""Types of elements that kernels know; a type's code is its place here."""
SWAPPED: Final = 256
"""Added to the code of a type whose bytes lie in the other order than this machine's."""

NATIVE: Final = "little" if np.little_endian else "big"

IntArray = NDArray[np.int64]
FloatBlock = NDArray[np.float64]
Pending = Callable[[], NDArray[np.float64]]
"""Waits for sums that were asked for: float64 array of shape (R, 16)."""


def type_of(code: int) -> np.dtype[Any]:
    """The NumPy dtype of a code."""
    other = "big" if np.little_endian else "little"
    return numpy_dtype(TYPES[code % SWAPPED], other if code >= SWAPPED else NATIVE)


def code_of(name: str, byteorder: str) -> int:
    """The code of a type; -1 where kernels do not know it.

    Args:
        name: Name of its dtype.
        byteorder: "little" or "big".
    """
    return _CODES.get((name, byteorder), -1)


_CODES: Final = {
    (name, order): code + (SWAPPED if (order == "little") != np.little_endian else 0)
    for code, name in enumerate(TYPES)
    for order in ("little", "big")
}


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """S segments that are read together at every checkpoint in turn, in the order in which they lie in the files.

    A segment is a run of elements of one row.

    Attributes:
        rows: int64 array of shape (S,): the row of each.
        indices: Which segment of its tensor each is.
        starts: First element of each.
        stops: One behind the last of the largest checkpoint's; where the tensor is smaller, it has fewer.
        whole: bool array of shape (S,): whole tensors that must be read at once, since their elements do not lie in
            order.
        nbytes: Room that one side of the band takes at most, in bytes.
    """

    rows: IntArray
    indices: IntArray
    starts: IntArray
    stops: IntArray
    whole: NDArray[np.bool_]
    nbytes: int

    def choose(self, kept: NDArray[np.bool_]) -> "Band":
        """The band of some of its segments: bool array of shape (S,)."""
        rows, indices, starts, stops = (array[kept] for array in (self.rows, self.indices, self.starts, self.stops))
        return Band(rows, indices, starts, stops, self.whole[kept], self.nbytes)


@dataclass(frozen=True, slots=True, eq=False)
class BandSide:
    """What was loaded of a band at one checkpoint.

    Attributes:
        data: uint8 array: the buffer.
        offsets: int64 array of shape (S,): where in the buffer the elements of each segment begin, in bytes.
        types: int64 array of shape (S,): codes of their types.
        numels: int64 array of shape (S,): how many elements each has here; -1 where it was not loaded.
        nbytes: Bytes of the buffer in use.
    """

    data: NDArray[np.uint8]
    offsets: IntArray
    types: IntArray
    numels: IntArray
    nbytes: int

    @classmethod
    def of(cls, elements: NDArray[Any]) -> "BandSide":
        """A side of one segment: any array of a type that kernels know, which is copied where it is not contiguous."""
        order = {"<": "little", ">": "big"}.get(elements.dtype.byteorder, NATIVE)
        name = elements.dtype.newbyteorder("=").name
        data = np.ascontiguousarray(elements).reshape(-1).view(np.uint8)
        offsets, types, numels = (np.array([x]) for x in (0, code_of(name, order), elements.size))
        return cls(data, offsets, types, numels, data.nbytes)

    def elements(self, segment: int) -> NDArray[Any]:
        """The elements of one segment: a view of the buffer, of shape (numel,)."""
        dtype = type_of(int(self.types[segment]))
        start = int(self.offsets[segment])
        return self.data[start : start + int(self.numels[segment]) * dtype.itemsize].view(dtype)


class FailedCheckpointError(CheckpointError):
    """A checkpoint turned out unreadable while its weights were being read.

    Args:
        side: Its index among the checkpoints matched.
        cause: What went wrong.
    """

    def __init__(self, side: int, cause: CheckpointError) -> None:
        super().__init__(str(cause))
        self.side = side


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What was measured of a band for one pair.

    Attributes:
        pair: Index of the pair.
        rows: int64 array of shape (R,): the row of each segment.
        indices: Which segment of its tensor each is.
        sums: float64 array of shape (R, 16).
    """

    pair: int
    rows: IntArray
    indices: IntArray
    sums: NDArray[np.float64]


class FileWindow(Protocol):
    """Brings whole files of elsewhere here, and lets them go: for changes that are measured one after another."""

    def plan(self, changes: Sequence[Mapping[FileRef, int]], num_runs: int) -> bool:
        """Be told of all that is about to be read, and decide how.

        Args:
            changes: For each change, in order, the files of both its sides, and of others that are compared with the
                later one, and how many bytes of each are needed.
            num_runs: How many requests would fetch just these bytes.

        Returns:
            Whether files are brought here whole, pair by pair; else what is read is fetched as it is read.

        Raises:
            SourceError: If there is no way to read them.
        """

    def advance(self, index: int) -> None:
        """Let go of what no change from the `index`th on needs."""

    def bring(self, file: FileRef, on_bytes: Callable[[int], None]) -> None:
        """Bring a file here, unless it is; `on_bytes` is told of bytes received.

        Raises:
            CheckpointError: If it cannot be had, or is not the one listed.
            SourceError: If there is no room for it.
        """

    def finish(self, newest: Sequence[FileRef]) -> None:
        """Let go of all but the files of the newest checkpoint: nothing will be read any more."""


class Kernel(Protocol):
    """Computes the stored sums of segments. One for each thread that works; what it holds is its own.

    Attributes:
        depth: How many results may be on their way while the next band side is read: 0 where they come at once.
    """

    depth: int

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """Memory of the host that sides are read into: uint8 array of shape (nbytes,), aligned to 64 bytes.

        Raises:
            MemoryError: If there is none.
        """

    def load(self, side: BandSide) -> Any:  # noqa: ANN401 - each kernel's own
        """Take in a side of a band, its buffer full; the buffer stays as it is until the side is let go of.

        Raises:
            DeviceMemoryError: If the device has no room for it: the band is too large.
        """

    def measure(self, before: Any, after: Any, segments: IntArray) -> Pending:  # noqa: ANN401 - as above
        """Ask for all two-tensor sums of some segments of two loaded sides.

        Args:
            before: The side before, loaded.
            after: The side after, loaded.
            segments: Which segments, shape (R,): loaded on both sides, and of the same numel there.

        Returns:
            What gives the sums, float64 of shape (R, 16) in the order of `SUM_NAMES`, to a relative error of 1e-6 of
            a float64 computation (of a sum of terms of both signs: relative to the sum of their absolute values). An
            element that is not finite on either side counts only in `nonfinite_before`, `nonfinite_after` and `n`.

        Raises:
            DeviceMemoryError: As `load`.
        """

    def release(self, side: Any) -> None:  # noqa: ANN401 - as above
        """Let go of a loaded side: its buffer will be written to."""


class DeviceMemoryError(Exception):
    """A device has no memory for a band; half of it may fit."""
