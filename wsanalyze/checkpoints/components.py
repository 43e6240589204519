"""A checkpoint from its models: one, components side by side, or components in folders of their own."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Final

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.names import mask_numbers, read_name
from wsanalyze.checkpoints.partitions import explain_ranks, is_rank_folder
from wsanalyze.checkpoints.trainer_state import read_global_step
from wsanalyze.checkpoints.tree import TreePath, is_folder, list_file
from wsanalyze.checkpoints.weight_files import Unit
from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import FileRef

SEVERAL: Final = " + "
"""Between the names of components, where one checkpoint is made of files side by side."""

_EMA: Final = re.compile(r"[-_.]?ema(?![a-zA-Z])", re.IGNORECASE)


def make_checkpoint(label: str, origin: TreePath, units: Sequence[Unit], names: Sequence[str] = ()) -> Checkpoint:
    """One checkpoint from its files; a fault found on the way is noted, not raised, so that the others go on.

    Args:
        label: The short name.
        origin: Where it lies.
        units: Its models.
        names: What each of several models is called; by default as its files are.
    """
    problem = next((unit.problem for unit in units if unit.problem), None)
    files: list[FileRef] = []
    try:
        files = [list_file(path) for unit in units for path in unit.files]
    except CheckpointError as error:
        problem = problem or str(error)
    named = zip(names or [unit.label for unit in units], units, strict=True)
    prefixes = [f"{name}." if len(units) > 1 else "" for name, unit in named for _ in unit.files]
    folder = origin if is_folder(origin) else origin.parent
    layouts = {unit.layout for unit in units}
    return Checkpoint(
        step=None,
        label=as_text(label or str(origin)),
        origin=as_text(str(origin)),
        files=tuple(files),
        prefixes=tuple(prefixes[: len(files)]),
        facts=read_global_step(folder),
        problem=None if problem is None else as_text(problem),
        unread=tuple(as_text(_name_below(path, folder)) for unit in units for path in unit.unread),
        layout=next(iter(layouts)) if len(layouts) == 1 else "files",
        place=next((path.parent for unit in units for path in unit.files), folder),
    )


def fold_averages(units: Mapping[str, Unit]) -> dict[str, Unit]:
    """Without the moving averages of others among them, which are left out beside what they average: never mixed."""
    folded = {label: unit for label, unit in units.items() if not is_averaged(label, units)}
    for label, unit in units.items():
        if label not in folded:
            own = folded[_EMA.sub("", label)]
            folded[own.label] = replace(own, unread=(*own.unread, *unit.files, *unit.unread))
    return folded


def group_components(units: Mapping[str, Unit]) -> list[list[Unit]]:
    """`actor_100`, `critic_100`, `actor_200`, `critic_200`: components of each checkpoint, told by equal numbers."""
    makes: dict[str, dict[tuple[str, ...], Unit]] = {}
    for label, unit in units.items():
        if not read_name(label).role and unit.files:
            makes.setdefault(mask_numbers(label), {})[tuple(re.findall(r"\d+", label))] = unit
    numbers = [set(group) for group in makes.values()]
    if len(makes) < 2 or len(numbers[0]) < 2 or any(other != numbers[0] for other in numbers):  # noqa: PLR2004 - several
        return []
    return [[group[number] for group in makes.values()] for number in next(iter(makes.values()))]


def is_averaged(label: str, others: Iterable[str]) -> bool:
    """Whether it is the moving average of another one: the two are never mixed."""
    return _EMA.search(label) is not None and _EMA.sub("", label) in others


def merge_components(folder: TreePath, below: Mapping[TreePath, Sequence[Checkpoint]]) -> Checkpoint:
    """One checkpoint from the components in folders below its own, named by those where there are several."""
    names = [child.name for child in below]
    parts = [(child.name, found[0]) for child, found in below.items() if not is_averaged(child.name, names)]
    averages = [(child.name, found[0]) for child, found in below.items() if is_averaged(child.name, names)]
    left_out = [f"{name}/{PurePath(file.url).name}" for name, part in averages for file in part.files]
    several = len(parts) > 1
    problem = next((part.problem for _, part in parts if part.problem), None)
    if several and all(map(is_rank_folder, names)):
        problem = explain_ranks(folder, len(parts), "")
    elif len({part.layout for _, part in parts}) > 1:
        problem = str(CheckpointError("holds models in layouts that differ: give the folder of one of them", folder))
    return replace(
        parts[0][1],
        label=as_text(folder.name),
        origin=as_text(str(folder)),
        files=tuple(file for _, part in parts for file in part.files),
        prefixes=tuple(f"{name}.{p}" if several else p for name, part in parts for p in part.prefixes),
        facts=read_global_step(folder) or parts[0][1].facts,
        problem=None if problem is None else as_text(problem),
        unread=(*(name for _, part in parts for name in part.unread), *map(as_text, left_out)),
    )


def _name_below(path: TreePath, folder: TreePath) -> str:
    """A path as it is called from a folder."""
    depth = len(folder.parts)
    return "/".join(path.parts[depth:]) if path.parts[:depth] == folder.parts else path.name


def as_text(name: str) -> str:
    """A name that can be written down: file names need not be UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()
