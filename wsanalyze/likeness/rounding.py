"""What rounding alone does to weights: the floor of a change of dtype, and changes too small for the dtype stored.

References:
    docs/method.md, "Rounding".
"""

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource
from wsanalyze.layers.base import RowMatch
from wsanalyze.likeness.samples import choose_runs
from wsanalyze.series import Event
from wsanalyze.store.run_file import RunFile
from wsanalyze.sums import Sums
from wsanalyze.tensors.base import TensorInfo
from wsanalyze.tensors.dtypes import numpy_dtype, relative_rounding
from wsanalyze.tensors.gather import ElementReader

_NUM_ELEMENTS: Final = 2**16
_NEAR_FLOOR: Final = 2.0
_FINE: Final = 1e-6
# The mean error of rounding to the nearest is a quarter of the spacing, and the mean of numbers that are spread evenly
# over the logarithm is 1 / ln 2 of the power of two below them; the spacing is twice the largest error.
_MEAN_SHARE: Final = math.log(2) / 2


def tell_rounding(
    match: RowMatch, sums: Sums, identities: Sequence[str], source: ByteSource, store: RunFile
) -> tuple[Event, ...]:
    """Say of changes of dtype how much of them is rounding, and of weights stored coarsely what cannot be seen.

    Args:
        match: The rows, matched; its "dtype" events say where dtypes change.
        sums: Sums of shape (L, P) of its rows and pairs.
        identities: Of its sides.
        source: Where bytes come from: up to 65,536 elements of each tensor that changes its dtype are read.
        store: Remembers what was found, so that nothing is read twice.

    Returns:
        Those "dtype" events with their floors, and one for each coarse dtype of which changes are below its rounding;
        checkpoints are indices of sides.
    """
    with np.errstate(all="ignore"):
        rwc = sums["l1_delta"] / sums["l1_before"]
    changes = [_add_floor(e, match, rwc, identities, source, store) for e in match.events if e.kind == "dtype"]
    return (*changes, *_tell_coarse(match, rwc))


def _add_floor(
    event: Event,
    match: RowMatch,
    rwc: NDArray[np.float64],
    identities: Sequence[str],
    source: ByteSource,
    store: RunFile,
) -> Event:
    after = event.checkpoint or 0
    pair = next(index for index, (_, side) in enumerate(match.pairs) if side == after)
    floors, num_near = [], 0
    for row in range(len(match.rows)):
        sides = [(side, match.tensors[row][side]) for side in match.pairs[pair]]
        dtypes = tuple(info.dtype if info else "" for _, info in sides)
        if dtypes != (event.evidence["before"], event.evidence["after"]):
            continue
        side, finer = min(sides, key=lambda item: relative_rounding(item[1].dtype) if item[1] else math.inf)
        coarse = max(dtypes, key=relative_rounding)
        floor = None if finer is None else _find_floor(finer, coarse, identities[side], source, store)
        if floor is not None and math.isfinite(floor):
            floors.append(floor)
            num_near += bool(rwc[row, pair] <= _NEAR_FLOOR * floor)
    if not floors:
        return event
    low, median, high = (float(value) for value in (min(floors), np.median(floors), max(floors)))
    text = f"{event.text}, {median:.1e} of the weights{f' ({low:.1e} to {high:.1e})' if high > 1.1 * low else ''}"
    if num_near:
        text += f"; {'the change is' if len(floors) == 1 else f'{num_near} changes are'} hardly more than that"
    evidence = {**event.evidence, "floor": {"low": low, "median": median, "high": high}, "num_near_floor": num_near}
    return replace(event, text=text, evidence=evidence)


def _find_floor(info: TensorInfo, coarse: str, identity: str, source: ByteSource, store: RunFile) -> float | None:
    """The relative change that rounding a tensor to a dtype makes, from a sample; None where it cannot be read."""
    key = f"floor {coarse} {info.name}"
    known = store.find_fact(identity, key)
    if known is None:
        try:
            known = struct.pack("<d", _measure_floor(info, coarse, source))
        except CheckpointError:
            return None
        store.add_fact(identity, key, known)
    return float(struct.unpack("<d", known)[0])


def _measure_floor(info: TensorInfo, coarse: str, source: ByteSource) -> float:
    reader = ElementReader(source)
    change = size = 0.0
    for start, stop in choose_runs(info.numel, _NUM_ELEMENTS):
        room = np.empty((stop - start) * info.type.itemsize, dtype=np.uint8)
        is_complex = info.dtype.startswith("complex")
        with np.errstate(all="ignore"):
            values = reader.read_into(info, start, stop, room).astype(np.complex128 if is_complex else np.float64)
            error = np.abs(values.astype(numpy_dtype(coarse)).astype(values.dtype) - values)
        finite = np.isfinite(error)
        change += float(error[finite].sum())
        size += float(np.abs(values[finite]).sum())
    reader.verify()
    return change / size if size else math.nan


def _tell_coarse(match: RowMatch, rwc: NDArray[np.float64]) -> Iterator[Event]:
    """Weights that are stored coarsely move by whole spacings: small changes are right in the mean, but not squared."""
    found: dict[str, NDArray[np.bool_]] = {}
    for pair, (before, after) in enumerate(match.pairs):
        for row, tensors in enumerate(match.tensors):
            dtypes = {info.dtype if info else "" for info in (tensors[before], tensors[after])}
            dtype = dtypes.pop()
            if dtypes or relative_rounding(dtype) <= _FINE:
                continue
            below = found.setdefault(dtype, np.zeros(rwc.shape, dtype=np.bool_))
            below[row, pair] = 0 < rwc[row, pair] < mean_rounding(dtype)
    for dtype, below in found.items():
        if below.any():
            num, rows = int(below.sum()), np.flatnonzero(below.any(axis=1))
            text = (
                f"{num} {'change' if num == 1 else 'changes'} of {len(rows)} {'layer' if len(rows) == 1 else 'layers'} "
                f"stored as {dtype} {'is' if num == 1 else 'are'} smaller than its rounding "
                f"({mean_rounding(dtype):.1e}): rwc is right there on average, l2 and angle too high, coherence too low"
            )
            evidence = {"dtype": dtype, "floor": mean_rounding(dtype), "num_changes": num, "rows": rows.tolist()}
            yield Event("dtype", None, None, text, evidence)


def mean_rounding(dtype: str) -> float:
    """The relative change in the L1 norm that rounding weights of ordinary size to a dtype makes, on average."""
    return _MEAN_SHARE * relative_rounding(dtype)
