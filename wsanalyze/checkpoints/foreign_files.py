"""Files of formats that are not read, among those of a folder: named, and never passed over where they are all."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from wsanalyze.checkpoints.base import FOREIGN
from wsanalyze.checkpoints.names import mask_numbers, natural_key
from wsanalyze.checkpoints.tree import TreePath
from wsanalyze.checkpoints.weight_files import Unit
from wsanalyze.errors import CheckpointError
from wsanalyze.files.foreign import explain_folder, explain_name

_ENDING: Final = re.compile(
    r"\.(weights\.h5|h5|hdf5|keras|msgpack|gguf|index|data-\d{5}-of-\d{5}|nemo|pdparams|mlmodel|mlpackage|tflite|pb)$",
    re.IGNORECASE,
)
_LIBRARY: Final = re.compile(r"^(flax|tf|rust)_(?=model)|(?<=diffusion)_flax(?=_model)", re.IGNORECASE)
_SAME_MODEL: Final = {"diffusion_model": "diffusion_pytorch_model"}
_ANY_PURPOSE: Final = (".h5", ".hdf5", ".index")
"""Endings that data sets and indices of other kinds have too: no weights where nothing else says so."""
_MODEL: Final = re.compile(r"model|weight|variable|ckpt|checkpoint", re.IGNORECASE)


def list_foreign(folder: TreePath, entries: Sequence[TreePath]) -> dict[str, Unit]:
    """Checkpoints of a folder in formats that are not read, by label, each with what to do.

    Args:
        folder: The folder.
        entries: What it holds, in order.
    """
    if advice := explain_folder({path.name for path in entries}):
        return {folder.name: Unit(folder.name, (), str(CheckpointError(advice, folder)), layout=FOREIGN)}
    found: dict[str, Unit] = {}
    for path in entries:
        if path.name.startswith(".") or (advice := explain_name(path.name)) is None:
            continue
        label = _LIBRARY.sub("", _ENDING.sub("", path.name))
        label = _SAME_MODEL.get(label, label)
        unit = found.setdefault(label, Unit(label, (), str(CheckpointError(advice, path)), layout=FOREIGN))
        found[label] = replace(unit, files=(*unit.files, path))
    return found


def is_of_other_kind(name: str) -> bool:
    """Whether a file of a format that is not read may hold anything: results, a data set, an index to search in."""
    return name.lower().endswith(_ANY_PURPOSE) and _MODEL.search(name) is None


def add_foreign(units: Mapping[str, Unit], foreign: Mapping[str, Unit], unread: Sequence[TreePath]) -> dict[str, Unit]:
    """Note beside the units that are read those that are not.

    One that is called like a unit, or by a name of its own, holds its weights once more. One that differs from the
    others by nothing but a number is a checkpoint of their sequence that cannot be read.

    Args:
        units: What is read, by label.
        foreign: What is not, likewise.
        unread: Other files that hold the weights of the first unit once more.
    """
    found = dict(units)
    makes = {mask_numbers(label) for label in units if mask_numbers(label) != label}
    first = next(iter(units))
    found[first] = replace(found[first], unread=(*found[first].unread, *unread))
    for label, unit in foreign.items():
        if label not in units and mask_numbers(label) in makes:
            found[label] = unit
            continue
        named = [path for path in unit.files if label in units or not is_of_other_kind(path.name)]
        target = label if label in units else first
        found[target] = replace(found[target], unread=(*found[target].unread, *named))
    return {label: found[label] for label in sorted(found, key=natural_key)}
