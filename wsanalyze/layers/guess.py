"""A model of timm that no configuration names, but the trainer in the file, or whoever named the folder.

Nothing is believed but what fits: the definition must know every matrix of the checkpoint by name and shape.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from wsanalyze.errors import UsageError
from wsanalyze.layers.architecture import read_apart
from wsanalyze.layers.definition import Architecture, knows_all

IN_FILE: Final = "arch in the file"
IN_PATH: Final = "its name in the path"

_REGISTERED: Final = "@register_model\ndef {}("
_COMMON: Final = re.compile(
    r"base|best|checkpoints?|ckpt|data|epoch|exp|fold|global|home|iter|last|models?|outputs?|rank|root|runs?|seed|step"
    r"|test|tmp|train|users?|version|work"
)
_NUM_PARTS: Final = 4
_MAX_WORDS: Final = 12
_LEAST_LETTERS: Final = 5


def guess_architecture(arch: str, origin: str, shapes: Mapping[str, tuple[int, ...]]) -> Architecture | None:
    """The definition of a model whose name a checkpoint says or bears, where it fits in full.

    timm is asked only where it registers a model of that very name, which its source files tell without an import.

    Args:
        arch: What the file says that the model is called, or "".
        origin: Where the checkpoint lies; the last four parts of it are looked through.
        shapes: Shape of each tensor of the checkpoint.

    Returns:
        The definition; None where no name is one of timm's, timm cannot build it, or a matrix is none of the model's.
    """
    names = {arch: IN_FILE} if arch else {}
    for name in _list_names(origin):
        names.setdefault(name, IN_PATH)
    # A longer name says more: resnet50 is no resnet50_gn.
    name = max(_keep_registered(names), key=lambda name: (names[name] == IN_FILE, len(name)), default="")
    if not name:
        return None
    try:
        found = read_apart(name, {}, names[name])
    except UsageError:
        return None
    return found if knows_all(found, shapes) else None


def _list_names(origin: str) -> Iterator[str]:
    """Runs of words, joined by underscores, of the last parts of a path: "20240101-vit_tiny-2" holds "vit_tiny"."""
    for token in re.findall(r"\w+", " ".join(re.split(r"[/\\]", origin)[-_NUM_PARTS:]), re.ASCII):
        words = token.split("_")[:_MAX_WORDS]
        for first in range(len(words)):
            for last in range(first, len(words)):
                name = "_".join(words[first : last + 1])
                if (
                    len(name) >= _LEAST_LETTERS
                    and name[0].isalpha()
                    and any(letter in "_0123456789" for letter in name)
                ):
                    yield name


def _keep_registered(names: Collection[str]) -> set[str]:
    """Those names that timm registers models by, told by its source files; none where it is not installed as files."""
    wanted = {name: _REGISTERED.format(name).encode() for name in names if not _is_common(name)}
    if not wanted:
        return set()
    try:
        spec = find_spec("timm")
        folders = list(spec.submodule_search_locations or ()) if spec else []
        sources = [file.read_bytes() for folder in folders for file in Path(folder, "models").glob("*.py")]
    except (ImportError, OSError, ValueError, AttributeError, RuntimeError):  # whatever a broken installation raises
        return set()
    return {name for name, text in wanted.items() if any(text in source for source in sources)}


def _is_common(name: str) -> bool:
    """Whether a name is made of what paths are usually made of."""
    return all(_COMMON.fullmatch(word) for word in re.findall(r"[a-z]+", name.lower()))
