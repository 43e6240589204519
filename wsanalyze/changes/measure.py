"""Measuring: match what is there, read what is not stored yet, and go on without what cannot be read."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wsanalyze.changes.base import Band, Batch, FailedCheckpointError, FileWindow, IntArray
from wsanalyze.changes.demand import count_bytes, count_files, count_requests, find_files
from wsanalyze.changes.devices import Kernels, count_processors
from wsanalyze.changes.norms import NormWalk
from wsanalyze.changes.places import Places
from wsanalyze.changes.plan import Plan, find_touched, make_plan
from wsanalyze.changes.stream import stream_changes
from wsanalyze.errors import CheckpointError, UsageError
from wsanalyze.files.base import ByteSource, FileRef
from wsanalyze.layers.base import RowMatch, TensorsByName
from wsanalyze.layers.definition import Architecture
from wsanalyze.layers.match import add_spans, match_or_widen
from wsanalyze.metrics import Span
from wsanalyze.progress import Effort, Progress, ProgressCallback
from wsanalyze.series import StateArray
from wsanalyze.store.run_file import RunFile
from wsanalyze.sums import Sums


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
    """Which rows are measured, see `match_or_widen`; what is, beside the sums between successive checkpoints.

    Attributes:
        spans: Which other pairs of checkpoints.
        norms: Whether spectral norms are.
    """

    ordered: bool
    params: str = "auto"
    pattern: str | None = None
    architecture: Architecture | None = None
    spans: frozenset[Span] = frozenset()
    norms: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What was measured.

    Attributes:
        match: The rows, matched across the sides that could be read.
        params: Which parameters they are, "matrices" or "all".
        alive: Indices of those sides among all that were given.
        identities: Their identities.
        failures: For each of the others, its index and what went wrong.
        effort: What reading and computing took.
        spans: For each span that was measured, in this run or before, why its cells of shape (L, P) do not compare, or
            None where they do.
    """

    match: RowMatch
    params: str
    alive: tuple[int, ...]
    identities: tuple[str, ...]
    failures: dict[int, CheckpointError]
    effort: Effort
    spans: Mapping[Span, StateArray]


def measure_changes(
    sides: Sequence[Side],
    options: RowOptions,
    source: ByteSource,
    kernels: Kernels,
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
        kernels: What computes the sums.
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
    effort = Effort()
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
        wide, states = add_spans(match, options.spans)
        normed = frozenset(match.pairs if options.norms else ())
        far = window is not None
        try:
            places = Places.of(wide)
            measuring = Measuring(
                wide, places, identities, source, kernels, store, memory_bytes, progress, effort, far, normed
            )
            measuring.run(chosen, window)
        except FailedCheckpointError as failure:
            index = alive.pop(failure.side)
            failures[index] = failure
            store.drop_side(sides[index].identity)
            continue
        states |= _find_complete(match, store.spans() - options.spans, identities, store)
        return Measured(match, params, tuple(alive), tuple(identities), failures, effort, states)


@dataclass(frozen=True, slots=True, eq=False)
class Measuring:
    """What measuring works with, see `measure_changes`; and the pairs whose spectral norms are measured."""

    match: RowMatch
    places: Places
    identities: Sequence[str]
    source: ByteSource
    kernels: Kernels
    store: RunFile
    memory_bytes: int
    progress: ProgressCallback
    effort: Effort
    far: bool
    normed: frozenset[tuple[int, int]] = frozenset()

    def run(self, sides: Sequence[Side], window: FileWindow | None) -> None:
        """Measure what is not stored: all of it band by band, or change by change where files are brought here."""
        needed = _find_needed(self.match, self.identities, self.store)
        lacking = self._find_lacking()
        if window is None:
            ready = self.settle(needed)
            ready.walk(ready.plan(needed))
            self._measure_norms(lacking)
            return
        needed |= lacking  # their files are brought here, and then sums cost little
        plan = self.plan(needed)
        steps = self._list_steps(needed)
        files = [count_files(plan, self.places, pairs) for pairs in steps]
        if any(files) and window.plan(files, count_requests(plan, self.places)):
            self._walk_steps(sides, needed, lacking, steps, files, window)
        elif lacking.any():
            raise UsageError("spectral norms take whole files, which are read more than once: add --fetch files")
        else:
            touched = find_touched(self.places, self.match.pairs, needed)
            self._check(sides, np.flatnonzero(touched.any(axis=0)).tolist())
            self.walk(plan)
        window.finish(list(find_files(self.places, len(sides) - 1)))

    def _list_steps(self, needed: NDArray[np.bool_]) -> list[list[int]]:
        """Pairs that are measured together, since they end at the same checkpoint, in the order of those."""
        steps: dict[int, list[int]] = {}
        for pair in np.flatnonzero(needed.any(axis=0)).tolist():
            steps.setdefault(self.match.pairs[pair][1], []).append(pair)
        return [steps[side] for side in sorted(steps)]

    def _walk_steps(
        self,
        sides: Sequence[Side],
        needed: NDArray[np.bool_],
        lacking: NDArray[np.bool_],
        steps: Sequence[Sequence[int]],
        files: Sequence[Mapping[FileRef, int]],
        window: FileWindow,
    ) -> None:
        """Change after change, all its sides brought here before it is measured."""
        brought = Count(self.progress, "downloading", sum({f: f.size for all_of in files for f in all_of}.values()))
        measured = Count(self.progress, "measuring", sum(sum(all_of.values()) for all_of in files))
        for index, pairs in enumerate(steps):
            window.advance(index)
            for side in sorted({side for pair in pairs for side in self.match.pairs[pair]}):
                self._bring(side, sides[side], files[index], window, brought)
            only = np.zeros_like(needed)
            only[:, pairs] = needed[:, pairs]
            self.walk(self.plan(only), measured)
            self._measure_norms(only & lacking)

    def _bring(self, index: int, side: Side, files: Mapping[FileRef, int], window: FileWindow, count: "Count") -> None:
        """Bring those files of a side that are needed here, and see that its tensors lie in them as was thought."""
        try:
            for file in find_files(self.places, index):
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

    def settle(self, needed: NDArray[np.bool_]) -> "Measuring":
        """The same, by the kernels that are worth it for so many bytes; not asked of what comes from afar."""
        if self.kernels.instead is None:
            return self
        return replace(self, kernels=self.kernels.choose(count_bytes(self.plan(needed), self.places)))

    def plan(self, needed: NDArray[np.bool_]) -> Plan:
        """What is read when. What comes from afar is asked for in few and large runs, one after another."""
        kernels = self.kernels
        threads, band_bytes = (1, None) if self.far else (kernels.num_threads, kernels.band_bytes)
        plan = make_plan(
            self.places,
            self.match.pairs,
            needed,
            self.memory_bytes,
            threads,
            band_bytes,
            pinned=kernels.pinned,
        )
        return replace(plan, bands=self._drop_measured(plan))

    def walk(self, plan: Plan, count: "Count | None" = None) -> None:
        """The band walk over the cells needed."""
        counts = [self.places.count_segments(before) for before, _ in plan.pairs]
        count = count or Count(self.progress, "measuring", count_bytes(plan, self.places))
        count.add(0)
        started = time.perf_counter()

        def on_bytes(num_bytes: int) -> None:
            self.effort.nbytes += num_bytes
            count.add(num_bytes)

        try:
            for batch in stream_changes(plan, self.places, self.source, self.kernels.make, on_bytes):
                self._keep(batch, plan, counts[batch.pair])
                if self.far:
                    self.store.commit()  # costs less than bytes that come again
            self.store.commit()
        finally:
            self.effort.seconds += time.perf_counter() - started

    def _find_lacking(self) -> NDArray[np.bool_]:
        """Cells whose spectral norms are wanted and not stored, bool of shape (L, P)."""
        lacking = np.asarray(self.match.states == None, dtype=np.bool_)  # noqa: E711 - elementwise
        for index, pair in enumerate(self.match.pairs):
            if pair in self.normed:
                stored = self.store.measured_norms(*(self.identities[side] for side in pair))
                lacking[:, index] &= [row.name not in stored for row in self.match.rows]
            else:
                lacking[:, index] = False
        return lacking

    def _measure_norms(self, needed: NDArray[np.bool_]) -> None:
        """Spectral norms of some cells, in a walk of their own: whole matrices do not go by in bands."""
        threads = 1 if self.far else count_processors()
        walk = NormWalk(self.match.tensors, self.match.pairs, needed, self.source, self.memory_bytes, threads)
        count = Count(self.progress, "measuring norms", walk.nbytes)
        count.add(0)
        started = time.perf_counter()
        try:
            for cell in walk.run():
                before, after = (self.identities[side] for side in self.match.pairs[cell.pair])
                self.store.add_norms(self.match.rows[cell.row].name, before, after, cell.norms)
                self.effort.nbytes += cell.nbytes
                count.add(cell.nbytes)
            self.store.commit()
        finally:
            self.effort.seconds += time.perf_counter() - started

    def _keep(self, batch: Batch, plan: Plan, counts: IntArray) -> None:
        """Hand sums to the run file: those of whole tensors together, those of segments one by one."""
        before, after = (self.identities[side] for side in plan.pairs[batch.pair])
        names = [self.match.rows[row].name for row in batch.rows.tolist()]
        alone = counts[batch.rows] == 1
        self.store.add_all([names[i] for i in np.flatnonzero(alone).tolist()], before, after, batch.sums[alone])
        for place in np.flatnonzero(~alone).tolist():
            index, num_segments = int(batch.indices[place]), int(counts[batch.rows[place]])
            self.store.add_segment(names[place], before, after, index, num_segments, Sums(batch.sums[place]))

    def _drop_measured(self, plan: Plan) -> tuple[Band, ...]:
        """Leave out segments of large tensors that an earlier, interrupted run has measured at every needed pair."""
        counts = [self.places.count_segments(before) for before, _ in plan.pairs]
        stored: dict[int, set[int]] = {}
        for row in np.flatnonzero(plan.needed.any(axis=1)).tolist():
            pairs = np.flatnonzero(plan.needed[row]).tolist()
            largest = max(int(counts[pair][row]) for pair in pairs)
            if largest > 1:
                stored[row] = set(range(largest))
                for pair in pairs:
                    before, after = (self.identities[side] for side in plan.pairs[pair])
                    found = self.store.measured_segments(self.match.rows[row].name, before, after)
                    stored[row] &= found | set(range(int(counts[pair][row]), largest))
        if not any(stored.values()):
            return plan.bands
        kept = []
        for band in plan.bands:
            both = zip(band.rows.tolist(), band.indices.tolist(), strict=True)
            missing = np.array([index not in stored.get(row, ()) for row, index in both], dtype=np.bool_)
            if missing.any():
                kept.append(band.choose(missing))
        return tuple(kept)


class Count:
    """Counts bytes of one stage of the work and tells of them."""

    def __init__(self, progress: ProgressCallback, stage: str, total: int) -> None:
        self._progress = progress
        self._stage = stage
        self._total = total
        self._done = 0

    def add(self, num_bytes: int) -> None:
        """So many bytes more are done."""
        self._done = min(self._total, self._done + num_bytes)
        if self._total:
            self._progress(Progress(self._stage, self._done, self._total, "bytes"))


def _find_complete(
    match: RowMatch, spans: Collection[Span], identities: Sequence[str], store: RunFile
) -> dict[Span, StateArray]:
    """Those spans that were not asked for of which nothing is missing all the same, and their states."""
    found: dict[Span, StateArray] = {}
    for span in spans:
        wide, states = add_spans(match, [span])
        if not _find_needed(wide, identities, store).any():
            found |= states
    return found


def _find_needed(match: RowMatch, identities: Sequence[str], store: RunFile) -> NDArray[np.bool_]:
    """Cells that compare and are not stored, bool of shape (L, P)."""
    needed = np.asarray(match.states == None, dtype=np.bool_)  # noqa: E711 - elementwise
    for pair, (before, after) in enumerate(match.pairs):
        stored = store.measured(identities[before], identities[after])
        if stored:
            needed[[row.name in stored for row in match.rows], pair] = False
    return needed
