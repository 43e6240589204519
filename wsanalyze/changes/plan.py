"""What is read when: rows cut into segments, segments packed into bands that fit the memory allowed."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.changes.base import SEGMENT_ELEMENTS, Band, Segment
from wsanalyze.errors import UsageError
from wsanalyze.layers.base import RowMatch
from wsanalyze.tensors.base import TensorInfo

DEFAULT_MEMORY_BYTES: Final = 128_000_000
MIN_MEMORY_BYTES: Final = 32_000_000
_ALIGNMENT: Final = 64


def plan_bands(match: RowMatch, needed: NDArray[np.bool_], memory_bytes: int) -> tuple[Band, ...]:
    """Lay the rows out in the order of their files and cut that into bands.

    Args:
        match: The rows and their tensors.
        needed: bool of shape (L, P): the cells to be measured.
        memory_bytes: Memory allowed for the buffers of both sides.

    Returns:
        Bands whose buffers fit in half of the memory each, or hold one segment only. A tensor whose elements lie in
        different orders in different checkpoints is one segment, whatever its size.

    Raises:
        UsageError: If the memory allowed is too small for one segment of each side.
    """
    check_memory(memory_bytes)
    used = [used_sides(match, needed, row) for row in range(len(match.rows))]
    rows = sorted((row for row in range(len(used)) if used[row]), key=lambda row: _position(used[row]))
    bands: list[Band] = []
    segments: list[Segment] = []
    offsets: list[int] = []
    filled = 0
    for row in rows:
        for segment, nbytes in _cut(match, row, used[row]):
            if segments and filled + nbytes > memory_bytes // 2:
                bands.append(Band(tuple(segments), tuple(offsets), filled))
                segments, offsets, filled = [], [], 0
            segments.append(segment)
            offsets.append(filled)
            filled += nbytes
    if segments:
        bands.append(Band(tuple(segments), tuple(offsets), filled))
    return tuple(bands)


def check_memory(memory_bytes: int) -> None:
    """Refuse less memory than one segment of each side takes.

    Raises:
        UsageError: If it is less.
    """
    if memory_bytes < MIN_MEMORY_BYTES:
        raise UsageError(f"--memory must be at least {MIN_MEMORY_BYTES // 10**6}MB")


def used_sides(match: RowMatch, needed: NDArray[np.bool_], row: int) -> list[TensorInfo]:
    """The tensors of a row in the checkpoints that its needed cells touch."""
    touched = sorted({side for pair in np.flatnonzero(needed[row]) for side in match.pairs[pair]})
    return [info for side in touched if (info := match.tensors[row][side]) is not None]


def count_segments(match: RowMatch, row: int) -> list[int]:
    """Segments of a row at each of the P pairs: the same for every plan, since the grid is."""
    if not _in_storage_order(_present(match, row)):
        return [1] * len(match.pairs)
    befores = (match.tensors[row][before] for before, _ in match.pairs)
    return [1 if info is None else max(1, -(-info.numel // SEGMENT_ELEMENTS)) for info in befores]


def clamp_segment(segment: Segment, info: TensorInfo) -> tuple[int, int]:
    """The elements of a tensor that a segment takes, from where to where; none where the tensor ends before."""
    return min(segment.start, info.numel), min(segment.stop, info.numel)


def _present(match: RowMatch, row: int) -> list[TensorInfo]:
    return [info for info in match.tensors[row] if info is not None]


def _in_storage_order(infos: Sequence[TensorInfo]) -> bool:
    """Whether the elements of all sides lie densely and in one and the same order, C order or not.

    Sums do not depend on the order, so such rows are read in pieces as they lie. All checkpoints are asked, not only
    those still to be read, so that a resumed run adds in the same order as an undisturbed one.
    """
    if all(info.contiguous for info in infos):
        return True
    return all(info.dense for info in infos) and len({(info.pieces[0].strides, info.shape) for info in infos}) == 1


def _position(infos: Sequence[TensorInfo]) -> tuple[str, int]:
    piece = infos[0].pieces[0]
    return piece.file.url, piece.offset


def _cut(match: RowMatch, row: int, used: Sequence[TensorInfo]) -> list[tuple[Segment, int]]:
    """Segments of a row, each with the room that its largest side takes in a buffer, in bytes."""
    numel = max(info.numel for info in used)
    if _in_storage_order(_present(match, row)):
        starts = range(0, max(1, numel), SEGMENT_ELEMENTS)
        segments = [Segment(row, i, start, min(start + SEGMENT_ELEMENTS, numel)) for i, start in enumerate(starts)]
    else:
        segments = [Segment(row, 0, 0, numel, whole=True)]
    return [(segment, max(_room(segment, info) for info in used)) for segment in segments]


def _room(segment: Segment, info: TensorInfo) -> int:
    start, stop = clamp_segment(segment, info)
    return -(-(stop - start) * info.type.itemsize // _ALIGNMENT) * _ALIGNMENT
