"""What is read when: rows cut into segments, segments packed into bands that fit the memory allowed."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.changes import base
from wsanalyze.changes.base import Band, IntArray
from wsanalyze.changes.places import Places
from wsanalyze.errors import UsageError

DEFAULT_MEMORY_BYTES: Final = 128_000_000
MIN_MEMORY_BYTES: Final = 32_000_000
BAND_BYTES: Final = 2**24
"""Most room of one side of a band where files lie on disk: so much that handing bands out costs little."""
_ALIGNMENT: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What is read when, and by how many.

    Attributes:
        bands: In the order in which they are walked.
        num_threads: How many threads walk them.
        num_held: How many sides of a band are held at once.
        room: Bytes of one side's buffer; a larger band has its own and is walked while no other is.
        needed: bool array of shape (L, Q): the cells to be measured.
        pairs: The Q pairs of checkpoints, (before, after) each, as indices among the T.
    """

    bands: tuple[Band, ...]
    num_threads: int
    num_held: int
    room: int
    needed: NDArray[np.bool_]
    pairs: tuple[tuple[int, int], ...]

    @property
    def memory_bytes(self) -> int:
        """Memory that all buffers take at most; of a tensor that is put in order, its bytes as they lie count too."""
        largest = max((band.nbytes for band in self.bands), default=0)
        whole = (self.num_held + 1) * largest if largest > self.room else 0
        return self.num_held * self.num_threads * self.room + whole


def check_memory(memory_bytes: int) -> None:
    """Refuse less memory than one segment of each side takes.

    Raises:
        UsageError: If it is less.
    """
    if memory_bytes < MIN_MEMORY_BYTES:
        raise UsageError(f"--memory must be at least {MIN_MEMORY_BYTES // 10**6}MB")


def make_plan(
    places: Places,
    pairs: tuple[tuple[int, int], ...],
    needed: NDArray[np.bool_],
    memory_bytes: int,
    num_threads: int = 1,
    band_bytes: int | None = BAND_BYTES,
    *,
    pinned: bool = False,
) -> Plan:
    """Lay the rows out in the order of their files and cut that into bands.

    Args:
        places: Where the tensors lie.
        pairs: The Q pairs of checkpoints, (before, after) each.
        needed: bool array of shape (L, Q): the cells to be measured.
        memory_bytes: Memory allowed for the buffers of all threads and sides.
        num_threads: How many threads there may be; fewer are planned where the memory is too small for so many.
        band_bytes: Most bytes of one side of a band; None for as many as fit.
        pinned: Whether memory of buffers is pinned, and so had in powers of two.

    Returns:
        Bands whose buffers fit in the memory, or hold one segment only. A tensor whose elements lie in different
        orders in different checkpoints is one segment, whatever its size.

    Raises:
        UsageError: If the memory allowed is too small for one segment of each side.
    """
    check_memory(memory_bytes)
    num_held = count_held(pairs, needed)
    segments = _cut(places, find_touched(places, pairs, needed))
    sizes, whole = segments.nbytes, segments.whole
    largest = int(sizes[~whole].max(initial=1))
    if num_held * largest > memory_bytes:
        least = -(-num_held * largest // 10**6)
        raise UsageError(
            f"--memory must be at least {least}MB for tensors of this type and {num_held} checkpoints at once"
        )
    num_threads = max(1, min(num_threads, memory_bytes // (num_held * largest)))
    room = memory_bytes // (num_held * num_threads)
    if band_bytes is not None:
        room = min(room, max(band_bytes, largest))
    if pinned:
        room = max(largest, 2 ** (room.bit_length() - 1))
    bands = _pack(segments, room)
    room = max((band.nbytes for band in bands if band.nbytes <= room), default=align(1))
    return Plan(bands, max(1, min(num_threads, len(bands))), num_held, room, needed, pairs)


def count_held(pairs: tuple[tuple[int, int], ...], needed: NDArray[np.bool_]) -> int:
    """How many checkpoints are held at once, at most: each as long as a later one is compared with it."""
    last = _find_last_uses(pairs, needed)
    sides = sorted({side for pair in np.flatnonzero(needed.any(axis=0)).tolist() for side in pairs[pair]})
    return max((sum(last.get(s, s) >= side for s in sides if s <= side) for side in sides), default=2)


def _find_last_uses(pairs: tuple[tuple[int, int], ...], needed: NDArray[np.bool_]) -> dict[int, int]:
    last: dict[int, int] = {}
    for pair in np.flatnonzero(needed.any(axis=0)).tolist():
        before, after = pairs[pair]
        last[before] = max(last.get(before, after), after)
    return last


def find_touched(places: Places, pairs: tuple[tuple[int, int], ...], needed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which tensors are read: bool array of shape (L, T), true where a needed cell has a side there."""
    touched = np.zeros(places.numel.shape, dtype=np.bool_)
    for pair, (before, after) in enumerate(pairs):
        touched[:, before] |= needed[:, pair]
        touched[:, after] |= needed[:, pair]
    return touched


def align(nbytes: Any) -> Any:  # noqa: ANN401 - an int, or an array of them
    """Round bytes up, so that what lies behind them is aligned."""
    return -(-nbytes // _ALIGNMENT) * _ALIGNMENT


@dataclass(frozen=True, slots=True, eq=False)
class _Segments:
    """All segments, in the order of the files; the arrays of a band, and the room that each takes."""

    rows: IntArray
    indices: IntArray
    starts: IntArray
    stops: IntArray
    whole: NDArray[np.bool_]
    nbytes: IntArray


def _cut(places: Places, touched: NDArray[np.bool_]) -> _Segments:
    used = touched & (places.numel >= 0)
    rows = np.flatnonzero(used.any(axis=1))
    first = used[rows].argmax(axis=1)
    rows = rows[np.lexsort((rows, places.offset[rows, first], places.file[rows, first]))]
    numel = np.where(used[rows], places.numel[rows], 0).max(axis=1, initial=0)
    size = base.SEGMENT_ELEMENTS
    counts = np.where(places.whole[rows], 1, np.maximum(1, -(-numel // size)))
    row = np.repeat(rows, counts)
    index = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    whole = places.whole[row]
    starts = np.where(whole, 0, index * size)
    stops = np.where(whole, np.repeat(numel, counts), np.minimum(starts + size, np.repeat(numel, counts)))
    rooms = np.zeros(len(row), dtype=np.int64)
    for side in np.flatnonzero(used.any(axis=0)).tolist():
        held = np.minimum(stops, places.numel[row, side]) - np.minimum(starts, places.numel[row, side])
        rooms = np.maximum(rooms, np.where(used[row, side], held * places.itemsize[row, side], 0))
    return _Segments(row, index, starts, stops, whole, align(rooms))


def _pack(segments: _Segments, room: int) -> tuple[Band, ...]:
    """Runs of segments that fit in the room, or hold one only."""
    ends = np.cumsum(segments.nbytes)
    bands = []
    start = 0
    while start < len(ends):
        taken = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, taken + room, side="right")))
        arrays = (segments.rows, segments.indices, segments.starts, segments.stops)
        rows, indices, starts, stops = (array[start:stop] for array in arrays)
        bands.append(Band(rows, indices, starts, stops, segments.whole[start:stop], int(ends[stop - 1]) - taken))
        start = stop
    return tuple(bands)
