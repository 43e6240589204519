"""Checkpoints far away whose files are the same by their hashes: known, and left out, before anything is fetched.

Which of them stands where it belongs is told by its neighbours, from a few kilobytes of each.

References:
    docs/method.md, "Copies and impostors".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource
from wsanalyze.likeness.find import MAX_NAMED, choose_original
from wsanalyze.likeness.samples import Distances, SampleArray
from wsanalyze.sentences import list_names
from wsanalyze.tensors.base import TensorInfo
from wsanalyze.tensors.gather import ElementReader

_HASHES: Final = "their hashes on the Hub are equal"
_NUM_TENSORS: Final = 8
_NUM_ELEMENTS: Final = 1024
_MIN_AXES: Final = 2
_FEWEST: Final = 2

_Tensors = Mapping[str, TensorInfo]


@dataclass(frozen=True, slots=True)
class EqualFiles:
    """Checkpoints whose files are the same.

    Attributes:
        kept: Origin of the one that is kept.
        copies: Origins of the others.
        text: A sentence that names all of them.
    """

    kept: str
    copies: tuple[str, ...]
    text: str


def leave_equal_files_out(
    checkpoints: Sequence[Checkpoint], open_tensors: Callable[[Checkpoint], _Tensors], source: ByteSource
) -> tuple[list[Checkpoint], tuple[EqualFiles, ...]]:
    """Mark those checkpoints of a sequence whose files are those of another, wherever in it they are.

    Args:
        checkpoints: The sequence, in order.
        open_tensors: Reads the headers of one that is sampled.
        source: Where the bytes of the samples come from.

    Returns:
        The checkpoints, the copies marked, and what was found.
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, checkpoint in enumerate(checkpoints):
        if checkpoint.files and checkpoint.problem is None and all(file.remote for file in checkpoint.files):
            key = (
                checkpoint.layout,
                *((f.stamp, p) for f, p in zip(checkpoint.files, checkpoint.prefixes, strict=True)),
            )
            groups.setdefault(key, []).append(index)
    sets = [members for members in groups.values() if len(members) >= _FEWEST]
    marked, found = list(checkpoints), []
    if not sets:
        return marked, ()
    copied = {index for members in sets for index in members}
    others = [i for i, c in enumerate(checkpoints) if i not in copied and c.files and c.problem is None]
    opened, others = _open_around(checkpoints, sets, others, open_tensors)
    distances = Distances(_sample(checkpoints, sets, opened, source))
    for members in sets:
        kept = choose_original(members, others, distances)
        label = checkpoints[kept].label
        rest = [index for index in members if index != kept]
        for index in rest:
            marked[index] = replace(marked[index], duplicate_of=f"the same files as {label} ({_HASHES})")
        names = [checkpoints[index].label for index in rest]
        verb = "hold" if len(names) > 1 else "holds"
        text = f"{list_names(names, MAX_NAMED)} {verb} the same files as {label} ({_HASHES})"
        origins = tuple(checkpoints[index].origin for index in rest)
        found.append(EqualFiles(checkpoints[kept].origin, origins, f"{text}: only that one is compared"))
    return marked, tuple(found)


def _open_around(
    checkpoints: Sequence[Checkpoint],
    sets: Sequence[Sequence[int]],
    others: Sequence[int],
    open_tensors: Callable[[Checkpoint], _Tensors],
) -> tuple[dict[int, _Tensors], list[int]]:
    """Read the headers of one of each set and of the nearest neighbours of all copies that can be read.

    Returns:
        What was opened and holds tensors, by index, and those of the others that may be neighbours.
    """
    opened: dict[int, _Tensors] = {}

    def is_read(index: int) -> bool:
        if index not in opened:
            opened[index] = open_tensors(checkpoints[index])
        return bool(opened[index])

    for members in sets:
        if is_read(members[0]):
            for index in members:
                next(filter(is_read, reversed([other for other in others if other < index])), None)
                next(filter(is_read, (other for other in others if other > index)), None)
    read = {index: tensors for index, tensors in opened.items() if tensors}
    return read, [index for index in others if index in read or index not in opened]


def _sample(
    checkpoints: Sequence[Checkpoint],
    sets: Sequence[Sequence[int]],
    wanted: Mapping[int, _Tensors],
    source: ByteSource,
) -> SampleArray:
    """A run in the middle of a few matrices of every copy and its neighbours: few requests, and no other is needed.

    Returns:
        float32 of shape (checkpoints, tensors, elements), NaN where nothing was read.
    """
    names = _choose_tensors(list(wanted.values()))
    samples = np.full((len(checkpoints), len(names), _NUM_ELEMENTS), np.nan, dtype=np.float32)
    for index, tensors in wanted.items():
        try:
            for row, name in enumerate(names):
                samples[index, row] = _read_middle(tensors[name], source)
            for file in checkpoints[index].files:
                source.verify(file)
        except (CheckpointError, KeyError):
            samples[index] = np.nan
    for members in sets:
        samples[list(members)] = samples[members[0]]
    return samples


def _choose_tensors(sides: Sequence[_Tensors]) -> list[str]:
    """Large matrices that all hold, spread over the model."""
    common = [
        name
        for name, info in (sides[0] if sides else {}).items()
        if len(info.shape) >= _MIN_AXES
        and info.numel >= _NUM_ELEMENTS
        and info.contiguous
        and info.derivation is None
        and info.type.floating
        and not info.dtype.startswith("complex")
        and all(name in side and side[name].shape == info.shape for side in sides)
    ]
    count = min(_NUM_TENSORS, len(common))
    return [common[(len(common) - 1) * index // max(1, count - 1)] for index in range(count)]


def _read_middle(info: TensorInfo, source: ByteSource) -> SampleArray:
    start = (info.numel - _NUM_ELEMENTS) // 2
    room = np.empty(_NUM_ELEMENTS * info.type.itemsize, dtype=np.uint8)
    with np.errstate(all="ignore"):
        return ElementReader(source).read_into(info, start, start + _NUM_ELEMENTS, room).astype(np.float32)
