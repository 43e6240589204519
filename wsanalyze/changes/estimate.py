"""What measuring would take, told before it is done: by its plan, and by doing some of it for half a second."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from wsanalyze.changes.base import IntArray
from wsanalyze.changes.demand import count_bytes, count_requests
from wsanalyze.changes.devices import Kernels
from wsanalyze.changes.measure import Count, Measuring
from wsanalyze.changes.places import Places
from wsanalyze.changes.plan import Plan
from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource
from wsanalyze.layers.base import RowMatch
from wsanalyze.progress import Effort, silent
from wsanalyze.store.database import connect
from wsanalyze.store.run_file import RunFile

PROBE_SECONDS: Final = 0.5
_PART_SECONDS: Final = 0.1
_MAX_PAIRS: Final = 8
_BANDS_PER_THREAD: Final = 4
_GOLDEN: Final = 0.6180339887498949
_IN_MEMORY: Final = Path(":memory:")


@dataclass(frozen=True, slots=True)
class Estimate:
    """What measuring all cells would take.

    Attributes:
        nbytes: Bytes of weights that are read, each of them once.
        num_bands: Parts that they are read in.
        num_threads: Threads that work at once.
        memory_bytes: What all buffers take at most.
        num_runs: How many runs of bytes are asked for where they lie far away; None where they are at hand.
        seconds: How long it would take, by the probe; None where there was none.
        probe: What the probe took.
        problem: Why the probe failed, or None.
    """

    nbytes: int
    num_bands: int
    num_threads: int
    memory_bytes: int
    num_runs: int | None = None
    seconds: float | None = None
    probe: Effort = field(default_factory=Effort)
    problem: str | None = None


def estimate_measuring(
    match: RowMatch,
    source: ByteSource,
    kernels: Kernels,
    memory_bytes: int,
    *,
    far: bool = False,
    probe_seconds: float = PROBE_SECONDS,
) -> Estimate:
    """Tell what measuring all cells of a match would take, where none of them is stored.

    Args:
        match: The rows.
        source: Where the bytes come from.
        kernels: What would compute the sums.
        memory_bytes: Memory allowed for buffers.
        far: Whether files lie elsewhere: they are read in another way, and nothing is probed.
        probe_seconds: How long weights may be read and computed with to find out how fast that is.

    Raises:
        UsageError: If the memory allowed is too small.
    """
    places = Places.of(match)
    effort = Effort()
    with RunFile(_IN_MEMORY, connect(_IN_MEMORY, create=True)) as store:
        identities = [str(side) for side in range(len(match.pairs) + 1)]
        measuring = Measuring(match, places, identities, source, kernels, store, memory_bytes, silent, effort, far)
        needed = np.asarray(match.states == None, dtype=np.bool_)  # noqa: E711 - elementwise
        measuring = measuring if far else measuring.settle(needed)
        plan = measuring.plan(needed)
        nbytes = count_bytes(plan, places)
        found = Estimate(
            nbytes,
            len(plan.bands),
            plan.num_threads,
            plan.memory_bytes if plan.bands else 0,
            count_requests(plan, places) if far else None,
        )
        if far or not nbytes:
            return found
        try:
            rate = _probe(measuring, plan, probe_seconds)
        except CheckpointError as error:
            return replace(found, probe=effort, problem=str(error))
    return replace(found, seconds=nbytes / rate if rate else None, probe=effort)


def _probe(measuring: Measuring, plan: Plan, seconds: float) -> float:
    """Measure parts of a plan, bands and checkpoints from all over, for so long; how many bytes came a second.

    The first part opens files, and wakes threads and devices up: it counts where there is no other.
    """
    effort, nothing_to_tell = measuring.effort, Count(silent, "", 0)
    end = time.perf_counter() + seconds
    pairs = np.flatnonzero(plan.needed.any(axis=0))
    bands = _spread(len(plan.bands))
    first, taken, num_parts = Effort(), 0, 0
    num_pairs, num_bands = 1, plan.num_threads
    while taken < len(bands) and num_pairs > 0:
        begin = round(num_parts * _GOLDEN % 1 * max(0, len(pairs) - num_pairs))
        measuring.walk(_take(plan, bands[taken : taken + num_bands], pairs[begin : begin + num_pairs]), nothing_to_tell)
        taken, num_parts = taken + num_bands, num_parts + 1
        first = first if first.nbytes else replace(effort)
        rate = effort.nbytes / max(effort.seconds, 1e-9)
        room = int(rate * min(_PART_SECONDS, end - time.perf_counter()) / plan.room)  # sides of bands
        num_pairs = max(0, min(_MAX_PAIRS, len(pairs), room // plan.num_threads - 1))
        num_bands = plan.num_threads * max(1, min(_BANDS_PER_THREAD, room // plan.num_threads // (num_pairs + 1)))
    rest = Effort(effort.nbytes - first.nbytes, effort.seconds - first.seconds)
    found = rest if rest.nbytes else first
    return found.nbytes / max(found.seconds, 1e-9)


def _take(plan: Plan, bands: IntArray, pairs: IntArray) -> Plan:
    """The plan of some bands and some changes alone."""
    needed = np.zeros_like(plan.needed)
    needed[:, pairs] = plan.needed[:, pairs]
    return replace(plan, bands=tuple(plan.bands[band] for band in np.sort(bands).tolist()), needed=needed)


def _spread(count: int) -> IntArray:
    """All places from 0 to `count`, each far from those before it: int64 array of shape (count,)."""
    places = np.arange(count) * _GOLDEN % 1
    return np.argsort(np.argsort(places, kind="stable"), kind="stable").astype(np.int64, copy=False)
