"""The shortest road: bands that lie alike at all checkpoints, read from open files and added up by compiled code."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import numpy as np

from wsanalyze.changes.base import Band, Batch, FailedCheckpointError, IntArray, Kernel
from wsanalyze.changes.compiled import CompiledKernel
from wsanalyze.changes.layout import Alike
from wsanalyze.changes.places import Places
from wsanalyze.changes.plan import Plan
from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, FileRef
from wsanalyze.files.local import LocalFiles, count_allowed_files

_MAX_FILES: Final = 128
"""Most files of a band: each thread has those of its band open. Of all that may be open, they take a quarter."""


class DirectWalk:
    """Walks bands whose files all lie on disk: the sums are those of `BandWalker`, to the bit.

    Args:
        places: Where the tensors lie.
        plan: What is measured.
        source: Where the bytes come from.
        kernel: What reads and adds them up.
        on_bytes: Told how many bytes came in.
    """

    def __init__(
        self,
        places: Places,
        plan: Plan,
        source: LocalFiles,
        kernel: CompiledKernel,
        on_bytes: Callable[[int], None],
    ) -> None:
        self._places = places
        self._pairs = sorted(np.flatnonzero(plan.needed.any(axis=0)).tolist(), key=lambda pair: plan.pairs[pair][::-1])
        self._sides = sorted({side for pair in self._pairs for side in plan.pairs[pair]})
        place = {side: index for index, side in enumerate(self._sides)}
        ends = [[place[side] for side in plan.pairs[pair]] for pair in self._pairs]
        self._ends = np.array(ends, dtype=np.int64).reshape(-1, 2)
        self._most_files = min(_MAX_FILES, count_allowed_files() // (4 * plan.num_threads))
        self._rooms = _assign_rooms(len(self._sides), self._ends)
        self._source = source
        self._kernel = kernel
        self._on_bytes = on_bytes

    @classmethod
    def of(
        cls, places: Places, plan: Plan, source: ByteSource, kernel: Kernel, on_bytes: Callable[[int], None]
    ) -> "DirectWalk | None":
        """The walk, or None where files lie elsewhere or nothing was compiled."""
        # One that reads in a way of its own wants to be asked for every byte.
        if type(source) is not LocalFiles or not isinstance(kernel, CompiledKernel):
            return None
        return cls(places, plan, source, kernel, on_bytes)

    def walk(self, band: Band, alike: Alike) -> list[Batch] | None:
        """Measure a band; None where it cannot be read so: the long road then finds out why.

        Raises:
            FailedCheckpointError: If a checkpoint cannot be read, or was changed meanwhile.
        """
        runs = [alike.runs[side] for side in self._sides]
        files = {self._places.files[run[0]] for side in runs for run in side}
        if len(files) > self._most_files:
            return None
        shape = len(runs), len(runs[0])
        descriptors, offsets = (np.empty(shape, dtype=np.int64) for _ in range(2))
        with ExitStack() as stack:
            for index, side in enumerate(runs):
                for place, (number, offset, _, _) in enumerate(side):
                    file = self._places.files[number]
                    descriptors[index, place] = self._open(file, self._sides[index], stack)
                    offsets[index, place] = file.start + offset
            sums = self._kernel.walk(descriptors, offsets, self._rooms, self._ends, _segments(alike))
            if sums is None:
                return None
            for index, side in enumerate(runs):
                self._verify({self._places.files[run[0]] for run in side}, self._sides[index])
        self._on_bytes(alike.nbytes_read * len(self._sides))
        return [Batch(pair, band.rows, band.indices, sums[place]) for place, pair in enumerate(self._pairs)]

    def _open(self, file: FileRef, side: int, stack: ExitStack) -> int:
        try:
            return stack.enter_context(self._source.open(file))
        except CheckpointError as error:
            raise FailedCheckpointError(side, error) from error

    def _verify(self, files: set[FileRef], side: int) -> None:
        try:
            for file in files:
                self._source.verify(file)
        except CheckpointError as error:
            raise FailedCheckpointError(side, error) from error


def _assign_rooms(num_sides: int, ends: IntArray) -> IntArray:
    """Which of the fewest rooms each side is read into: one that no later comparison needs any more."""
    last = np.arange(num_sides)
    np.maximum.at(last, ends[:, 0], ends[:, 1])
    rooms: list[int] = []
    for side in range(num_sides):
        taken = {rooms[other] for other in range(side) if last[other] >= side}
        rooms.append(next(room for room in range(num_sides) if room not in taken))
    return np.array(rooms, dtype=np.int64)


def _segments(alike: Alike) -> IntArray:
    """What compiled code is told of segments: int64 array of shape (S, 4)."""
    starts = np.array([run[2] for run in next(iter(alike.runs.values()))], dtype=np.int64)
    run = np.searchsorted(starts, alike.offsets, side="right") - 1
    return np.stack([run, alike.offsets - starts[run], alike.types, alike.numels], axis=1)
