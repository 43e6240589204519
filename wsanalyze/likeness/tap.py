"""Samples taken along while weights are read: what lies far away is not asked for them twice."""

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
from wsanalyze.likeness.samples import Distances, SampleArray, choose_runs, plan_samples, read_sample
from wsanalyze.series import Event
from wsanalyze.store.run_file import RunFile
from wsanalyze.tensors.base import TensorInfo

_MIN_CHECKPOINTS: Final = 2


class SampleTap:
    """A ByteSource that keeps those bytes of what goes through it that samples are made of.

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
        self._runs: dict[str, list[_Run]] = {}
        self._by_side: dict[int, list[_Run]] = {}
        for index, side in enumerate(self._sides):
            if store.find_fact(identities[index], self._key) is None:
                self._by_side[index] = list(self._make_runs(index, side))
        self._left = {index: len(runs) for index, runs in self._by_side.items()}
        self._complete: list[int] = []
        for runs in self._by_side.values():
            for run in runs:
                self._runs.setdefault(run.file.stamp, []).append(run)
        for runs in self._runs.values():
            runs.sort(key=lambda run: run.start)
        self._starts = {stamp: [run.start for run in runs] for stamp, runs in self._runs.items()}
        self._longest = max((run.stop - run.start for runs in self._runs.values() for run in runs), default=0)

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
                self._left[run.side] -= 1
                if not self._left[run.side]:
                    self._complete.append(run.side)

    def expect(self, file: FileRef, spans: Sequence[tuple[int, int]]) -> None:
        """See `ByteSource.expect`."""
        self._source.expect(file, spans)

    def verify(self, file: FileRef) -> None:
        """See `ByteSource.verify`; samples that became complete are remembered, whatever happens next."""
        self._source.verify(file)
        while self._complete:
            self._remember(self._complete.pop())

    def close(self) -> None:
        """See `ByteSource.close`."""
        self._source.close()

    def tell_misplaced(self, alive: Sequence[int], names: Sequence[str], steps: Sequence[int | None]) -> list[Event]:
        """Impostors and strange ends among those checkpoints of which there is a sample.

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
        rounding = np.array([coarsest_rounding(self._sides[index], self._plan) for index in alive])
        return list(tell_misplaced(names, steps, alive, Distances(samples), rounding))

    def _remember(self, index: int) -> None:
        with np.errstate(all="ignore"):
            sample = read_sample(self._plan, self._sides[index], _Kept(self._by_side.pop(index))).astype("<f4")
        self._store.add_fact(self._identities[index], self._key, zlib.compress(sample.tobytes(), level=1))

    @property
    def _key(self) -> str:
        return f"sample {self._plan.key}"

    def _make_runs(self, index: int, side: Mapping[str, TensorInfo]) -> Iterator["_Run"]:
        for name, shape in self._plan.shapes.items():
            info = side.get(name)
            if info is None or info.shape != shape:
                continue
            piece, itemsize = info.pieces[0], info.type.itemsize
            for start, stop in choose_runs(info.numel, self._plan.num_elements):
                first = piece.file.start + piece.offset + start * itemsize
                yield _Run(index, piece.file, first, np.zeros((stop - start) * itemsize, dtype=np.uint8))


class _Run:
    """A run of bytes of a file, as far as it went by."""

    def __init__(self, side: int, file: FileRef, start: int, data: NDArray[np.uint8]) -> None:
        self.side = side
        self.file = file
        self.start = start
        self.stop = start + data.size
        self.data = data
        self._upto = start

    def take(self, start: int, buffer: memoryview) -> bool:
        """Take what it needs of bytes that lie from `start` on, and say whether that was the last of it."""
        low, high = max(start, self._upto), min(start + len(buffer), self.stop)
        if not start <= self._upto < high:
            return False
        part = np.frombuffer(buffer[low - start : high - start], dtype=np.uint8)
        self.data[low - self.start : high - self.start] = part
        self._upto = high
        return high == self.stop


class _Kept:
    """A ByteSource of the runs that were kept."""

    def __init__(self, runs: Sequence[_Run]) -> None:
        self._runs = {(run.file.stamp, run.start): run for run in runs}

    def read_into(self, file: FileRef, offset: int, buffer: memoryview) -> None:
        run = self._runs.get((file.stamp, file.start + offset))
        if run is None or len(run.data) != len(buffer):
            raise CheckpointError("was not sampled", file.url)
        buffer[:] = run.data.data

    def expect(self, file: FileRef, spans: Sequence[tuple[int, int]]) -> None:
        del file, spans

    def verify(self, file: FileRef) -> None:
        del file

    def close(self) -> None:
        pass


def _is_plain(info: TensorInfo) -> bool:
    """Whether a sample of it lies in runs of one file."""
    return info.derivation is None and len(info.pieces) == 1 and info.pieces[0].strides is None
