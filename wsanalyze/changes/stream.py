"""The band walk: every checkpoint in turn, the previous one's band kept, every byte read once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.changes.base import Band, Kernel, Segment
from wsanalyze.changes.plan import clamp_segment
from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, FileRef
from wsanalyze.layers.base import RowMatch
from wsanalyze.sums import Sums
from wsanalyze.tensors.base import Piece, TensorInfo
from wsanalyze.tensors.dtypes import numpy_dtype
from wsanalyze.tensors.gather import ElementReader

_NO_FILE: Final = FileRef("", 0, "")


class FailedCheckpointError(CheckpointError):
    """A checkpoint turned out unreadable while its weights were being read.

    Args:
        side: Its index among the checkpoints matched.
        cause: What went wrong.
    """

    def __init__(self, side: int, cause: CheckpointError) -> None:
        super().__init__(str(cause))
        self.side = side


def stream_changes(
    bands: Sequence[Band],
    match: RowMatch,
    needed: NDArray[np.bool_],
    source: ByteSource,
    kernel: Kernel,
    on_bytes: Callable[[int], None],
) -> Iterator[tuple[Segment, int, Sums]]:
    """Read each band at each checkpoint and yield the sums of each of its segments for each needed pair.

    Args:
        bands: The plan.
        match: The rows and their tensors.
        needed: bool of shape (L, P): the cells to be measured.
        source: Where the bytes come from.
        kernel: What turns two runs of elements into sums.
        on_bytes: Told how many bytes were read, now and then.

    Yields:
        (segment, index of the pair, sums).

    Raises:
        FailedCheckpointError: If a checkpoint cannot be read, or was changed meanwhile; nothing of the band at hand
            is yielded for it.
    """
    largest = max((band.nbytes for band in bands), default=0)
    buffers = (np.empty(largest, dtype=np.uint8), np.empty(largest, dtype=np.uint8))
    reader = ElementReader(source)  # one for all bands: it keeps what several segments of a derived tensor need
    for band in bands:
        yield from _walk_band(band, match, needed, reader, kernel, buffers, on_bytes)


def _walk_band(
    band: Band,
    match: RowMatch,
    needed: NDArray[np.bool_],
    reader: ElementReader,
    kernel: Kernel,
    buffers: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    on_bytes: Callable[[int], None],
) -> Iterator[tuple[Segment, int, Sums]]:
    previous, current = buffers
    pair_before = {before: pair for pair, (before, _) in enumerate(match.pairs)}
    pair_after = {after: pair for pair, (_, after) in enumerate(match.pairs)}
    loaded: list[NDArray[Any] | None] = [None] * len(band.segments)
    touched = sorted({side for pair in np.flatnonzero(needed.any(axis=0)).tolist() for side in match.pairs[pair]})
    for side in touched:
        ending, starting = pair_after.get(side), pair_before.get(side)
        wanted = [
            (ending is not None and needed[segment.row, ending])
            or (starting is not None and needed[segment.row, starting])
            for segment in band.segments
        ]
        now = _load(band, match, side, wanted, loaded, reader, current, on_bytes)
        if ending is not None:
            for index, segment in enumerate(band.segments):
                before, after = loaded[index], now[index]
                if before is None or after is None or not needed[segment.row, ending]:
                    continue
                # A segment behind the end of a tensor that is larger elsewhere has no elements here.
                if before.size or segment.index == 0:
                    yield segment, ending, kernel.measure(before, after)
        loaded = now
        previous, current = current, previous


def _load(
    band: Band,
    match: RowMatch,
    side: int,
    wanted: Sequence[bool],
    before: Sequence[NDArray[Any] | None],
    reader: ElementReader,
    buffer: NDArray[np.uint8],
    on_bytes: Callable[[int], None],
) -> list[NDArray[Any] | None]:
    """The elements of the wanted segments at one checkpoint, checked not to have changed under our hands.

    What lies in the very bytes that were read at the checkpoint before is not read again.
    """
    found: list[NDArray[Any] | None] = [None] * len(band.segments)
    read_before, num_shared = reader.num_bytes, 0
    infos = [match.tensors[segment.row][side] if wanted[i] else None for i, segment in enumerate(band.segments)]
    for index, segment in enumerate(band.segments):
        elements, info = before[index], infos[index]
        if elements is not None and info is not None and _is_same(match.tensors[segment.row][side - 1], info):
            room = buffer[band.offsets[index] : band.offsets[index] + elements.nbytes]
            room[:] = elements.view(np.uint8)
            found[index] = room.view(elements.dtype)
            infos[index] = None
            num_shared += elements.nbytes
    try:
        for file, spans in _find_spans(band.segments, infos).items():
            reader.expect(file, spans)
        for index in sorted(range(len(infos)), key=lambda index: _position(infos[index], band.segments[index])):
            info = infos[index]
            if info is not None:
                found[index] = _read_segment(band.segments[index], info, reader, buffer[band.offsets[index] :])
        reader.verify()
    except CheckpointError as error:
        raise FailedCheckpointError(side, error) from error
    finally:
        reader.files.clear()
    on_bytes(reader.num_bytes - read_before + num_shared)
    return found


def _is_same(before: TensorInfo | None, after: TensorInfo) -> bool:
    """Whether two tensors lie in the same bytes of equal files: of one that both have, or of shards with one hash."""
    if before is None or before.derivation is not None or after.derivation is not None:
        return False
    return (before.dtype, before.shape, *map(_place, before.pieces)) == (
        after.dtype,
        after.shape,
        *map(_place, after.pieces),
    )


def _place(piece: Piece) -> tuple[object, ...]:
    return piece.file.stamp, piece.file.start, replace(piece, file=_NO_FILE)


def _find_spans(
    segments: Sequence[Segment], infos: Sequence[TensorInfo | None]
) -> dict[FileRef, list[tuple[int, int]]]:
    """Where the elements of segments lie, by file: (offset, nbytes) each; of computed tensors, all that they need."""
    found: dict[FileRef, list[tuple[int, int]]] = {}
    for segment, info in zip(segments, infos, strict=True):
        if info is None:
            continue
        start, stop = clamp_segment(segment, info)
        if len(info.pieces) == 1 and info.derivation is None and not segment.whole:
            piece, itemsize = info.pieces[0], info.type.itemsize
            spans = [(piece, piece.offset + start * itemsize, (stop - start) * itemsize)]
        else:
            spans = [(piece, piece.offset, piece.nbytes) for piece in info.pieces]
        for piece, offset, nbytes in spans:
            found.setdefault(piece.file, []).append((offset, nbytes))
    return found


def _position(info: TensorInfo | None, segment: Segment) -> tuple[str, int, int]:
    """Where a segment begins on one side: read in this order, files are read from front to back."""
    if info is None or not info.pieces:
        return "", 0, 0
    return info.pieces[0].file.url, info.pieces[0].offset, segment.start


def _read_segment(segment: Segment, info: TensorInfo, reader: ElementReader, room: NDArray[np.uint8]) -> NDArray[Any]:
    start, stop = clamp_segment(segment, info)
    if segment.whole or info.contiguous:
        return reader.read_into(info, start, stop, room)
    # Dense, and in the same order on all sides: as the elements lie.
    piece, itemsize = info.pieces[0], info.type.itemsize
    data = room[: (stop - start) * itemsize]
    reader.read_bytes(piece, start * itemsize, data)
    return data.view(numpy_dtype(info.dtype, piece.byteorder))
