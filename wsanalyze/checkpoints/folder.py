"""Checkpoints on disk: a file, a folder that is one checkpoint, a folder full of them, or a glob of any of those."""

import glob
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.checkpoints.names import mask_numbers, natural_key, read_name
from wsanalyze.checkpoints.units import ASIDE, Unit, is_folder, is_shard, is_weight_file, list_unit_of, list_units
from wsanalyze.errors import CheckpointError, SourceError
from wsanalyze.files.base import FileRef
from wsanalyze.files.local import stat_file

_STEP_FOLDER: Final = re.compile(r"(checkpoint|ckpt|chkpt|cp)?[-_=.]?\d+", re.IGNORECASE)
_EMA: Final = re.compile(r"[-_.]?ema(?![a-zA-Z])", re.IGNORECASE)
_FOREIGN: Final = {
    "*.distcp": "a torch.distributed checkpoint: convert it with torch.distributed.checkpoint.format_utils",
    "*.msgpack": "a Flax checkpoint: convert it to safetensors",
    "*.h5": "a Keras checkpoint: convert it to safetensors",
    "*.index": "a TensorFlow checkpoint: convert it to safetensors",
    "*.gguf": "a GGUF file, quantised for inference: give the checkpoints that it was made from",
}
_MAX_DEPTH: Final = 3
_MAX_NAMED: Final = 8
_MAX_STATE_BYTES: Final = 100_000_000


class FolderSource:
    """Checkpoints below one path.

    Args:
        path: A file, a folder or a glob.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def checkpoints(self) -> Sequence[Checkpoint]:
        """See `CheckpointSource.checkpoints`."""
        path = Path(os.path.expanduser(self.path))  # noqa: PTH111 - it never raises, where pathlib does for "~nobody"
        if _exists(path):
            return _find_at(path)
        if glob.has_magic(self.path):
            # pathlib's glob wants the fixed part apart from the pattern, which a user's string does not say.
            matches = (Path(match) for match in sorted(glob.glob(str(path), recursive=True), key=natural_key))  # noqa: PTH207
            found = [
                checkpoint
                for match in matches
                for checkpoint in (_find_or_note(match, 0) if is_folder(match) else _find_at_file(match))
            ]
            if found:
                return found
            raise SourceError(f"{self.path}: the pattern matches no checkpoint")
        raise SourceError(f"{self.path}: no such file or folder")


def _find_at(path: Path) -> list[Checkpoint]:
    if not is_folder(path):
        return [_make_from_file(path)]
    try:
        found = _find_in_folder(path)
    except OSError as error:
        raise SourceError(f"{path}: cannot be listed ({(error.strerror or str(error)).lower()})") from error
    if found:
        return found
    for pattern, advice in _FOREIGN.items():
        if next(path.glob(pattern), None) or next(path.glob(f"*/{pattern}"), None):
            raise SourceError(f"{path}: holds {advice}")
    raise SourceError(f"{path}: holds no checkpoint (.safetensors, .pt, .pth, .bin, .ckpt) in itself or its folders")


def _find_at_file(path: Path) -> list[Checkpoint]:
    return [_make_from_file(path)] if is_weight_file(path) or is_shard(path) else []


def _make_from_file(path: Path) -> Checkpoint:
    unit = list_unit_of(path)
    return _make(path.parent.name, path.parent, [unit]) if is_shard(path) else _make(unit.label, path, [unit])


def _find_in_folder(folder: Path, depth: int = 0) -> list[Checkpoint]:
    """The one sequence in a folder: files of its own, folders that are checkpoints, or the only one further down.

    Raises:
        SourceError: If it holds several.
        OSError: If it cannot be listed.
    """
    units = list_units(folder)
    own = _split_sequence(folder, units)
    if len(own) > 1 and not all(read_name(checkpoint.label).alias for checkpoint in own):
        return own
    if own and len(own) == 1 and _names_step(folder.name):
        return own  # a checkpoint, whatever else lies in folders below it (DeepSpeed's partitions)
    below, refused = _find_below(folder, depth) if depth < _MAX_DEPTH else ({}, [])
    if not all(_is_aside(found) for found in (own, *below.values())):
        own = [] if _is_aside(own) else own
        below = {child: found for child, found in below.items() if not _is_aside(found)}
    if not own and below and _is_one_in_parts(folder, below):
        return [_merge_components(folder, below)]
    single = {child: found[0] for child, found in below.items() if len(found) == 1}
    several = {child: found for child, found in below.items() if len(found) > 1}
    found = [_relabel(child, checkpoint) for child, checkpoint in single.items()]
    if not any(_names_step(child.name) for child in single):  # else the sequence is here, whatever lies deeper
        if len(several) > 1:
            names = ", ".join(str(child) for child in list(several)[:_MAX_NAMED])
            raise SourceError(f"{folder}: holds {len(several)} sequences of checkpoints, choose one of them: {names}")
        if refused:
            raise refused[0]
        found += [checkpoint for inner in several.values() for checkpoint in inner]
    # The model that a trainer leaves beside the folders of its checkpoints is its last.
    return found + [replace(c, label="final") if found and not _says_more(c.label) else c for c in own]


def _is_aside(found: Sequence[Checkpoint]) -> bool:
    """Whether they hold nothing but files that are left alone where there are others."""
    return all(c.files and all(file.url.lower().endswith(ASIDE) for file in c.files) for c in found)


def _is_one_in_parts(folder: Path, below: Mapping[Path, Sequence[Checkpoint]]) -> bool:
    """Whether the folders below hold the components of one checkpoint, as those of a diffusion pipeline do."""
    whole = _names_step(folder.name) or (folder / "model_index.json").is_file()
    return whole and all(len(found) == 1 and not _names_step(child.name) for child, found in below.items())


def _find_below(folder: Path, depth: int) -> tuple[dict[Path, list[Checkpoint]], list[SourceError]]:
    """What is in the folders of a folder, and why some of them hold more than one sequence."""
    children = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__")) and is_folder(entry)]
    place = folder.resolve()
    below: dict[Path, list[Checkpoint]] = {}
    refused: list[SourceError] = []
    for child in sorted(children, key=lambda child: natural_key(child.name)):
        if child.is_symlink() and child.resolve() in (place, *place.parents):
            continue
        try:
            found = _find_or_note(child, depth + 1)
        except SourceError as error:
            refused.append(error)
            continue
        if found:
            below[child] = found
    return below, refused


def _find_or_note(folder: Path, depth: int) -> list[Checkpoint]:
    """What is in a folder among others: if it cannot be listed and is named like a checkpoint, that it cannot."""
    try:
        return _find_in_folder(folder, depth)
    except OSError as error:
        problem = str(CheckpointError(f"cannot be listed ({(error.strerror or str(error)).lower()})", folder))
        return [_make(folder.name, folder, [Unit("", (), problem)])] if _names_step(folder.name) else []


def _names_step(name: str) -> bool:
    """Whether a folder of that name is one checkpoint rather than a run."""
    return bool(read_name(name).units.keys() & {"step", "epoch"} or _STEP_FOLDER.fullmatch(name))


def _relabel(child: Path, checkpoint: Checkpoint) -> Checkpoint:
    """Name a checkpoint that lies alone below a folder after whichever of the two says more."""
    return checkpoint if _says_more(checkpoint.label) else replace(checkpoint, label=_as_text(child.name))


def _says_more(label: str) -> bool:
    facts = read_name(label)
    return bool(facts.units or facts.role)


def _split_sequence(folder: Path, units: Mapping[str, Unit]) -> list[Checkpoint]:
    """The weight files of one folder as successive checkpoints, or as the components of a single one."""
    if len(units) == 1:
        only = next(iter(units))
        label = only if _says_more(only) and not _names_step(folder.name) else folder.name
        return [_make(label, folder, list(units.values()))]
    if not units:
        return []
    if groups := _group_components(units):
        makes = [mask_numbers(unit.label).replace("#", "").strip("_-.= ") for unit in groups[0]]
        names = makes if len(set(makes)) == len(makes) else [mask_numbers(unit.label) for unit in groups[0]]
        return [_make(" + ".join(u.label for u in group), group[0].files[0], group, names) for group in groups]
    if _is_sequence(folder, units):
        return [_make(label, next(iter(unit.files), folder / label), [unit]) for label, unit in units.items()]
    return [_make(folder.name, folder, [unit for label, unit in units.items() if not _is_averaged(label, units)])]


def _is_sequence(folder: Path, units: Mapping[str, Unit]) -> bool:
    """Whether files of one folder are successive checkpoints rather than components of one."""
    facts = [read_name(label) for label in units]
    if sum(bool(fact.units.keys() & {"step", "epoch"} or fact.date or fact.alias) for fact in facts) > 1:
        return True
    if _names_step(folder.name):  # `model`, `model_1` and `model_2` of a checkpoint that accelerate saved
        return False
    # `1.pt`, `2.pt`: nothing but a number, or names that differ in nothing else.
    return sum(bool(fact.units) for fact in facts) > 1 or len({mask_numbers(label) for label in units}) == 1


def _group_components(units: Mapping[str, Unit]) -> list[list[Unit]]:
    """`actor_100`, `critic_100`, `actor_200`, `critic_200`: components of each checkpoint, told by equal numbers."""
    makes: dict[str, dict[tuple[str, ...], Unit]] = {}
    for label, unit in units.items():
        if not read_name(label).role and unit.files:
            makes.setdefault(mask_numbers(label), {})[tuple(re.findall(r"\d+", label))] = unit
    makes = {make: group for make, group in makes.items() if not _is_averaged(make, makes)}
    numbers = [set(group) for group in makes.values()]
    if len(makes) < 2 or len(numbers[0]) < 2 or any(other != numbers[0] for other in numbers):  # noqa: PLR2004 - several
        return []
    return [[group[number] for group in makes.values()] for number in next(iter(makes.values()))]


def _is_averaged(label: str, others: Iterable[str]) -> bool:
    """Whether it is the moving average of another one: the two are never mixed."""
    return _EMA.search(label) is not None and _EMA.sub("", label) in others


def _merge_components(folder: Path, below: Mapping[Path, Sequence[Checkpoint]]) -> Checkpoint:
    """One checkpoint from the components in folders below its own, named by those where there are several."""
    names = [child.name for child in below]
    parts = [(child.name, found[0]) for child, found in below.items() if not _is_averaged(child.name, names)]
    several = len(parts) > 1
    return replace(
        parts[0][1],
        label=_as_text(folder.name),
        origin=_as_text(str(folder)),
        files=tuple(file for _, part in parts for file in part.files),
        prefixes=tuple(f"{name}.{p}" if several else p for name, part in parts for p in part.prefixes),
        facts=_read_trainer_state(folder) or parts[0][1].facts,
        problem=next((part.problem for _, part in parts if part.problem), None),
    )


def _make(label: str, origin: Path, units: Sequence[Unit], names: Sequence[str] = ()) -> Checkpoint:
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
        files = [stat_file(path) for unit in units for path in unit.files]
    except CheckpointError as error:
        problem = problem or str(error)
    named = zip(names or [unit.label for unit in units], units, strict=True)
    prefixes = [f"{name}." if len(units) > 1 else "" for name, unit in named for _ in unit.files]
    folder = origin if is_folder(origin) else origin.parent
    return Checkpoint(
        step=None,
        label=_as_text(label or str(origin)),
        origin=_as_text(str(origin)),
        files=tuple(files),
        prefixes=tuple(prefixes[: len(files)]),
        facts=_read_trainer_state(folder),
        problem=None if problem is None else _as_text(problem),
        unread=tuple(_as_text(path.name) for unit in units for path in unit.unread),
    )


def _read_trainer_state(folder: Path) -> dict[str, int]:
    """The step that HF's Trainer notes beside the weights."""
    path = folder / "trainer_state.json"
    try:
        if not path.is_file() or path.stat().st_size > _MAX_STATE_BYTES:
            return {}
        step = json.loads(path.read_text(encoding="utf-8"))["global_step"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return {"global_step": step} if type(step) is int and step >= 0 else {}


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, or a folder on the way that may not be entered
        return False


def _as_text(name: str) -> str:
    """A name that can be written down: file names need not be UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()
