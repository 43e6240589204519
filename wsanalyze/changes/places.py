"""Where the tensors of all rows lie at all checkpoints, as arrays: what the plan and the walk compute with."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from wsanalyze.changes import base
from wsanalyze.changes.base import NATIVE, IntArray, code_of
from wsanalyze.files.base import FileRef
from wsanalyze.layers.base import RowMatch
from wsanalyze.tensors.base import TensorInfo
from wsanalyze.tensors.gather import count_bytes


@dataclass(frozen=True, eq=False)
class Places:
    """Where the tensors of L rows lie at T checkpoints; whatever is not there is -1.

    Attributes:
        tensors: For each row its tensors, as in `RowMatch`.
        files: All files, in the order of their addresses.
        file: int64 array of shape (L, T): the file of the first byte, an index into `files`.
        offset: int64 array of shape (L, T): the first byte in that file.
        numel: int64 array of shape (L, T): elements.
        itemsize: int64 array of shape (L, T): bytes of an element.
        type: int64 array of shape (L, T): the code of the type.
        simple: bool array of shape (L, T): whether the elements fill one run of bytes and are read as they lie: in
            C order, or in the same order on all sides, since sums do not depend on it.
        whole: bool array of shape (L,): rows that must be read at once, since their elements lie in another order in
            another checkpoint. All checkpoints are asked, not only those still to be read, so that a resumed run adds
            in the same order as an undisturbed one.
    """

    tensors: Sequence[Sequence[TensorInfo | None]]
    files: tuple[FileRef, ...]
    file: IntArray
    offset: IntArray
    numel: IntArray
    itemsize: IntArray
    type: IntArray
    simple: NDArray[np.bool_]
    whole: NDArray[np.bool_]

    @classmethod
    def of(cls, match: RowMatch) -> Self:
        """The places of all tensors of matched rows."""
        shape = len(match.rows), max(map(len, match.tensors), default=0)
        file, offset, numel, itemsize, code = (np.full(shape, -1, dtype=np.int64) for _ in range(5))
        simple, whole = np.zeros(shape, dtype=np.bool_), np.zeros(shape[0], dtype=np.bool_)
        files: dict[FileRef, int] = {}
        for row, tensors in enumerate(match.tensors):
            odd = False
            for side, info in enumerate(tensors):
                if info is None:
                    continue
                piece = info.pieces[0] if info.pieces else None
                size = info.type.itemsize
                numel[row, side], itemsize[row, side] = info.numel, size
                stored = info.derivation is None and piece is not None
                code[row, side] = code_of(info.dtype, piece.byteorder if piece and stored else NATIVE)
                if piece is None:
                    continue
                file[row, side], offset[row, side] = files.setdefault(piece.file, len(files)), piece.offset
                alone = info.derivation is None and len(info.pieces) == 1
                simple[row, side] = alone and piece.strides is None
                odd |= alone and piece.strides is not None
            if odd:
                whole[row] = not _in_one_order([info for info in tensors if info is not None])
                simple[row] = (numel[row] >= 0) & ~whole[row]
        order = sorted(range(len(files)), key=lambda index: list(files)[index].url) if len(files) > 1 else [0]
        return cls(match.tensors, *_sort_files(tuple(files), file, order), offset, numel, itemsize, code, simple, whole)

    @cached_property
    def content(self) -> IntArray:
        """What tells equal bytes apart, for each file: int64 array; equal where stamp and start are."""
        known: dict[tuple[str, int], int] = {}
        return np.array([known.setdefault((f.stamp, f.start), len(known)) for f in self.files], dtype=np.int64)

    def count_segments(self, before: int) -> IntArray:
        """Segments of each row of a change from a checkpoint on: the same for every plan, since the grid is."""
        counts = np.maximum(1, -(-self.numel[:, before] // base.SEGMENT_ELEMENTS))
        counts[self.whole] = 1
        return counts

    def count_bytes(self, row: int, side: int, starts: IntArray, stops: IntArray) -> int:
        """Bytes that are read for some segments of a row at one checkpoint; none where it has no tensor."""
        info = self.tensors[row][side]
        if info is None:
            return 0
        low, high = np.minimum(starts, info.numel), np.minimum(stops, info.numel)
        if self.simple[row, side]:
            return int((high - low).sum()) * info.type.itemsize
        return count_bytes(info, zip(low.tolist(), high.tolist(), strict=True))


def _sort_files(files: tuple[FileRef, ...], file: IntArray, order: list[int]) -> tuple[tuple[FileRef, ...], IntArray]:
    """Files in the order given, and their indices mapped."""
    if not files:
        return files, file
    rank = np.empty(len(files) + 1, dtype=np.int64)
    rank[order] = np.arange(len(files))
    rank[-1] = -1
    return tuple(files[index] for index in order), rank[file]


def _in_one_order(infos: Sequence[TensorInfo]) -> bool:
    """Whether the elements of all sides lie densely and in one and the same order, C order or not."""
    return all(info.dense for info in infos) and len({(info.pieces[0].strides, info.shape) for info in infos}) == 1
