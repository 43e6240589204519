"""The contract of changes: segments of tensors, bands of segments, and the kernels that turn bytes into sums."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from wsanalyze.files.base import FileRef
from wsanalyze.sums import Sums

SEGMENT_ELEMENTS: Final = 2**20
"""Elements of one segment. Segments lie on a grid from element 0 of each tensor, and their sums are added in index
order, so that a result does not depend on bands, memory or threads."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of elements of one row.

    Attributes:
        row: Index of the row.
        index: Which segment of its tensor.
        start: First element.
        stop: One behind the last element of the largest checkpoint's; where the tensor is smaller, it has fewer.
        whole: Whether it is a whole tensor that must be read at once, since its elements do not lie in order.
    """

    row: int
    index: int
    start: int
    stop: int
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """Segments that are read together: at every checkpoint in turn, the previous one's kept.

    Attributes:
        segments: In the order in which they lie in the files.
        offsets: Where each has its place in the buffer of one side, in bytes.
        nbytes: Size of that buffer.
    """

    segments: tuple[Segment, ...]
    offsets: tuple[int, ...]
    nbytes: int


class FileWindow(Protocol):
    """Brings whole files of elsewhere here, and lets them go: for changes that are measured pair by pair."""

    def plan(self, pairs: Sequence[Mapping[FileRef, int]], num_runs: int) -> bool:
        """Be told of all that is about to be read, and decide how.

        Args:
            pairs: For each change, in order, the files of both its sides and how many bytes of each are needed.
            num_runs: How many requests would fetch just these bytes.

        Returns:
            Whether files are brought here whole, pair by pair; else what is read is fetched as it is read.

        Raises:
            SourceError: If there is no way to read them.
        """

    def advance(self, index: int) -> None:
        """Let go of what no pair from the `index`th on needs."""

    def bring(self, file: FileRef, on_bytes: Callable[[int], None]) -> None:
        """Bring a file here, unless it is; `on_bytes` is told of bytes received.

        Raises:
            CheckpointError: If it cannot be had, or is not the one listed.
            SourceError: If there is no room for it.
        """

    def finish(self, newest: Sequence[FileRef]) -> None:
        """Let go of all but the files of the newest checkpoint: nothing will be read any more."""


class Kernel(Protocol):
    """Computes the stored sums of two runs of elements."""

    def measure(self, before: NDArray[Any], after: NDArray[Any]) -> Sums:
        """All two-tensor sums.

        Args:
            before: Elements before, shape (n,), any floating or complex dtype.
            after: Elements after, shape (n,), any floating or complex dtype.

        Returns:
            Sums of one cell, float64, to a relative error of 1e-6 of a float64 computation. An element that is not
            finite on either side counts only in `nonfinite_before`, `nonfinite_after` and `n`.
        """


FloatBlock = NDArray[np.float64]
