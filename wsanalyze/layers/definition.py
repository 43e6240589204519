"""A model's definition, where it is known: which kind each parameter is, and in which order modules compute.

It is laid over the names of a checkpoint, which may lie below a prefix, have another head, or be of another model.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from wsanalyze.series import Kind

_FEWEST: Final = 0.5
_MOST: Final = 0.75
_MAX_PREFIX_PARTS: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class Architecture:
    """The definition of a model.

    Attributes:
        name: What it is called ("resnet18 of timm").
        source: What named it: the option or the file.
        shapes: Shape of each parameter and buffer by full name, in the order in which the model defines its modules.
        kinds: What each parameter is for.
    """

    name: str
    source: str
    shapes: Mapping[str, tuple[int, ...]]
    kinds: Mapping[str, Kind]


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A definition laid over the tensors of a checkpoint.

    Attributes:
        names: The names of the tensors in the order of the definition; one that it does not know stands behind its
            module, or else behind its forerunner.
        kinds: The kinds of those that it knows.
    """

    names: tuple[str, ...]
    kinds: Mapping[str, Kind]


def fit_architecture(
    architecture: Architecture, shapes: Mapping[str, tuple[int, ...]], rows: Collection[str]
) -> tuple[Fit | None, str]:
    """Lay a definition over the tensors of a checkpoint.

    A tensor is known where the definition has its name, below a prefix that all may share, with as many axes, of
    which at most one has another length: another number of classes or of patches changes one, another network two.

    Args:
        architecture: The definition.
        shapes: Shape of each tensor by name, in the order that holds without a definition.
        rows: The names that rows are made of.

    Returns:
        The fit, or None where less than half of the rows are known; and a sentence that says so.
    """
    prefix = _find_prefix(architecture, shapes)
    inside = {name: name.removeprefix(prefix) for name in shapes if name.startswith(prefix)}
    kinds = {
        name: architecture.kinds[own]
        for name, own in inside.items()
        if own in architecture.kinds and _agrees(shapes[name], architecture.shapes[own])
    }
    num_known = sum(name in kinds for name in rows)
    known = f"{num_known} of {len(rows)} layers"
    if not num_known or num_known < _FEWEST * len(rows):
        text = f"{architecture.source} names {architecture.name}, which knows {known}: kinds and depths follow names"
        return None, text
    text = f"kinds and depths of {known} are those of {architecture.name} ({architecture.source})"
    return Fit(_order(architecture, shapes, inside), kinds), text


def knows_all(architecture: Architecture, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a definition knows every matrix of a checkpoint, and the checkpoint most of its.

    Args:
        architecture: The definition.
        shapes: Shape of each tensor of the checkpoint by name.

    Returns:
        True where each tensor with two axes or more has its name and shape in the definition, as `fit_architecture`
        says, and three quarters of the definition's are there.
    """
    prefix = _find_prefix(architecture, shapes)
    matrices = {name: shape for name, shape in shapes.items() if len(shape) > 1}
    own = {name: name.removeprefix(prefix) for name in matrices if name.startswith(prefix)}
    known = [
        name
        for name, inside in own.items()
        if inside in architecture.shapes and _agrees(matrices[name], architecture.shapes[inside])
    ]
    defined = sum(len(shape) > 1 for shape in architecture.shapes.values())
    return len(known) == len(matrices) and len(known) >= _MOST * max(1, defined)


def _find_prefix(architecture: Architecture, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What stands before the names of the definition in most names of the checkpoint ("model.", or nothing)."""
    votes: Counter[str] = Counter()
    for name, shape in shapes.items():
        own = name
        for _ in range(_MAX_PREFIX_PARTS + 1):
            if own in architecture.shapes and _agrees(shape, architecture.shapes[own]):
                votes[name[: len(name) - len(own)]] += 1
            own = own.partition(".")[2]
    return max(votes, key=lambda prefix: (votes[prefix], -len(prefix)), default="")


def _agrees(shape: tuple[int, ...], defined: tuple[int, ...]) -> bool:
    return len(shape) == len(defined) and sum(a != b for a, b in zip(shape, defined, strict=True)) <= 1


def _order(architecture: Architecture, names: Iterable[str], inside: Mapping[str, str]) -> tuple[str, ...]:
    """Sort names as the definition does, those that it does not know behind their module or else their forerunner."""
    positions: dict[str, int] = {}
    ends: dict[str, int] = {}  # of each module, where its last tensor stands
    for index, own in enumerate(architecture.shapes):
        positions[own] = index
        module = own
        while module := module.rpartition(".")[0]:
            ends[module] = index
    keys: dict[str, tuple[int, int]] = {}
    last = -1
    for name in names:
        own = inside.get(name, "")
        if own in positions:
            last = positions[own]
            keys[name] = last, 0
            continue
        module = own
        while module and module not in ends:
            module = module.rpartition(".")[0]
        last = ends.get(module, last)
        keys[name] = last, 1
    return tuple(sorted(keys, key=keys.__getitem__))
