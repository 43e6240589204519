"""The walk over one band: every checkpoint in turn, each kept while a later one is compared with it."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.changes.base import (
    Band,
    BandSide,
    Batch,
    DeviceMemoryError,
    FailedCheckpointError,
    IntArray,
    Kernel,
    Pending,
)
from wsanalyze.changes.direct import DirectWalk
from wsanalyze.changes.layout import Alike, Runs
from wsanalyze.changes.places import Places
from wsanalyze.changes.plan import Plan, align, find_touched
from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, FileRef
from wsanalyze.tensors.base import Piece, TensorInfo
from wsanalyze.tensors.gather import ElementReader

_NO_FILE: Final = FileRef("", 0, "")


@dataclass(slots=True, eq=False)
class _Held:
    """A side of the band that is loaded: which one, its buffer, and what the kernel made of it."""

    side: int
    host: BandSide
    loaded: Any


class BandWalker:
    """Walks bands, one after another: one for each thread.

    Args:
        places: Where the tensors lie.
        plan: What is measured.
        source: Where the bytes come from.
        kernel: What makes sums of them.
        on_bytes: Told how many bytes came in, now and then.
    """

    def __init__(
        self, places: Places, plan: Plan, source: ByteSource, kernel: Kernel, on_bytes: Callable[[int], None]
    ) -> None:
        self._places = places
        self._pairs = plan.pairs
        self._needed = plan.needed
        self._touched = find_touched(places, plan.pairs, plan.needed) & (places.numel >= 0)
        self._kernel = kernel
        self._on_bytes = on_bytes
        self._reader = ElementReader(source)  # for all bands: it keeps what several segments of a derived tensor need
        self._room = plan.room
        self._free: list[NDArray[np.uint8]] = []
        self._too_many: float = np.inf  # elements of the smallest band that was too large for the device
        self._ending: dict[int, list[int]] = {}
        self._last_use: dict[int, int] = {}
        for pair in np.flatnonzero(plan.needed.any(axis=0)).tolist():
            before, after = plan.pairs[pair]
            self._ending.setdefault(before, [])
            self._ending.setdefault(after, []).append(pair)
            self._last_use[before] = max(self._last_use.get(before, after), after)
        self._sides = sorted(self._ending)
        self._pairs_used = np.flatnonzero(plan.needed.any(axis=0))
        self._direct = DirectWalk.of(places, plan, source, kernel, on_bytes)

    def walk(self, band: Band) -> Iterator[Batch]:
        """Read a band at each checkpoint and yield its sums for each needed pair.

        A band that is too large for the kernel's device is walked in halves, and so are all like it that follow.

        Raises:
            FailedCheckpointError: If a checkpoint cannot be read, or was changed meanwhile.
            MemoryError: If not even one segment fits on the device.
        """
        waiting = [band]
        while waiting:
            part = waiting.pop()
            if len(part.rows) > 1 and _count_elements(part) >= self._too_many:
                first = np.arange(len(part.rows)) < len(part.rows) // 2
                waiting += [part.choose(~first), part.choose(first)]
                continue
            try:
                yield from list(self._walk(part)) if self._kernel.depth else self._walk(part)
            except DeviceMemoryError as error:
                if len(part.rows) == 1:
                    raise MemoryError(f"the device has no room for a part of a tensor: {error}") from error
                self._too_many = _count_elements(part)
                waiting.append(part)

    def _walk(self, band: Band) -> Iterator[Batch]:
        held: dict[int, _Held] = {}
        alike = Alike.of(band, self._places, self._sides, self._touched) if self._is_dense(band) else None
        if alike is not None and self._direct is not None and alike.is_coarse:
            batches = self._direct.walk(band, alike)
            if batches is not None:
                yield from batches
                return
        on_their_way: deque[tuple[int, IntArray, Pending]] = deque()
        try:
            for side in self._sides:
                current = self._load(band, side, held, alike)
                held[side] = current
                for pair in self._ending[side]:
                    before = held[self._pairs[pair][0]]
                    segments = alike.segments if alike else self._comparable(band, pair, before.host, current.host)
                    if len(segments):
                        on_their_way.append((pair, segments, self._measure(before, current, segments)))
                while len(on_their_way) > self._kernel.depth:
                    yield _collect(band, *on_their_way.popleft())
                for done in [kept for kept in held if self._last_use.get(kept, kept) <= side]:
                    self._release(held.pop(done))
            while on_their_way:
                yield _collect(band, *on_their_way.popleft())
        finally:
            for kept in held.values():
                self._release(kept)

    def _measure(self, before: _Held, after: _Held, segments: IntArray) -> Pending:
        return self._kernel.measure(before.loaded, after.loaded, segments)

    def _comparable(self, band: Band, pair: int, before: BandSide, after: BandSide) -> IntArray:
        """Segments that a pair needs; one behind the end of a tensor that is larger elsewhere has no elements here."""
        there = (before.numels > 0) | ((band.indices == 0) & (before.numels == 0))
        return np.flatnonzero(self._needed[band.rows, pair] & there & (after.numels >= 0)).astype(np.int64, copy=False)

    def _is_dense(self, band: Band) -> bool:
        """Whether every pair needs all of a band."""
        return bool(self._needed[np.ix_(band.rows, self._pairs_used)].all())

    def _load(self, band: Band, side: int, held: dict[int, _Held], alike: Alike | None) -> _Held:
        """The wanted segments at one checkpoint, checked not to have changed under our hands."""
        data = self._take_buffer(band.nbytes)
        read_before, num_shared = self._reader.num_bytes, 0
        try:
            if alike is not None:
                host = self._read_alike(alike, side, data)
            else:
                host, num_shared = self._read(band, side, held, data)
            self._reader.verify()
        except CheckpointError as error:
            raise FailedCheckpointError(side, error) from error
        finally:
            self._reader.files.clear()
        self._on_bytes(self._reader.num_bytes - read_before + num_shared)
        return _Held(side, host, self._kernel.load(host))

    def _read_alike(self, alike: Alike, side: int, data: NDArray[np.uint8]) -> BandSide:
        """Fill a buffer with a band that lies alike at all checkpoints."""
        spans: dict[FileRef, list[tuple[int, int]]] = {}
        files = self._places.files
        for file, offset, _, length in alike.runs[side]:
            spans.setdefault(files[file], []).append((offset, length))
        for place, found in spans.items():
            self._reader.expect(place, found)
        for file, offset, position, length in alike.runs[side]:
            self._reader.read_run(files[file], offset, data[position : position + length])
        return BandSide(data, alike.offsets, alike.types, alike.numels, alike.nbytes)

    def _read(self, band: Band, side: int, held: dict[int, _Held], data: NDArray[np.uint8]) -> tuple[BandSide, int]:
        """Fill a buffer; what was loaded, and how many bytes of it were there already.

        What lies in the very bytes that were read at the checkpoint before is not read again.
        """
        places, rows = self._places, band.rows
        wanted, numels = self._touched[rows, side], places.numel[rows, side]
        starts = np.minimum(band.starts, numels)
        counts = np.where(wanted, np.minimum(band.stops, numels) - starts, -1)
        types = places.type[rows, side]
        nbytes = np.maximum(counts, 0) * places.itemsize[rows, side]
        offsets = np.zeros(len(rows), dtype=np.int64)
        simple = wanted & places.simple[rows, side]
        shared = self._find_shared(band, side, wanted, held)
        direct = np.flatnonzero(simple & ~shared & (nbytes > 0))
        odd = np.flatnonzero(wanted & ~simple & ~shared)
        at = places.offset[rows[direct], side] + starts[direct] * places.itemsize[rows[direct], side]
        runs = Runs.of(places.file[rows[direct], side], at, nbytes[direct])
        self._expect(runs, odd, band, side)
        offsets[direct], used = runs.positions, runs.nbytes
        for file, offset, position, length in runs.list():
            self._reader.read_run(places.files[file], offset, data[position : position + length])
        for segment in odd.tolist():
            info = places.tensors[rows[segment]][side]
            offsets[segment] = used
            if info is not None:
                stop = int(starts[segment] + counts[segment])
                self._reader.read_into(info, int(starts[segment]), stop, data[used:])
            used += align(int(nbytes[segment]))
        num_shared = 0
        for segment in np.flatnonzero(shared).tolist():
            length = int(nbytes[segment])
            before = self._previous(side, held)
            place = before.host.offsets[segment]
            data[used : used + length] = before.host.data[place : place + length]
            offsets[segment] = used
            used += align(length)
            num_shared += length
        return BandSide(data, offsets, types, counts, used), num_shared

    def _previous(self, side: int, held: dict[int, _Held]) -> _Held:
        return held[max(kept for kept in held if kept < side)]

    def _find_shared(
        self, band: Band, side: int, wanted: NDArray[np.bool_], held: dict[int, _Held]
    ) -> NDArray[np.bool_]:
        """Segments that lie in the same bytes of equal files as at the checkpoint before: bool array of shape (S,)."""
        if not held or not len(self._places.files):
            return np.zeros(len(wanted), dtype=np.bool_)
        before = self._previous(side, held)
        places, rows, other = self._places, band.rows, before.side
        files, content = places.file, places.content
        same: NDArray[np.bool_] = (
            wanted & (before.host.numels >= 0) & (content[files[rows, side]] == content[files[rows, other]])
        )
        if not same.any():
            return same
        for table in (places.offset, places.numel, places.type):
            same &= table[rows, side] == table[rows, other]
        for segment in np.flatnonzero(same & ~places.simple[rows, side]).tolist():
            tensors = places.tensors[rows[segment]]
            same[segment] = _is_same(tensors[other], tensors[side])
        return same

    def _expect(self, runs: Runs, odd: IntArray, band: Band, side: int) -> None:
        """Tell the source where the elements lie; of computed tensors, all that they need."""
        spans: dict[FileRef, list[tuple[int, int]]] = {}
        for file, offset, _, length in runs.list():
            spans.setdefault(self._places.files[file], []).append((offset, length))
        for segment in odd.tolist():
            info = self._places.tensors[band.rows[segment]][side]
            for piece in () if info is None else info.pieces:
                spans.setdefault(piece.file, []).append((piece.offset, piece.nbytes))
        for place, found in spans.items():
            self._reader.expect(place, found)

    def _take_buffer(self, nbytes: int) -> NDArray[np.uint8]:
        if self._free and nbytes <= self._room:
            return self._free.pop()
        return self._kernel.allocate(max(nbytes, self._room))

    def _release(self, held: _Held) -> None:
        self._kernel.release(held.loaded)
        if held.host.data.nbytes == self._room:
            self._free.append(held.host.data)


def _collect(band: Band, pair: int, segments: IntArray, pending: Pending) -> Batch:
    return Batch(pair, band.rows[segments], band.indices[segments], pending())


def _count_elements(band: Band) -> int:
    return int((band.stops - band.starts).sum())


def _is_same(before: TensorInfo | None, after: TensorInfo | None) -> bool:
    """Whether two tensors lie in the same bytes of equal files: of one that both have, or of shards with one hash."""
    if before is None or after is None or before.derivation is not None or after.derivation is not None:
        return False
    return (before.dtype, before.shape, *map(_place, before.pieces)) == (
        after.dtype,
        after.shape,
        *map(_place, after.pieces),
    )


def _place(piece: Piece) -> tuple[object, ...]:
    return piece.file.stamp, piece.file.start, replace(piece, file=_NO_FILE)
