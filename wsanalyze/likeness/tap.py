"""Samples taken along while weights are read: what lies far away is not asked for them twice."""

import struct
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, FileRef
from wsanalyze.likeness.find import coarsest_rounding
from wsanalyze.likeness.misplaced import tell_misplaced
from wsanalyze.likeness.samples import (
    Distances,
    SampleArray,
    can_sample,
    choose_runs,
    plan_samples,
    read_sample,
)
from wsanalyze.series import Event
from wsanalyze.store.run_file import RunFile
from wsanalyze.tensors.base import TensorInfo

_MIN_CHECKPOINTS: Final = 2
_UPTO: Final = struct.Struct("<I")  # how many bytes of a run went by, before its bytes


class SampleTap:
    """A ByteSource that keeps those bytes of what goes through it that samples are made of.

    What was kept is written down along with the sums that are made of the same bytes: a run that is killed does not
    see them again.

    Args:
        source: Where the bytes come from.
        sides: For each checkpoint its tensors by name, those that may be read.
        identities: What the run file knows them by.
        store: Remembers samples.
    """

    def __init__(
        self, source: ByteSource, sides: Sequence[Mapping[str, TensorInfo]], identities: Sequence[str], store: RunFile
    ) -> None:
        self._source = source
        self._identities = identities
        self._store = store
        self._sides = [{name: info for name, info in side.items() if _is_plain(info)} for side in sides]
        self._plan = plan_samples(self._sides)
        self._by_side: dict[int, list[_Run]] = {}
        for index, side in enumerate(self._sides):
            if store.find_fact(identities[index], self._key) is None:
                self._by_side[index] = list(self._make_runs(index, side))
                self._take_up(index)
        self._runs: dict[str, list[_Run]] = {}
        for runs in self._by_side.values():
            for run in runs:
                if not run.is_complete:
                    self._runs.setdefault(run.file.stamp, []).append(run)
        for runs in self._runs.values():
            runs.sort(key=lambda run: run.start)
        self._starts = {stamp: [run.start for run in runs] for stamp, runs in self._runs.items()}
        self._longest = max((run.stop - run.start for runs in self._runs.values() for run in runs), default=0)
        self._touched: set[int] = set()

    def read_into(self, file: FileRef, offset: int, buffer: memoryview) -> None:
        """See `ByteSource.read_into`."""
        self._source.read_into(file, offset, buffer)
        runs = self._runs.get(file.stamp)
        if not runs:
            return
        start, stop = file.start + offset, file.start + offset + len(buffer)
        first = bisect_left(self._starts[file.stamp], start - self._longest)
        for run in runs[first:]:
            if run.start >= stop:
                break
            if run.take(start, buffer):
                self._touched.add(run.side)

    def prepare(self, files: Sequence[FileRef]) -> None:
        """See `ByteSource.prepare`."""
        self._source.prepare(files)

    def expect(self, file: FileRef, spans: Sequence[tuple[int, int]]) -> None:
        """See `ByteSource.expect`."""
        self._source.expect(file, spans)

    def verify(self, file: FileRef) -> None:
        """See `ByteSource.verify`; what was kept meanwhile is written down, before the sums that it went into."""
        self._source.verify(file)
        while self._touched:
            self._remember(self._touched.pop())

    def close(self) -> None:
        """See `ByteSource.close`."""
        self._source.close()

    def tell_misplaced(self, alive: Sequence[int], names: Sequence[str], steps: Sequence[int | None]) -> list[Event]:
        """Impostors and strange ends, as far as there are samples.

        Args:
            alive: Indices of the checkpoints that were measured.
            names: Their labels.
            steps: Their training steps.

        Returns:
            Events whose checkpoints are indices of those given at first.
        """
        if len(alive) < _MIN_CHECKPOINTS or not self._plan.shapes:
            return []
        shape = len(self._plan.shapes), self._plan.num_elements
        samples: SampleArray = np.full((len(alive), *shape), np.nan, dtype=np.float32)
        for place, index in enumerate(alive):
            data = self._store.find_fact(self._identities[index], self._key)
            if data is not None:
                samples[place] = np.frombuffer(zlib.decompress(data), dtype="<f4").reshape(shape)
            else:  # a tensor that compares with none next to it is never read
                samples[place] = self._read_kept(index)
        rounding = np.array([coarsest_rounding(self._sides[index], self._plan) for index in alive])
        return list(tell_misplaced(names, steps, alive, Distances(samples), rounding))

    def _remember(self, index: int) -> None:
        runs, identity = self._by_side[index], self._identities[index]
        if all(run.is_complete for run in runs):
            self._store.add_fact(identity, self._key, zlib.compress(self._read_kept(index).tobytes(), level=1))
            self._store.add_fact(identity, self._part_key, b"")
        else:
            parts = b"".join(_UPTO.pack(run.upto - run.start) + run.data.tobytes() for run in runs)
            self._store.add_fact(identity, self._part_key, zlib.compress(parts, level=1))

    def _take_up(self, index: int) -> None:
        """Take up what an earlier, interrupted run kept of one side."""
        runs = self._by_side[index]
        data = self._store.find_fact(self._identities[index], self._part_key)
        parts = zlib.decompress(data) if data else b""
        if len(parts) != sum(_UPTO.size + run.data.size for run in runs):
            return
        done = 0
        for run in runs:
            (length,) = _UPTO.unpack_from(parts, done)
            done += _UPTO.size
            run.data[:] = np.frombuffer(parts, np.uint8, run.data.size, done)
            run.upto = run.start + min(length, run.data.size)
            done += run.data.size

    def _read_kept(self, index: int) -> SampleArray:
        """The sample of those tensors of a side whose runs are complete."""
        runs = self._by_side.get(index, [])
        missing = {run.name for run in runs if not run.is_complete}
        tensors = {name: info for name, info in self._sides[index].items() if name not in missing}
        with np.errstate(all="ignore"):
            return read_sample(self._plan, tensors, _Kept(runs)).astype("<f4")

    @property
    def _key(self) -> str:
        return f"sample {self._plan.key}"

    @property
    def _part_key(self) -> str:
        return f"part of {self._key}"

    def _make_runs(self, index: int, side: Mapping[str, TensorInfo]) -> Iterator["_Run"]:
        for name, shape in self._plan.shapes.items():
            info = side.get(name)
            if info is None or info.shape != shape or not can_sample(info):
                continue
            piece, itemsize = info.pieces[0], info.type.itemsize
            for start, stop in choose_runs(info.numel, self._plan.num_elements):
                first = piece.file.start + piece.offset + start * itemsize
                yield _Run(index, name, piece.file, first, np.zeros((stop - start) * itemsize, dtype=np.uint8))


class _Run:
    """A run of bytes of a file, as far as it went by."""

    def __init__(self, side: int, name: str, file: FileRef, start: int, data: NDArray[np.uint8]) -> None:
        self.side = side
        self.name = name
        self.file = file
        self.start = start
        self.stop = start + data.size
        self.data = data
        self.upto = start

    @property
    def is_complete(self) -> bool:
        """Whether all of it went by."""
        return self.upto == self.stop

    def take(self, start: int, buffer: memoryview) -> bool:
        """Take what comes next of bytes that lie from `start` on, and say whether there was any."""
        low, high = self.upto, min(start + len(buffer), self.stop)
        if not start <= low < high:
            return False
        part = np.frombuffer(buffer[low - start : high - start], dtype=np.uint8)
        self.data[low - self.start : high - self.start] = part
        self.upto = high
        return True


class _Kept:
    """A ByteSource of the runs that were kept."""

    def __init__(self, runs: Sequence[_Run]) -> None:
        self._runs = {(run.file.stamp, run.start): run for run in runs}

    def read_into(self, file: FileRef, offset: int, buffer: memoryview) -> None:
        run = self._runs.get((file.stamp, file.start + offset))
        if run is None or len(run.data) != len(buffer):
            raise CheckpointError("was not sampled", file.url)
        buffer[:] = run.data.data

    def prepare(self, files: Sequence[FileRef]) -> None:
        del files

    def expect(self, file: FileRef, spans: Sequence[tuple[int, int]]) -> None:
        del file, spans

    def verify(self, file: FileRef) -> None:
        del file

    def close(self) -> None:
        pass


def _is_plain(info: TensorInfo) -> bool:
    """Whether a sample of it lies in runs of one file."""
    return info.derivation is None and len(info.pieces) == 1 and info.pieces[0].strides is None
