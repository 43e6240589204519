"""Units: the weight files of one folder, shards of one model together, of two formats of the same model the safer."""

import json
import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

from wsanalyze.checkpoints.components import fold_averages
from wsanalyze.checkpoints.foreign_files import add_foreign, list_foreign
from wsanalyze.checkpoints.names import mask_numbers, names_step, natural_key
from wsanalyze.checkpoints.partitions import (
    COMMON,
    is_partition_file,
    list_distributed,
    list_slices,
    list_zero3,
    merge_partitions,
)
from wsanalyze.checkpoints.tree import TreePath, exists, is_folder, list_file, read_start
from wsanalyze.checkpoints.weight_files import ASIDE, Unit, is_bare_name, is_weight_file, stem
from wsanalyze.errors import CheckpointError

_ADAPTER: Final = "adapter_model"
INDEX_SUFFIXES: Final = (".safetensors.index.json", ".bin.index.json")
_SHARD: Final = re.compile(r"^(?P<stem>.*)-(?P<number>\d{5})-of-(?P<total>\d{5})(?P<suffix>\.[A-Za-z]+)$")
_VARIANT: Final = re.compile(r"\.(fp16|bf16|fp32|non_ema)$")
_PLAIN_NAME: Final = re.compile(r"[^/\\:\x00-\x1f\x7f\ud800-\udfff]{1,200}")
_MAX_INDEX_BYTES: Final = 100_000_000
_MAX_INDEX_VALUES: Final = 1_500_000  # a million tensors, and notes; of more, the parsed index takes gigabytes
_MAX_SHARDS: Final = 10_000


def list_units(folder: TreePath) -> dict[str, Unit]:
    """The weight files of a folder by label, in natural order; what trainers leave beside them is left alone.

    The moving average of a model that is there too is among the files that are left out.

    Raises:
        OSError: If the folder cannot be listed.
    """
    return fold_averages(_list_all(folder))


def _list_all(folder: TreePath) -> dict[str, Unit]:
    entries = sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    if distributed := list_distributed(folder, entries):
        return {distributed.label: distributed}
    zero3 = list_zero3(folder, entries)
    units = [_read_index(path) for path in entries if path.name.endswith(INDEX_SUFFIXES) and path.is_file()]
    slices = list_slices(folder, entries)
    taken = {file for unit in (*units, *slices) for file in unit.files}
    candidates = [path for path in entries if path not in taken and is_weight_file(path)]
    candidates = [path for path in candidates if not is_partition_file(path)]
    if [path.name for path in candidates] == [COMMON]:  # what Megatron notes beside weights that are not here
        candidates = []
    weights = [path for path in candidates if not path.name.lower().endswith(ASIDE)]
    used = weights if weights or units or slices or zero3 else candidates
    models = [*units, *_join_shards(used, {unit.label for unit in units}), *slices]
    found = merge_partitions(_choose_formats(models), folder)
    foreign = list_foreign(folder, entries)
    if found:
        left = [path for path in candidates if path not in used and _should_hold_weights(path, found)]
        adapters = _list_adapters(entries) if _ADAPTER in found else []
        return add_foreign(found, foreign, [*left, *adapters, *(zero3.files if zero3 else ())])
    bare = [Unit(path.name, (path,)) for path in entries if is_bare_name(path.name) and not is_folder(path)]
    return {zero3.label: zero3} if zero3 else foreign or {unit.label: unit for unit in bare}


def _should_hold_weights(path: TreePath, units: Iterable[str]) -> bool:
    """Whether a file that is left alone is an export, or is called like one of the others but for a number."""
    name = stem(path.name)
    make = mask_numbers(name)
    return path.suffix.lower() == ".onnx" or any(name == u or (make != name and make == mask_numbers(u)) for u in units)


def _list_adapters(entries: Iterable[TreePath]) -> list[TreePath]:
    """The other adapters of a model, which peft saves in folders of their own beside the first."""
    folders = [path for path in entries if is_folder(path) and not names_step(path.name)]
    files = [folder / f"{_ADAPTER}{suffix}" for folder in folders for suffix in (".safetensors", ".bin")]
    return [file for file in files if exists(file)]


def _join_shards(paths: Iterable[TreePath], indexed: AbstractSet[str]) -> list[Unit]:
    """Files that are models, and files that together make one by the numbers in their names."""
    units = []
    shards: dict[tuple[str, str], list[TreePath]] = {}
    for path in paths:
        found = _SHARD.match(path.name)
        if found is None:
            units.append(Unit(stem(path.name), (path,)))
        elif found["stem"] not in indexed:  # else left over from an earlier save, with another number of shards
            shards.setdefault((found["stem"], found["suffix"]), []).append(path)
    return [*units, *(Unit(label, tuple(files), _find_missing(files)) for (label, _), files in shards.items())]


def list_unit_of(path: TreePath) -> Unit:
    """The unit that a file belongs to that the user named: for a shard, a slice or an index all of that model."""
    if path.name.endswith(".index.json"):
        return _read_index(path)
    try:
        units = _list_all(path.parent).values() if is_shard(path) else ()
    except OSError:
        units = ()
    alone = Unit(stem(path.name), (path,))
    return next((unit for unit in units if path.name in {file.name for file in unit.files}), alone)


def is_shard(path: TreePath) -> bool:
    """Whether a file is one of several that make a model, or lists them."""
    listed = path.name.endswith(".index.json") or _SHARD.match(path.name) is not None
    return listed or is_partition_file(path)


def _choose_formats(units: Iterable[Unit]) -> dict[str, Unit]:
    """The same weights are often saved in two formats, under names that differ, or in a second precision."""
    chosen: dict[str, Unit] = {}
    for unit in sorted(units, key=lambda unit: not all(file.suffix == ".safetensors" for file in unit.files)):
        label = "model" if unit.label == "pytorch_model" else unit.label
        if label in chosen:
            chosen[label] = replace(chosen[label], unread=(*chosen[label].unread, *unit.files))
        else:
            chosen[label] = replace(unit, label=label)
    for label in list(chosen):
        main = _VARIANT.sub("", label)
        if main != label and main in chosen:
            variant = chosen.pop(label)
            unread = (*chosen[main].unread, *variant.files, *variant.unread)
            chosen[main] = replace(chosen[main], unread=unread)
    return {label: chosen[label] for label in sorted(chosen, key=natural_key)}


def _find_missing(files: Sequence[TreePath]) -> str | None:
    """Without an index, the numbers in the names say how many shards there are."""
    found = [match for path in files if (match := _SHARD.match(path.name))]
    totals = sorted({int(match["total"]) for match in found})
    if len(totals) > 1:
        text = f"holds shards of a model in {totals[0]} and in {totals[1]} shards: remove those of the older one"
        return str(CheckpointError(text, files[0].parent))
    numbers = {int(match["number"]) for match in found}
    missing = sorted(set(range(1, totals[0] + 1)) - numbers) if 0 not in numbers else []
    names = [f"{found[0]['stem']}-{number:05d}-of-{totals[0]:05d}{found[0]['suffix']}" for number in missing]
    return _tell_missing(names, totals[0], files[0].parent)


def _tell_missing(names: Sequence[str], total: int, folder: TreePath) -> str | None:
    if not names:
        return None
    return str(CheckpointError(f"shard {names[0]} is missing ({len(names)} of {total} are)", folder))


def _read_index(index: TreePath) -> Unit:
    """The files that a shard index names: plain names inside its folder and nothing else, all of them there."""
    label = next((index.name[: -len(suffix)] for suffix in INDEX_SUFFIXES if index.name.endswith(suffix)), index.name)
    try:
        files = tuple(index.parent / name for name in _read_shard_names(index))
    except CheckpointError as error:
        return Unit(label, (), str(error))
    missing = [path.name for path in files if not path.exists()]
    return Unit(label, files, _tell_missing(missing, len(files), index.parent))


def _read_shard_names(index: TreePath) -> list[str]:
    try:
        if not index.is_file():
            raise CheckpointError("is not a regular file", index)  # a pipe would be waited for
        size = list_file(index).size
        if size > _MAX_INDEX_BYTES:
            raise CheckpointError(f"is larger than {_MAX_INDEX_BYTES} bytes: refused", index)
        data = read_start(index, size)
        if sum(map(data.count, (b",", b"[", b"{"))) > _MAX_INDEX_VALUES:
            raise CheckpointError(f"holds more than {_MAX_INDEX_VALUES} values: refused", index)
        names = set(json.loads(data.decode())["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError("is a damaged shard index", index) from error
    for name in names:
        if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name) or not name.strip("."):
            raise CheckpointError(f"names a shard that is no file of its folder: {name!r:.200}", index)
    if not names:
        raise CheckpointError("names no shard", index)
    if len(names) > _MAX_SHARDS:
        raise CheckpointError(f"names {len(names)} shards, more than {_MAX_SHARDS} are refused", index)
    return sorted(names, key=natural_key)
