"""Checkpoints on disk: a file, a folder that is one checkpoint, a folder full of them, or a glob of any of those."""

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Final

from wsanalyze.checkpoints.base import FOREIGN, Checkpoint
from wsanalyze.checkpoints.components import (
    SEVERAL,
    as_text,
    group_components,
    make_checkpoint,
    merge_components,
)
from wsanalyze.checkpoints.foreign_files import is_of_other_kind
from wsanalyze.checkpoints.names import mask_numbers, names_step, natural_key, read_name
from wsanalyze.checkpoints.partitions import is_rank_folder
from wsanalyze.checkpoints.tree import TreePath, exists, is_folder, leads_back
from wsanalyze.checkpoints.units import is_shard, list_unit_of, list_units
from wsanalyze.checkpoints.weight_files import (
    ASIDE,
    VERSION,
    Unit,
    is_bare_name,
    is_sidecar_folder,
    is_weight_file,
)
from wsanalyze.errors import CheckpointError, NoCheckpointError, SourceError
from wsanalyze.files.foreign import explain_name

_OTHER_THINGS: Final = (".npz", ".zip")
_MAX_DEPTH: Final = 3
_MAX_NAMED: Final = 8

_Below = Mapping[TreePath, list[Checkpoint]]


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
        if exists(path):
            return find_checkpoints(path)
        if glob.has_magic(self.path):
            # pathlib's glob wants the fixed part apart from the pattern, which a user's string does not say.
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True), key=natural_key)]  # noqa: PTH207
            # The same in a format that is not read does not hinder what is.
            found = find_matches(matches) or [_make_from_file(m) for m in matches if explain_name(m.name)]
            if found:
                return found
            raise SourceError(f"{self.path}: the pattern matches no checkpoint")
        raise SourceError(f"{self.path}: no such file or folder")


def find_matches(matches: Iterable[TreePath]) -> list[Checkpoint]:
    """The checkpoints in those files and folders that fit a pattern; others may fit it too."""
    return [
        checkpoint
        for match in matches
        for checkpoint in (_find_or_note(match, 0) if is_folder(match) else _find_at_file(match))
    ]


def find_checkpoints(place: TreePath) -> list[Checkpoint]:
    """The one sequence that a folder holds, on disk or not; of a file, the checkpoint that it belongs to.

    Raises:
        SourceError: If there is no checkpoint in it, more than one sequence, or it cannot be listed.
    """
    if not is_folder(place):
        return [_make_from_file(place)]
    try:
        found = _find_in_folder(place)
    except OSError as error:
        raise SourceError(f"{place}: cannot be listed ({(error.strerror or str(error)).lower()})") from error
    if found and not _is_foreign(found):
        return found
    if found:
        raise SourceError(next(checkpoint.problem for checkpoint in found if checkpoint.problem))
    raise NoCheckpointError(
        f"{place}: holds no checkpoint (.safetensors, .pt, .pth, .bin, .ckpt) in itself or its folders"
    )


def _find_at_file(path: TreePath) -> list[Checkpoint]:
    return [_make_from_file(path)] if is_weight_file(path) or is_shard(path) else []


def _make_from_file(path: TreePath) -> Checkpoint:
    unit = list_unit_of(path)
    return (
        make_checkpoint(path.parent.name, path.parent, [unit])
        if is_shard(path)
        else make_checkpoint(unit.label, path, [unit])
    )


def _find_in_folder(folder: TreePath, depth: int = 0) -> list[Checkpoint]:
    """The one sequence in a folder: files of its own, folders that are checkpoints, or the only one further down.

    Raises:
        SourceError: If it holds several.
        OSError: If it cannot be listed.
    """
    own = _split_sequence(folder, list_units(folder))
    if not _is_foreign(own) and _is_whole(folder, own):
        return own
    below, refused = _find_below(folder, depth) if depth < _MAX_DEPTH else ({}, [])
    own, below = _leave_aside(own, below)
    if _holds_adapter(own):  # others beside it, in folders that are named after them, are no steps of its training
        below = {c: found for c, found in below.items() if names_step(c.name) or not _holds_adapter(found)}
    if not own and below and _is_one_in_parts(folder, below):
        return [merge_components(folder, below)]
    single = {child: found[0] for child, found in below.items() if len(found) == 1}
    several = {child: found for child, found in below.items() if len(found) > 1}
    found = [_relabel(child, checkpoint) for child, checkpoint in single.items()]
    if not any(names_step(child.name) for child in single):  # else the sequence is here, whatever lies deeper
        if len(several) > 1:
            names = ", ".join(str(child) for child in list(several)[:_MAX_NAMED])
            raise SourceError(f"{folder}: holds {len(several)} sequences of checkpoints, choose one of them: {names}")
        if refused:
            raise refused[0]
        found += [checkpoint for inner in several.values() for checkpoint in inner]
    # The model that a trainer leaves beside the folders of its checkpoints is its last.
    return found + [replace(c, label="final") if found and not _says_more(c.label) else c for c in own]


def _holds_adapter(found: Sequence[Checkpoint]) -> bool:
    """Whether checkpoints are adapters that peft saved, and nothing else."""
    files = [PurePath(file.url).name for checkpoint in found for file in checkpoint.files]
    return bool(files) and all(name.startswith("adapter_model.") for name in files)


def _is_whole(folder: TreePath, own: Sequence[Checkpoint]) -> bool:
    """Whether what lies in a folder is all, whatever else there is in folders below it (DeepSpeed's partitions)."""
    if len(own) == 1:
        return own[0].layout != "files" or names_step(folder.name)
    return len(own) > 1 and not all(read_name(checkpoint.label).alias for checkpoint in own)


def _is_foreign(found: Sequence[Checkpoint]) -> bool:
    """Whether they are of formats that are not read, all of them."""
    return all(checkpoint.layout == FOREIGN for checkpoint in found)


def _is_aside(found: Sequence[Checkpoint]) -> bool:
    """Whether they hold nothing but files that are left alone where there are others."""
    names = [[PurePath(file.url).name for file in c.files] for c in found]
    return all(part and all(n.lower().endswith(ASIDE) or is_bare_name(n) for n in part) for part in names)


def _leave_aside(own: list[Checkpoint], below: _Below) -> tuple[list[Checkpoint], _Below]:
    """Without what is left alone, or not read, where there is something else; a folder named like a step stays.

    Returns:
        What remains in the folder itself, and in each of those below it.
    """
    for is_left in (lambda found: _is_aside(found) or _is_foreign(found), _is_foreign):
        if all(is_left(found) for found in (own, *below.values())):
            continue
        left = [own] if is_left(own) else []
        kept = {child: found for child, found in below.items() if not is_left(found) or _is_missing(child, found)}
        left += [found for child, found in below.items() if child not in kept]
        unread = [PurePath(file.url).name for found in left for c in found for file in c.files]
        unread = [
            n for n in unread if not (n.lower().endswith(_OTHER_THINGS) or is_bare_name(n) or is_of_other_kind(n))
        ]
        own, below = [] if is_left(own) else own, kept
        return [replace(own[0], unread=(*own[0].unread, *unread)), *own[1:]] if own else own, below
    return own, {} if own else below


def _is_other_thing(name: str) -> bool:
    """Whether a file that is left alone need not hold the weights once more."""
    return name.lower().endswith(_OTHER_THINGS) or is_bare_name(name) or is_of_other_kind(name)


def _is_missing(child: TreePath, found: Sequence[Checkpoint]) -> bool:
    """Whether a folder is one of a sequence by its name, but of a format that is not read: that is told."""
    names = [PurePath(file.url).name for checkpoint in found for file in checkpoint.files]
    other = _is_foreign(found) and not (names and all(map(is_of_other_kind, names)))
    return names_step(child.name) and (other or (bool(names) and all(map(is_bare_name, names))))


def _is_one_in_parts(folder: TreePath, below: _Below) -> bool:
    """Whether the folders below hold one checkpoint: components, as those of a diffusion pipeline, or slices."""
    if sum(is_rank_folder(child.name) for child in below) > 1:
        return all(is_rank_folder(child.name) for child in below)
    whole = names_step(folder.name) or (folder / "model_index.json").is_file()
    return whole and all(len(found) == 1 and not names_step(child.name) for child, found in below.items())


def _find_below(folder: TreePath, depth: int) -> tuple[_Below, list[SourceError]]:
    """What is in the folders of a folder, and why some of them hold more than one sequence."""
    children = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "__")) and is_folder(entry)]
    children = [child for child in children if not is_sidecar_folder(child.name)]
    below: dict[TreePath, list[Checkpoint]] = {}
    refused: list[SourceError] = []
    for child in sorted(children, key=lambda child: natural_key(child.name)):
        if leads_back(child):
            continue
        try:
            found = _find_or_note(child, depth + 1)
        except SourceError as error:
            refused.append(error)
            continue
        if found:
            below[child] = found
    return below, refused


def _find_or_note(folder: TreePath, depth: int) -> list[Checkpoint]:
    """What is in a folder among others: if it cannot be listed and is named like a checkpoint, that it cannot."""
    try:
        return _find_in_folder(folder, depth)
    except OSError as error:
        problem = str(CheckpointError(f"cannot be listed ({(error.strerror or str(error)).lower()})", folder))
        return [make_checkpoint(folder.name, folder, [Unit("", (), problem)])] if names_step(folder.name) else []


def _relabel(child: TreePath, checkpoint: Checkpoint) -> Checkpoint:
    """Name a checkpoint that lies alone below a folder after whichever of the two says more."""
    return checkpoint if _says_more(checkpoint.label) else replace(checkpoint, label=as_text(child.name))


def _says_more(label: str) -> bool:
    facts = read_name(label)
    return bool(facts.units or facts.role)


def _split_sequence(folder: TreePath, units: Mapping[str, Unit]) -> list[Checkpoint]:
    """The weight files of one folder as successive checkpoints, or as the components of a single one."""
    if len(units) == 1:
        only = next(iter(units))
        label = only if _says_more(only) and not names_step(folder.name) else folder.name
        return [make_checkpoint(label, folder, list(units.values()))]
    if not units:
        return []
    if groups := group_components(units):
        makes = [mask_numbers(unit.label).replace("#", "").strip("_-.= ") for unit in groups[0]]
        names = makes if len(set(makes)) == len(makes) else [mask_numbers(unit.label) for unit in groups[0]]
        return [
            make_checkpoint(SEVERAL.join(u.label for u in group), group[0].files[0], group, names) for group in groups
        ]
    if _is_sequence(folder, units):
        return [make_checkpoint(label, next(iter(unit.files), folder / label), [unit]) for label, unit in units.items()]
    return [make_checkpoint(folder.name, folder, _prefer_safetensors(list(units.values())))]


def _prefer_safetensors(units: list[Unit]) -> list[Unit]:
    """Of files that would be components of one checkpoint, those of the safer format where there are two formats.

    No trainer mixes them: what else lies there is something else, or the same once more.
    """
    safe = [unit for unit in units if unit.files and all(file.suffix == ".safetensors" for file in unit.files)]
    kept = [unit for unit in units if unit in safe or unit.problem is not None]
    if not safe or len(kept) == len(units):
        return units
    others = [file for unit in units if unit not in kept for file in (*unit.files, *unit.unread)]
    return [replace(kept[0], unread=(*kept[0].unread, *others)), *kept[1:]]


def _is_sequence(folder: TreePath, units: Mapping[str, Unit]) -> bool:
    """Whether files of one folder are successive checkpoints rather than components of one."""
    facts = [read_name(label) for label in units]
    if sum(bool(fact.units.keys() & {"step", "epoch"} or fact.date or fact.alias) for fact in facts) > 1:
        return True
    if len({VERSION.sub("", label) for label in units}) == 1:  # Lightning's, where a name was taken
        return True
    if names_step(folder.name):  # `model`, `model_1` and `model_2` of a checkpoint that accelerate saved
        return False
    # `1.pt`, `2.pt`: nothing but a number, or names that differ in nothing else; `last` and `best` belong to no model.
    makes = {mask_numbers(label) for label, fact in zip(units, facts, strict=True) if not fact.alias}
    if len(makes) == 1 and ("#" in next(iter(makes)) or not any(fact.alias for fact in facts)):
        return True
    return sum(bool(fact.units) for fact in facts) > 1
