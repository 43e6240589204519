"""What checkpoints have in common: copies over the whole sequence, and weights that belong to another step.

What costs nothing goes first: the same file, equal checksums. Then small samples, which also tell distances; then a few
bytes of every tensor; and only what is equal in all of that is read whole.

References:
    docs/method.md, "Copies and impostors".
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import numpy as np

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource
from wsanalyze.likeness.contents import digest_weights, probe_weights
from wsanalyze.likeness.misplaced import tell_misplaced
from wsanalyze.likeness.samples import Distances, SampleArray, SamplePlan, plan_samples, read_sample
from wsanalyze.progress import Progress, ProgressCallback
from wsanalyze.sentences import list_names
from wsanalyze.series import Event
from wsanalyze.store.run_file import RunFile
from wsanalyze.tensors.base import TensorInfo
from wsanalyze.tensors.dtypes import relative_rounding

INDEX_KEYS: Final = ("of", "checkpoints", "swapped", "instead", "before_checkpoint", "after_checkpoint", "nearest")
"""Keys of the evidence of events whose values are indices of checkpoints."""

_CHECKSUMS: Final = "their checksums are equal"
_BYTES: Final = "every byte was compared"
MAX_NAMED: Final = 6
_FEWEST: Final = 2


@dataclass(frozen=True, slots=True)
class Candidate:
    """One checkpoint, as its likeness to others is seen.

    Attributes:
        label: What people call it.
        identity: What the run file knows it by.
        fingerprint: Equal for equal checksums in equal structures.
        proven: Whether those checksums cover all weights.
        tensors: Those of its tensors that are compared, by name.
        held: All tensors that it holds, by whatever names.
        step: Its training step; None where none is known, and for the model that training began with.
    """

    label: str
    identity: str
    fingerprint: str
    proven: bool
    tensors: Mapping[str, TensorInfo]
    held: Mapping[str, TensorInfo]
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Likeness:
    """What was found.

    Attributes:
        copies: For each candidate that is a copy, by index: of which one, and how that is known.
        events: One for each set of copies, each swap and each impostor; checkpoints are indices of candidates.
    """

    copies: Mapping[int, tuple[int, str]] = field(default_factory=dict)
    events: tuple[Event, ...] = ()


def find_likeness(
    candidates: Sequence[Candidate],
    source: ByteSource,
    store: RunFile,
    progress: ProgressCallback,
    *,
    misplaced: bool = True,
) -> Likeness:
    """Find copies and impostors in a sequence.

    Whatever is read for it is remembered in the run file, so that it is read once. A checkpoint that cannot be read is
    like no other; measuring will tell what is wrong with it.

    Args:
        candidates: The checkpoints that take part, in order.
        source: Where bytes come from.
        store: What remembers.
        progress: Told of checkpoints sampled.
        misplaced: Whether to look for impostors as well.
    """
    if len(candidates) < _FEWEST:
        return Likeness()
    plan = plan_samples([candidate.tensors for candidate in candidates])
    samples = _gather_samples(candidates, plan, source, store, progress)
    distances = Distances(samples)
    sets = _find_equal(candidates, samples, source, store)
    copies: dict[int, tuple[int, str]] = {}
    events = []
    copied = {index for members, _ in sets for index in members}
    for members, how in sets:
        kept = choose_original(members, [i for i in range(len(candidates)) if i not in copied], distances)
        copies |= {index: (kept, how) for index in members if index != kept}
        events.append(_tell_copies(candidates, members, kept, how))
    alive = [index for index in range(len(candidates)) if index not in copies]
    rounding = np.array([coarsest_rounding(candidates[index].tensors, plan) for index in alive])
    names, steps = [candidates[index].label for index in alive], [candidates[index].step for index in alive]
    if misplaced:
        events += tell_misplaced(names, steps, alive, Distances(samples[alive]), rounding)
    store.commit()
    return Likeness(copies, tuple(events))


def _gather_samples(
    candidates: Sequence[Candidate],
    plan: SamplePlan,
    source: ByteSource,
    store: RunFile,
    progress: ProgressCallback,
) -> SampleArray:
    samples = np.full((len(candidates), len(plan.shapes), plan.num_elements), np.nan, dtype=np.float32)
    for index, candidate in enumerate(candidates):
        progress(Progress("comparing", index, len(candidates), "checkpoints"))
        data = _recall(candidate, f"sample {plan.key}", store, partial(_pack_sample, plan, candidate, source))
        if data is not None:
            samples[index] = np.frombuffer(zlib.decompress(data), dtype="<f4").reshape(samples.shape[1:])
    progress(Progress("comparing", len(candidates), len(candidates), "checkpoints"))
    return samples


def _pack_sample(plan: SamplePlan, candidate: Candidate, source: ByteSource) -> bytes:
    with np.errstate(all="ignore"):  # what float32 does not hold becomes infinite
        sample = read_sample(plan, candidate.tensors, source).astype("<f4")
    return zlib.compress(sample.tobytes(), level=1)


def _recall(candidate: Candidate, key: str, store: RunFile, find_out: Callable[[], bytes]) -> bytes | None:
    """What is remembered of a checkpoint, or else what is found out now; None where it cannot be read."""
    known = store.find_fact(candidate.identity, key)
    if known is None:
        try:
            known = find_out()
        except CheckpointError:
            return None
        store.add_fact(candidate.identity, key, known)
    return known


def _find_equal(
    candidates: Sequence[Candidate], samples: SampleArray, source: ByteSource, store: RunFile
) -> list[tuple[list[int], str]]:
    """Sets of checkpoints whose tensors are all equal, in order, and how that is known."""
    groups = _group(range(len(candidates)), lambda i: _structure(candidates[i]) + samples[i].tobytes())
    sets = []
    for group in groups:
        proven = all(candidates[i].proven for i in group)
        if proven and len({candidates[i].fingerprint for i in group}) == 1:
            sets.append((group, _CHECKSUMS))
            continue
        for part in _group(group, lambda i: _look(candidates[i], "probe", probe_weights, source, store)):
            equal = _group(part, lambda i: _look(candidates[i], "weights", digest_weights, source, store))
            sets += [(members, _BYTES) for members in equal]
    return sorted(sets)


def _look(
    candidate: Candidate,
    key: str,
    digest: Callable[[ByteSource, Mapping[str, TensorInfo]], bytes],
    source: ByteSource,
    store: RunFile,
) -> bytes | None:
    return _recall(candidate, key, store, lambda: digest(source, candidate.held))


def _group(indices: Sequence[int], key: Callable[[int], bytes | None]) -> list[list[int]]:
    """Those that share a key with another one, together; without those that have none."""
    groups: dict[bytes, list[int]] = {}
    for index in indices:
        if (found := key(index)) is not None:
            groups.setdefault(found, []).append(index)
    return [group for group in groups.values() if len(group) >= _FEWEST]


def _structure(candidate: Candidate) -> bytes:
    lines = (f"{name!r} {info.dtype} {info.shape}" for name, info in candidate.held.items())
    return "\n".join(sorted(lines)).encode() + b"\0"


def move_event(event: Event, position: Sequence[int]) -> Event:
    """The same event with every index of a checkpoint moved to where it stands in the sequence."""
    evidence = {
        key: [position[index] for index in value] if isinstance(value, list) else position[value]
        for key, value in event.evidence.items()
        if key in INDEX_KEYS
    }
    where = None if event.checkpoint is None else position[event.checkpoint]
    return replace(event, checkpoint=where, evidence={**event.evidence, **evidence})


def choose_original(members: Sequence[int], others: Sequence[int], distances: Distances) -> int:
    """Which of equal checkpoints stands where it belongs: the one whose neighbours are nearest; else the first.

    Nearest is the place at which the way through all checkpoints becomes the shortest: between two neighbours it grows
    by the detour, at either end by the distance to the only one.
    """

    def detour(index: int) -> float:
        before = [other for other in others if other < index][-1:]
        after = [other for other in others if other > index][:1]
        length = sum(distances.relative(index, other) for other in (*before, *after))
        if before and after:
            length -= distances.relative(before[0], after[0])
        return length if np.isfinite(length) else np.inf

    return min(members, key=lambda index: (detour(index), index))


def _tell_copies(candidates: Sequence[Candidate], members: Sequence[int], kept: int, how: str) -> Event:
    names = [candidates[index].label for index in members if index != kept]
    verb = "hold" if len(names) > 1 else "holds"
    same = f"the same weights as {candidates[kept].label} ({how})"
    text = f"{list_names(names, MAX_NAMED)} {verb} {same}: only that one is compared"
    evidence = {"of": kept, "checkpoints": [index for index in members if index != kept], "how": how}
    return Event("duplicate", None, next(index for index in members if index != kept), text, evidence)


def coarsest_rounding(tensors: Mapping[str, TensorInfo], plan: SamplePlan) -> float:
    """The coarsest relative precision among the tensors sampled."""
    return max((relative_rounding(tensors[name].dtype) for name in plan.shapes if name in tensors), default=0.0)
