"""Spectral norms of changes, row by row.

Each row is walked through its checkpoints, and every search begins where the one of the change before ended.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.changes.base import FailedCheckpointError
from wsanalyze.changes.held_matrix import find_held
from wsanalyze.changes.matrices import Pair
from wsanalyze.changes.spectrum import MAX_COLUMNS, SMALL, Block, Norm
from wsanalyze.changes.streamed_matrix import StreamedPair
from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource
from wsanalyze.tensors.base import TensorInfo
from wsanalyze.tensors.gather import ElementReader

_COLUMN_BYTES: Final = 32
"""What one number of one vector of a search takes: the vectors, their products, and both once more to be extended."""


@dataclass(frozen=True, slots=True)
class NormCell:
    """The norms of one row between two checkpoints.

    Attributes:
        row: Which row.
        pair: Index of the pair.
        norms: Of the change, of the weights before, and the larger one's relative error of both.
        nbytes: Bytes that were read for it.
    """

    row: int
    pair: int
    norms: tuple[float, float, float]
    nbytes: int


class NormWalk:
    """Finds norms of cells.

    Args:
        tensors: For each of L rows its tensors.
        pairs: The P pairs of checkpoints.
        needed: bool array of shape (L, P): which cells; all of them compare.
        source: Where the bytes come from.
        memory_bytes: Memory allowed.
        num_threads: How many threads there may be.
    """

    def __init__(
        self,
        tensors: Sequence[Sequence[TensorInfo | None]],
        pairs: Sequence[tuple[int, int]],
        needed: NDArray[np.bool_],
        source: ByteSource,
        memory_bytes: int,
        num_threads: int,
    ) -> None:
        self._pairs = pairs
        self._source = source
        self._memory_bytes = memory_bytes
        self._num_threads = num_threads
        self._stopped = threading.Event()
        self._cells: dict[int, list[tuple[int, Pair]]] = {}
        for row, index in np.argwhere(needed).tolist():
            before, after = (tensors[row][side] for side in pairs[index])
            if before is not None and after is not None:
                self._cells.setdefault(row, []).append((index, Pair.of(before, after)))

    @property
    def nbytes(self) -> int:
        """Bytes of both sides of all cells."""
        return sum(pair.nbytes for cells in self._cells.values() for _, pair in cells)

    def run(self) -> Iterator[NormCell]:
        """Find them all: small matrices by several threads, large ones by one.

        Raises:
            FailedCheckpointError: If a checkpoint cannot be read, or was changed meanwhile.
        """
        rooms = {row: max(_count_room(pair) for _, pair in cells) for row, cells in self._cells.items()}
        small = [row for row, room in rooms.items() if room * self._num_threads <= self._memory_bytes]
        small.sort(key=lambda row: -rooms[row])
        if self._num_threads > 1 and len(small) > 1:
            yield from self._run_together(small)
        else:
            small = []
        for row in sorted(rooms.keys() - set(small)):
            yield from self._walk(row)

    def _run_together(self, rows: Sequence[int]) -> Iterator[NormCell]:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # it ships no types

        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(self._num_threads, "norms") as pool:
            try:
                for done in as_completed([pool.submit(self._list, row) for row in rows]):
                    yield from done.result()
            finally:
                self._stopped.set()
                pool.shutdown(cancel_futures=True)
        self._stopped.clear()

    def _list(self, row: int) -> list[NormCell]:
        return list(self._walk(row))

    def _walk(self, row: int) -> Iterator[NormCell]:
        """All cells of a row."""
        reader = _SideReader(self._source)
        starts: list[Block | None] = [None, None]
        for index, pair in self._cells[row]:
            if self._stopped.is_set():
                return
            reader.begin(self._pairs[index], pair)
            found = [Norm(0.0, 0.0)] * 2
            if pair.numel and (not pair.ordered or _count_room(pair) <= self._memory_bytes):
                found = find_held(np.empty(pair.numel, dtype=pair.dtype), reader.read_both(), pair, starts)
            elif pair.numel:
                reader.forget()
                found = StreamedPair(pair, reader.read, self._memory_bytes).find(starts)
            starts = [norm.vectors for norm in found]
            norms = found[0].value, found[1].value, max(norm.error for norm in found)
            yield NormCell(row, index, norms, reader.take_count())


class _SideReader:
    """Reads both sides of one pair after another; a side that the pair before had is not read again."""

    def __init__(self, source: ByteSource) -> None:
        self._reader = ElementReader(source)
        self._sides = (-1, -1)
        self._infos: tuple[TensorInfo, ...] = ()
        self._held: dict[TensorInfo, NDArray[Any]] = {}
        self._counted = 0

    def begin(self, sides: tuple[int, int], pair: Pair) -> None:
        """Turn to a pair."""
        self._sides, self._infos = sides, (pair.before, pair.after)

    def forget(self) -> None:
        """Let go of what is held."""
        self._held.clear()

    def read_both(self) -> list[NDArray[Any]]:
        """All elements of both sides."""
        self._held = {info: held for info, held in self._held.items() if info in self._infos}
        for side, info in enumerate(self._infos):
            if info not in self._held:
                room = np.empty(info.numel * info.type.itemsize, dtype=np.uint8)
                self._held[info] = self.read(side, 0, info.numel, room)
        return [self._held[info] for info in self._infos]

    def read(self, side: int, start: int, stop: int, room: NDArray[np.uint8]) -> NDArray[Any]:
        """See `ReadSide`.

        Raises:
            FailedCheckpointError: If the side cannot be read, or was changed meanwhile.
        """
        try:
            elements = self._reader.read_into(self._infos[side], start, stop, room)
            self._reader.verify()
        except CheckpointError as error:
            raise FailedCheckpointError(self._sides[side], error) from error
        return elements

    def take_count(self) -> int:
        """Bytes read since the last time."""
        counted, self._counted = self._counted, self._reader.num_bytes
        return self._counted - counted


def _count_room(pair: Pair) -> int:
    """Bytes that a pair takes in memory, with a search in it."""
    size = min(pair.shape)
    search = 0 if size <= SMALL else size * min(size, MAX_COLUMNS) * _COLUMN_BYTES
    return pair.numel * (2 * pair.itemsize + pair.dtype.itemsize) + search
