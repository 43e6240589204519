"""The structure of a checkpoint's tensors: names, dtypes, shapes and which of them share bytes, but not where.

The checkpoints of a sequence mostly have one structure, which is kept once in memory and once on disk.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

from wsanalyze.files.base import FileRef
from wsanalyze.series import Skip
from wsanalyze.tensors.base import Piece, TensorInfo, TensorSet
from wsanalyze.tensors.dtypes import DTYPES

_NOWHERE: Final = FileRef("", 0, "")

Structure = tuple[Any, ...]
"""Nested tuples of texts and numbers; equal for equal structures."""


def find_structure(tensors: TensorSet) -> Structure | None:
    """The structure of a tensor set: runs of bytes are numbered. None where a tensor is computed from others."""
    numbers: dict[tuple[str, int, int], int] = {}
    sets = []
    for weights, infos in tensors.infos.items():
        entries = []
        for name, info in infos.items():
            if info.derivation is not None:
                return None
            pieces = tuple(
                (
                    numbers.setdefault((p.file.url, p.file.start, p.offset), len(numbers)),
                    *(p.nbytes, p.strides, p.byteorder, p.corner, p.extent),
                )
                for p in info.pieces
            )
            entries.append((name, info.dtype, info.shape, pieces))
        sets.append((weights, tuple(entries)))
    return tensors.ordered, tuple((skip.name, skip.reason) for skip in tensors.skips), tuple(sets)


def restore_tensors(structure: Structure) -> TensorSet:
    """The tensor set of a structure, its pieces in no file.

    Raises:
        ValueError: If it is no structure.
    """
    ordered, skips, sets = structure
    infos: dict[str, dict[str, TensorInfo]] = {}
    for weights, entries in sets:
        infos[weights] = {
            name: TensorInfo(name, dtype, shape, tuple(Piece(_NOWHERE, *piece) for piece in pieces))
            for name, dtype, shape, pieces in entries
        }
        if any(info.dtype not in DTYPES for info in infos[weights].values()):
            raise ValueError("a dtype that is not known")
    return TensorSet(infos, ordered, tuple(Skip(name, reason) for name, reason in skips))


def write_structure(structure: Structure) -> str:
    """A structure as ASCII text."""
    return json.dumps(structure)


def parse_structure(text: str) -> Structure:
    """The structure that a text was written from.

    Raises:
        ValueError: If the text was written from nothing like it.
        RecursionError: If it nests too deep.
    """
    found = _freeze(json.loads(text))
    if not isinstance(found, tuple):
        raise ValueError("not a structure")  # noqa: TRY004 - of the text
    return found


def digest_text(text: str) -> str:
    """What a text is known by."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _freeze(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    return tuple(map(_freeze, value)) if isinstance(value, Sequence) and not isinstance(value, str) else value
