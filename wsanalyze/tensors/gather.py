"""Elements of any tensor, from start to stop in C order: of one piece, put together from several, or computed."""

import math
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, FileRef
from wsanalyze.tensors.base import Piece, TensorInfo
from wsanalyze.tensors.dtypes import numpy_dtype

BLOCK_ELEMENTS: Final = 2**20
"""Most elements that are computed at a time."""
MAX_KEPT_ELEMENTS: Final = 2**16
"""Most elements of a computed input that is kept for the next run of elements that needs it."""
_MAX_KEPT_BYTES: Final = 16_000_000
_MAX_COVER_STEPS: Final = 100_000
_MAX_COVER_STEPS_PER_BOX: Final = 64  # those of a grid take a few for each axis

_Box = tuple[tuple[int, ...], tuple[int, ...]]  # corner and extent
_Part = tuple[Piece, tuple[int, ...], tuple[int, ...]]


def is_plain_real(info: TensorInfo) -> bool:
    """Whether a tensor may be computed with: real weights; not float8, which may be codes whose scales lie beside."""
    return info.type.floating and info.type.itemsize > 1 and not info.dtype.startswith("complex")


class ElementReader:
    """Reads runs of elements, and knows what that took: the `ReadElements` that derivations are given.

    Args:
        source: Where the bytes come from.

    Attributes:
        num_bytes: Bytes read so far.
        files: The files that they came from, by address; whoever reads checks them and empties it.
    """

    def __init__(self, source: ByteSource) -> None:
        self.num_bytes = 0
        self.files: dict[str, FileRef] = {}
        self._source = source
        self._kept: OrderedDict[TensorInfo, NDArray[Any]] = OrderedDict()
        self._kept_bytes = 0
        self._parts: _Parts | None = None

    def __call__(self, info: TensorInfo, start: int, stop: int) -> NDArray[Any]:
        """Read the elements from `start` to `stop`: an array of shape (stop - start,) of the tensor's dtype.

        Raises:
            CheckpointError: If a file cannot be read.
        """
        if not _is_kept(info):
            return self.read_into(info, start, stop, np.empty((stop - start) * info.type.itemsize, dtype=np.uint8))
        whole = self._kept.get(info)
        if whole is None:
            whole = self.read_into(info, 0, info.numel, np.empty(info.numel * info.type.itemsize, dtype=np.uint8))
            self._kept[info] = whole
            self._kept_bytes += whole.nbytes
            while self._kept_bytes > _MAX_KEPT_BYTES:
                self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes
        self.files |= {piece.file.url: piece.file for piece in info.pieces}
        return whole[start:stop]

    def read_into(self, info: TensorInfo, start: int, stop: int, room: NDArray[np.uint8]) -> NDArray[Any]:
        """Read the elements from `start` to `stop` into a buffer.

        Args:
            info: The tensor.
            start: First element, in C order.
            stop: One behind the last.
            room: uint8 array of at least the bytes of these elements.

        Returns:
            Array of shape (stop - start,) of the tensor's dtype: a view of the buffer.

        Raises:
            CheckpointError: If a file cannot be read.
        """
        itemsize = info.type.itemsize
        data = room[: (stop - start) * itemsize]
        elements = data.view(_dtype(info))
        if info.derivation is not None:
            for first in range(start, stop, BLOCK_ELEMENTS):
                last = min(stop, first + BLOCK_ELEMENTS)
                with np.errstate(all="ignore"):
                    elements[first - start : last - start] = info.derivation.compute(first, last, self)
        elif len(info.pieces) != 1:
            self._assemble(info, start, stop, data)
        elif _is_strided(info):
            piece = info.pieces[0]
            held = np.empty(piece.nbytes, dtype=np.uint8)
            self.read_bytes(piece, 0, held)
            if stop - start == info.numel:  # without a second copy: this may be the largest tensor there is
                elements.reshape(info.shape)[...] = info.view(held)
            else:
                elements[...] = info.view(held).reshape(-1)[start:stop]
        else:
            self.read_bytes(info.pieces[0], start * itemsize, data)
        return elements

    def expect(self, file: FileRef, spans: Sequence[tuple[int, int]]) -> None:
        """See `ByteSource.expect`."""
        self._source.expect(file, spans)

    def verify(self) -> None:
        """Check that the files that were read since the last time are still those that were listed.

        Raises:
            CheckpointError: If one was written to meanwhile.
        """
        files = list(self.files.values())
        self.files.clear()
        for file in files:
            self._source.verify(file)

    def read_bytes(self, piece: Piece, offset: int, data: NDArray[np.uint8]) -> None:
        """Fill an array with the bytes of a piece from `offset` on.

        Raises:
            CheckpointError: If the file cannot be read.
        """
        self.read_run(piece.file, piece.offset + offset, data)

    def read_run(self, file: FileRef, offset: int, data: NDArray[np.uint8]) -> None:
        """Fill an array with the bytes of a file from `offset` on.

        Raises:
            CheckpointError: If the file cannot be read.
        """
        if data.nbytes:
            self._source.read_into(file, offset, data.data)
            self.num_bytes += data.nbytes
        self.files[file.url] = file

    def _assemble(self, info: TensorInfo, start: int, stop: int, data: NDArray[np.uint8]) -> None:
        """Read each part of each piece that lies in the run, every byte once.

        The run is cut into boxes that have one index on the leading axes, several on the next, and all on the others;
        what such a box and a piece have in common lies in one run of the piece.
        """
        itemsize = info.type.itemsize
        if self._parts is None or self._parts.info is not info:
            self._parts = _Parts(info)
        done = 0
        for corner, extent in _cut_run(start, stop, self._parts.shape):
            size = math.prod(extent) * itemsize
            box = data[done : done + size].reshape(*extent, itemsize)
            done += size
            for piece, first, lengths in self._parts.find(corner[0], corner[0] + extent[0]):
                common = _intersect(corner, extent, first, lengths)
                if common is None:
                    continue
                place = box[tuple(slice(a - c, b - c) for (a, b), c in zip(common, corner, strict=True))]
                offset = _flat_index([a - f for (a, _), f in zip(common, first, strict=True)], lengths) * itemsize
                if place.flags.c_contiguous:
                    self.read_bytes(piece, offset, place.reshape(-1))
                else:
                    held = np.empty(place.size, dtype=np.uint8)
                    self.read_bytes(piece, offset, held)
                    place[...] = held.reshape(place.shape)


class _Parts:
    """The pieces of a tensor, sorted along the first axis: few of a hundred thousand lie in a run.

    Raises:
        CheckpointError: If they are neither all runs nor all boxes.
    """

    def __init__(self, info: TensorInfo) -> None:
        self.info = info
        self.shape, parts = _locate_parts(info)
        self._parts = sorted(parts, key=lambda part: part[1])
        self._starts = [corner[0] for _, corner, _ in self._parts]
        self._ends = list(accumulate((corner[0] + extent[0] for _, corner, extent in self._parts), max))

    def find(self, low: int, high: int) -> list[_Part]:
        """All pieces that hold anything from `low` to `high` along the first axis, and perhaps some more."""
        return self._parts[bisect_right(self._ends, low) : bisect_left(self._starts, high)]


def count_bytes(info: TensorInfo, runs: Iterable[tuple[int, int]]) -> int:
    """Bytes that one reader reads for some runs of a tensor's elements, (start, stop) each."""
    kept: set[TensorInfo] = set()
    return sum(_count_run(info, start, stop, kept) for start, stop in runs)


def check_cover(info: TensorInfo) -> None:
    """Check that the pieces of a stored tensor lie in their files and cover it exactly once.

    Raises:
        CheckpointError: If there is a hole, an overlap, or a piece that does not fit.
    """
    if info.derivation is not None:
        for needed in info.derivation.inputs:
            check_cover(needed)
        return
    for piece in info.pieces:
        if piece.offset < 0 or piece.nbytes < 0 or piece.offset + piece.nbytes > piece.file.size:
            raise CheckpointError(f"tensor {info.name!r} does not lie in the file", piece.file.url)
    if (len(info.pieces) == 1 and info.pieces[0].strides is not None) or not info.type.itemsize:
        return
    if any(piece.strides is not None or piece.byteorder != info.pieces[0].byteorder for piece in info.pieces):
        raise _misfit(info, "are not of one kind")
    shape, parts = _locate_parts(info)
    for piece, corner, extent in parts:
        inside = all(c >= 0 and n >= 0 and c + n <= s for c, n, s in zip(corner, extent, shape, strict=True))
        if not inside or piece.nbytes != math.prod(extent) * info.type.itemsize:
            raise _misfit(info, "do not fit its shape")
    boxes = [(corner, extent) for _, corner, extent in parts if 0 not in extent]
    excess = sum(math.prod(extent) for _, extent in boxes) - info.numel
    most = _MAX_COVER_STEPS + _MAX_COVER_STEPS_PER_BOX * len(boxes)
    fault = _find_fault(boxes, shape, 0, [most], info) if info.numel else None
    if fault is not None or excess:
        raise _misfit(info, fault or ("overlap" if excess > 0 else "leave a hole"))


def _misfit(info: TensorInfo, fault: str) -> CheckpointError:
    return CheckpointError(
        f"the pieces of tensor {info.name!r} {fault}", info.pieces[0].file.url if info.pieces else None
    )


def _is_kept(info: TensorInfo) -> bool:
    """Whether an input is computed, or put in order, once for all runs that need it."""
    if info.derivation is not None:
        return info.numel <= MAX_KEPT_ELEMENTS
    return _is_strided(info) and info.pieces[0].nbytes <= _MAX_KEPT_BYTES


def _is_strided(info: TensorInfo) -> bool:
    """Whether the elements lie in another order: only those of one piece do, and there may be very many."""
    return info.derivation is None and len(info.pieces) == 1 and info.pieces[0].strides is not None


def _dtype(info: TensorInfo) -> np.dtype[Any]:
    stored = info.derivation is None and info.pieces
    return numpy_dtype(info.dtype, info.pieces[0].byteorder if stored else "little")


def _count_run(info: TensorInfo, start: int, stop: int, kept: set[TensorInfo]) -> int:
    if info.derivation is None:
        return info.pieces[0].nbytes if _is_strided(info) else (stop - start) * info.type.itemsize
    total = 0
    for first in range(start, stop, BLOCK_ELEMENTS):
        for needed, low, high in info.derivation.reads(first, min(stop, first + BLOCK_ELEMENTS)):
            if not _is_kept(needed):
                total += _count_run(needed, low, high, kept)
            elif needed not in kept:
                kept.add(needed)
                total += _count_run(needed, 0, needed.numel, kept)
    return total


def _locate_parts(info: TensorInfo) -> tuple[tuple[int, ...], list[_Part]]:
    """The shape that the pieces of a tensor are parts of, its own or flat, and the corner and extent of each.

    Raises:
        CheckpointError: If they are neither all runs nor all boxes.
    """
    axes = {(len(piece.corner), len(piece.extent)) for piece in info.pieces}
    if info.shape and axes == {(len(info.shape), len(info.shape))}:
        return info.shape, [(piece, piece.corner, piece.extent) for piece in info.pieces]
    if axes <= {(0, 0), (1, 1)}:
        flat = (info.numel,)
        return flat, [(piece, piece.corner or (0,), piece.extent or flat) for piece in info.pieces]
    raise _misfit(info, "do not fit its shape")


def _cut_run(start: int, stop: int, shape: Sequence[int]) -> Iterator[_Box]:
    """Cut the elements from `start` to `stop` of a C-order array into boxes, in order; at most two for each axis."""
    if start >= stop:
        return
    if len(shape) == 1:
        yield (start,), (stop - start,)
        return
    inner = math.prod(shape[1:])
    (first, head), (last, tail) = divmod(start, inner), divmod(stop, inner)
    if head or first == last:
        end = tail if first == last else inner
        yield from (((first, *corner), (1, *extent)) for corner, extent in _cut_run(head, end, shape[1:]))
        if first == last:
            return
        first += 1
    if first < last:
        yield (first, *(0 for _ in shape[1:])), (last - first, *shape[1:])
    yield from (((last, *corner), (1, *extent)) for corner, extent in _cut_run(0, tail, shape[1:]))


def _intersect(
    corner: Sequence[int], extent: Sequence[int], other: Sequence[int], lengths: Sequence[int]
) -> list[tuple[int, int]] | None:
    """What two boxes have in common, (low, high) along every axis, or None."""
    common = []
    for c, n, o, m in zip(corner, extent, other, lengths, strict=True):
        low, high = max(c, o), min(c + n, o + m)
        if low >= high:
            return None
        common.append((low, high))
    return common


def _flat_index(index: Sequence[int], shape: Sequence[int]) -> int:
    flat = 0
    for position, size in zip(index, shape, strict=True):
        flat = flat * size + position
    return flat


def _find_fault(
    boxes: Sequence[_Box], shape: Sequence[int], axis: int, steps: list[int], info: TensorInfo
) -> str | None:
    """Whether boxes overlap or leave a hole, axis by axis: between two neighbouring edges, nothing changes."""
    if axis == len(shape):
        return "overlap" if len(boxes) > 1 else None
    ordered = sorted(boxes, key=lambda box: box[0][axis], reverse=True)
    edges = sorted({edge for corner, extent in boxes for edge in (corner[axis], corner[axis] + extent[axis])})
    if not edges or edges[0] > 0 or edges[-1] < shape[axis]:
        return "leave a hole"
    active: list[_Box] = []
    for low, _ in pairwise(edges):
        active = [box for box in active if box[0][axis] + box[1][axis] > low]
        while ordered and ordered[-1][0][axis] == low:
            active.append(ordered.pop())
        steps[0] -= 1 + len(active)
        if steps[0] < 0:
            raise _misfit(info, "are too many to be checked")
        fault = _find_fault(active, shape, axis + 1, steps, info) if active else "leave a hole"
        if fault is not None:
            return fault
    return None
