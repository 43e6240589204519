"""Measuring: match what is there, read what is not stored yet, and go on without what cannot be read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsanalyze.changes.base import Band, Kernel, Segment
from wsanalyze.changes.plan import clamp_segment, count_segments, plan_bands
from wsanalyze.changes.stream import FailedCheckpointError, stream_changes
from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource
from wsanalyze.layers.base import RowMatch, TensorsByName
from wsanalyze.layers.match import match_or_widen
from wsanalyze.progress import Progress, ProgressCallback
from wsanalyze.store.run_file import RunFile
from wsanalyze.tensors.gather import count_bytes


@dataclass(frozen=True, slots=True)
class Side:
    """One checkpoint as the measuring sees it: what people call it, what tells it apart, and its tensors."""

    label: str
    identity: str
    tensors: TensorsByName


@dataclass(frozen=True, slots=True)
class RowOptions:
    """Which rows are measured: see `match_or_widen`."""

    ordered: bool
    params: str = "auto"
    pattern: str | None = None


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
        )
        identities = [side.identity for side in chosen]
        try:
            _measure_missing(match, identities, source, kernel, store, memory_bytes, progress)
        except FailedCheckpointError as failure:
            index = alive.pop(failure.side)
            failures[index] = failure
            store.drop_side(sides[index].identity)
            continue
        return Measured(match, params, tuple(alive), tuple(identities), failures)


def _measure_missing(
    match: RowMatch,
    identities: Sequence[str],
    source: ByteSource,
    kernel: Kernel,
    store: RunFile,
    memory_bytes: int,
    progress: ProgressCallback,
) -> None:
    needed = _find_needed(match, identities, store)
    bands = _drop_measured(plan_bands(match, needed, memory_bytes), match, identities, needed, store)
    counts = {row: count_segments(match, row) for row in np.flatnonzero(needed.any(axis=1)).tolist()}
    total = _count_bytes(bands, match, needed)
    done = 0

    def on_bytes(num_bytes: int) -> None:
        nonlocal done
        done += num_bytes
        progress(Progress("measuring", done, total, "bytes"))

    if total:
        progress(Progress("measuring", 0, total, "bytes"))
    for segment, pair, sums in stream_changes(bands, match, needed, source, kernel, on_bytes):
        before, after = (identities[side] for side in match.pairs[pair])
        name = match.rows[segment.row].name
        num_segments = counts[segment.row][pair]
        if num_segments == 1:
            store.add(name, before, after, sums)
        else:
            store.add_segment(name, before, after, segment.index, num_segments, sums)
    store.commit()


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
    touched = np.zeros((len(match.rows), len(match.pairs) + 1), dtype=bool)
    for pair, (before, after) in enumerate(match.pairs):
        touched[:, before] |= needed[:, pair]
        touched[:, after] |= needed[:, pair]
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
