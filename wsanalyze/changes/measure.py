"""Measuring: match what is there, read what is not stored yet, and go on without what cannot be read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsanalyze.changes.base import Band, FileWindow, Kernel, Segment
from wsanalyze.changes.plan import clamp_segment, count_segments, plan_bands
from wsanalyze.changes.stream import FailedCheckpointError, stream_changes
from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, FileRef
from wsanalyze.layers.base import RowMatch, TensorsByName
from wsanalyze.layers.definition import Architecture
from wsanalyze.layers.match import match_or_widen
from wsanalyze.progress import Progress, ProgressCallback
from wsanalyze.store.run_file import RunFile
from wsanalyze.tensors.base import Piece
from wsanalyze.tensors.gather import count_bytes


@dataclass(frozen=True, slots=True)
class Side:
    """One checkpoint as the measuring sees it.

    Attributes:
        label: What people call it.
        identity: What tells it apart.
        tensors: Its tensors by name.
        check: Called once its files were brought here: raises CheckpointError where its tensors do not lie where its
            headers, read from afar, said.
    """

    label: str
    identity: str
    tensors: TensorsByName
    check: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class RowOptions:
    """Which rows are measured: see `match_or_widen`."""

    ordered: bool
    params: str = "auto"
    pattern: str | None = None
    architecture: Architecture | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What was measured.

    Attributes:
        match: The rows, matched across the sides that could be read.
        params: Which parameters they are, "matrices" or "all".
        alive: Indices of those sides among all that were given.
        identities: Their identities.
        failures: For each of the others, its index and what went wrong.
    """

    match: RowMatch
    params: str
    alive: tuple[int, ...]
    identities: tuple[str, ...]
    failures: dict[int, CheckpointError]


def measure_changes(
    sides: Sequence[Side],
    options: RowOptions,
    source: ByteSource,
    kernel: Kernel,
    store: RunFile,
    memory_bytes: int,
    progress: ProgressCallback,
    window: FileWindow | None = None,
) -> Measured:
    """Measure every cell that the store does not hold, and commit as it goes.

    A side that turns out bad half-way takes all its cells with it and is bridged: the change is then measured from
    the last good side before it to the next good one.

    Args:
        sides: The checkpoints in order.
        options: Which rows.
        source: Where the bytes come from.
        kernel: What computes the sums.
        store: Where they go.
        memory_bytes: Memory allowed for buffers.
        progress: Told of bytes read.
        window: What brings files of elsewhere here, where there are any.

    Raises:
        MatchError: If no row compares between any two successive sides.
        StoreError: If the run file cannot be written.
    """
    alive = list(range(len(sides)))
    failures: dict[int, CheckpointError] = {}
    while True:
        chosen = [sides[index] for index in alive]
        match, params = match_or_widen(
            [side.tensors for side in chosen],
            [side.label for side in chosen],
            ordered=options.ordered,
            params=options.params,
            pattern=options.pattern,
            architecture=options.architecture,
        )
        identities = [side.identity for side in chosen]
        try:
            measuring = _Measuring(match, identities, source, kernel, store, memory_bytes, progress, window is not None)
            measuring.run(chosen, window)
        except FailedCheckpointError as failure:
            index = alive.pop(failure.side)
            failures[index] = failure
            store.drop_side(sides[index].identity)
            continue
        return Measured(match, params, tuple(alive), tuple(identities), failures)


@dataclass(frozen=True, slots=True, eq=False)
class _Measuring:
    """What measuring works with; see `measure_changes`."""

    match: RowMatch
    identities: Sequence[str]
    source: ByteSource
    kernel: Kernel
    store: RunFile
    memory_bytes: int
    progress: ProgressCallback
    far: bool

    def run(self, sides: Sequence[Side], window: FileWindow | None) -> None:
        """Measure what is not stored: all of it band by band, or pair by pair where files are brought here for it."""
        needed = _find_needed(self.match, self.identities, self.store)
        bands = self._plan(needed)
        if window is None:
            self._walk(bands, needed)
            return
        pairs = np.flatnonzero(needed.any(axis=0)).tolist()
        files = [_count_files(bands, self.match, needed, pair) for pair in pairs]
        if any(files) and window.plan(files, self._count_requests(bands, needed)):
            self._walk_pairs(sides, needed, files, window)
        else:
            self._check(sides, np.flatnonzero(_find_touched(self.match, needed).any(axis=0)).tolist())
            self._walk(bands, needed)
        window.finish(list(_find_files(self.match, len(sides) - 1)))

    def _walk_pairs(
        self,
        sides: Sequence[Side],
        needed: NDArray[np.bool_],
        files: Sequence[Mapping[FileRef, int]],
        window: FileWindow,
    ) -> None:
        """Change after change, both its sides brought here before it is measured."""
        brought = _Count(self.progress, "downloading", sum({f: f.size for both in files for f in both}.values()))
        measured = _Count(self.progress, "measuring", sum(sum(both.values()) for both in files))
        for index, pair in enumerate(np.flatnonzero(needed.any(axis=0)).tolist()):
            window.advance(index)
            for side in self.match.pairs[pair]:
                self._bring(side, sides[side], files[index], window, brought)
            only = np.zeros_like(needed)
            only[:, pair] = needed[:, pair]
            self._walk(self._plan(only), only, measured)

    def _bring(self, index: int, side: Side, files: Mapping[FileRef, int], window: FileWindow, count: "_Count") -> None:
        """Bring those files of a side that are needed here, and see that its tensors lie in them as was thought."""
        try:
            for file in _find_files(self.match, index):
                if file in files:
                    window.bring(file, count.add)
        except CheckpointError as error:
            raise FailedCheckpointError(index, error) from error
        self._check({index: side}, [index])

    def _check(self, sides: Sequence[Side] | Mapping[int, Side], indices: Sequence[int]) -> None:
        """See that the tensors of files that are here lie in them as was thought from afar."""
        for index in indices:
            check = sides[index].check
            try:
                if check is not None:
                    check()
            except CheckpointError as error:
                raise FailedCheckpointError(index, error) from error

    def _plan(self, needed: NDArray[np.bool_]) -> tuple[Band, ...]:
        bands = plan_bands(self.match, needed, self.memory_bytes)
        return _drop_measured(bands, self.match, self.identities, needed, self.store)

    def _walk(self, bands: Sequence[Band], needed: NDArray[np.bool_], count: "_Count | None" = None) -> None:
        """The band walk over the cells needed."""
        match, store = self.match, self.store
        counts = {row: count_segments(match, row) for row in np.flatnonzero(needed.any(axis=1)).tolist()}
        count = count or _Count(self.progress, "measuring", _count_bytes(bands, match, needed))
        count.add(0)
        last = None
        for segment, pair, sums in stream_changes(bands, match, needed, self.source, self.kernel, count.add):
            if self.far and last not in (None, pair):
                store.commit()  # costs less than bytes that come again
            last = pair
            before, after = (self.identities[side] for side in match.pairs[pair])
            name = match.rows[segment.row].name
            num_segments = counts[segment.row][pair]
            if num_segments == 1:
                store.add(name, before, after, sums)
            else:
                store.add_segment(name, before, after, segment.index, num_segments, sums)
        store.commit()

    def _count_requests(self, bands: Sequence[Band], needed: NDArray[np.bool_]) -> int:
        """How many runs of bytes the bands are read in, each one of one file at one side."""
        touched = _find_touched(self.match, needed)
        rows = [{segment.row for segment in band.segments} for band in bands]
        return sum(
            len({piece.file.url for row in band if touched[row, side] for piece in _pieces(self.match, row, side)})
            for band in rows
            for side in range(touched.shape[1])
        )


class _Count:
    """Counts bytes of one stage of the work and tells of them."""

    def __init__(self, progress: ProgressCallback, stage: str, total: int) -> None:
        self._progress = progress
        self._stage = stage
        self._total = total
        self._done = 0

    def add(self, num_bytes: int) -> None:
        self._done = min(self._total, self._done + num_bytes)
        if self._total:
            self._progress(Progress(self._stage, self._done, self._total, "bytes"))


def _pieces(match: RowMatch, row: int, side: int) -> tuple[Piece, ...]:
    info = match.tensors[row][side]
    return () if info is None else info.pieces


def _find_files(match: RowMatch, side: int) -> dict[FileRef, None]:
    """The files that the rows of a side lie in, in the order of the rows."""
    return dict.fromkeys(p.file for row in range(len(match.rows)) for p in _pieces(match, row, side))


def _count_files(bands: Sequence[Band], match: RowMatch, needed: NDArray[np.bool_], pair: int) -> dict[FileRef, int]:
    """The files of both sides of a pair and how many bytes of each are needed for it."""
    found: dict[FileRef, set[tuple[int, int]]] = {}
    for row in {segment.row for band in bands for segment in band.segments if needed[segment.row, pair]}:
        for side in match.pairs[pair]:
            for piece in _pieces(match, row, side):  # several rows may be made of one
                found.setdefault(piece.file, set()).add((piece.offset, piece.nbytes))
    return {file: sum(nbytes for _, nbytes in spans) for file, spans in found.items()}


def _find_needed(match: RowMatch, identities: Sequence[str], store: RunFile) -> NDArray[np.bool_]:
    """Cells that compare and are not stored, bool of shape (L, P)."""
    needed = np.asarray(match.states == None, dtype=np.bool_)  # noqa: E711 - elementwise
    for pair, (before, after) in enumerate(match.pairs):
        stored = store.measured(identities[before], identities[after])
        if stored:
            needed[[row.name in stored for row in match.rows], pair] = False
    return needed


def _drop_measured(
    bands: Sequence[Band],
    match: RowMatch,
    identities: Sequence[str],
    needed: NDArray[np.bool_],
    store: RunFile,
) -> tuple[Band, ...]:
    """Leave out segments of large tensors that an earlier, interrupted run has measured at every needed pair."""
    stored: dict[int, set[int]] = {}
    for row in np.flatnonzero(needed.any(axis=1)).tolist():
        counts = count_segments(match, row)
        pairs = np.flatnonzero(needed[row]).tolist()
        largest = max(counts[pair] for pair in pairs)
        if largest > 1:
            stored[row] = set(range(largest))
            for pair in pairs:
                before, after = (identities[side] for side in match.pairs[pair])
                found = store.measured_segments(match.rows[row].name, before, after)
                stored[row] &= found | set(range(counts[pair], largest))
    if not any(stored.values()):
        return tuple(bands)
    kept = []
    for band in bands:
        both = [
            (segment, offset)
            for segment, offset in zip(band.segments, band.offsets, strict=True)
            if segment.index not in stored.get(segment.row, ())
        ]
        if both:
            segments, offsets = zip(*both, strict=True)
            kept.append(Band(segments, offsets, band.nbytes))
    return tuple(kept)


def _count_bytes(bands: Sequence[Band], match: RowMatch, needed: NDArray[np.bool_]) -> int:
    touched = _find_touched(match, needed)
    runs: dict[int, list[Segment]] = {}
    for band in bands:
        for segment in band.segments:
            runs.setdefault(segment.row, []).append(segment)
    return sum(
        count_bytes(info, (clamp_segment(segment, info) for segment in segments))
        for row, segments in runs.items()
        for side in np.flatnonzero(touched[row]).tolist()
        if (info := match.tensors[row][side]) is not None
    )


def _find_touched(match: RowMatch, needed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which tensors are read: bool of shape (L, T), true where a needed cell has a side there."""
    touched = np.zeros((len(match.rows), len(match.pairs) + 1), dtype=np.bool_)
    for pair, (before, after) in enumerate(match.pairs):
        touched[:, before] |= needed[:, pair]
        touched[:, after] |= needed[:, pair]
    return touched
