"""Tensors of the safetensors files that the ranks of a training wrote, each its own slices.

References:
    torch/distributed/checkpoint/hf_storage.py, `HuggingFaceStorageWriter(save_distributed=True)`, and
    torch/distributed/checkpoint/_consolidate_hf_safetensors.py, which puts the slices together.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, Contents, FileRef
from wsanalyze.files.safetensors_header import MAX_TENSORS, HeaderEntry, SafetensorsHeader, read_header
from wsanalyze.series import Skip
from wsanalyze.tensors.base import Piece, TensorInfo, TensorSet
from wsanalyze.tensors.safetensors_file import read_safetensors

_SHARDING: Final = "DCP_SHARDING_INFO"
_OFFSETS: Final = "saved_offsets"
_MOST: Final = {"{": MAX_TENSORS + 1000, "[": MAX_TENSORS + 1000, ",": 10 * MAX_TENSORS}
"""Most marks in the notes, counted before they are parsed: escaped, they were not counted with the header's own."""
_MAX_NUMEL: Final = 2**50


def read_slices(source: ByteSource, files: Sequence[FileRef]) -> tuple[TensorSet, Sequence[Contents]]:
    """List the tensors of one model from the files of all ranks; the header of each says where its slices belong.

    No file says how large a tensor is: it ends where its last slice does, as torch itself has it.

    Args:
        source: Where bytes come from; no weights are read.
        files: All files of the model.

    Returns:
        Its tensors, and the structure of each file.

    Raises:
        CheckpointError: If a file is damaged, or slices of a tensor differ in type or do not cover it once.
    """
    headers = [read_header(source, file) for file in files]
    slices: dict[str, list[tuple[str, Piece]]] = {}
    skips: dict[str, Skip] = {}
    for file, header in zip(files, headers, strict=True):
        corners = _read_corners(header, file)
        found = read_safetensors(header, source, file)
        skips |= {skip.name: skip for skip in found.skips}
        for name, info in found.infos["model"].items():
            corner = _check_corner(corners.get(name), header.entries[name], name, file)
            piece = Piece(file, info.pieces[0].offset, info.pieces[0].nbytes, corner=corner, extent=info.shape)
            slices.setdefault(name, []).append((info.dtype, piece))
    infos = {name: _merge(name, parts) for name, parts in slices.items() if name not in skips}
    return TensorSet({"model": infos}, ordered=False, skips=tuple(skips.values())), headers


def _read_corners(header: SafetensorsHeader, file: FileRef) -> Mapping[str, Any]:
    text = header.metadata.get(_SHARDING)
    if text is None:
        raise CheckpointError(f"is named like slices of torch.distributed, but lacks their {_SHARDING}", file.url)
    if any(text.count(mark) > most for mark, most in _MOST.items()):
        raise CheckpointError(f"has a {_SHARDING} of more slices than {MAX_TENSORS}: refused", file.url)
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"has a damaged {_SHARDING}", file.url) from error
    if not isinstance(parsed, dict):
        raise CheckpointError(f"has a damaged {_SHARDING}", file.url)
    return parsed


def _check_corner(noted: object, entry: HeaderEntry, name: str, file: FileRef) -> tuple[int, ...]:
    corner = noted.get(_OFFSETS) if isinstance(noted, dict) else None
    known = isinstance(corner, list) and len(corner) == len(entry.shape)
    if not (known and all(type(item) is int and 0 <= item <= _MAX_NUMEL for item in corner or ())):
        raise CheckpointError(f"does not say where its slice of tensor {name!r} belongs ({_SHARDING})", file.url)
    return tuple(corner or ())


def _merge(name: str, parts: Sequence[tuple[str, Piece]]) -> TensorInfo:
    """One tensor of its slices; that they cover it is checked where all tensors are."""
    dtype, first = parts[0]
    if other := next((other for other, _ in parts if other != dtype), None):
        raise CheckpointError(f"holds slices of tensor {name!r} as {dtype} and as {other}", first.file.url)
    if len({len(piece.extent) for _, piece in parts}) > 1:
        raise CheckpointError(f"holds slices of tensor {name!r} of different numbers of axes", first.file.url)
    ends = [[c + n for c, n in zip(piece.corner, piece.extent, strict=True)] for _, piece in parts]
    shape = tuple(max(axis) for axis in zip(*ends, strict=True))
    if math.prod(shape) > _MAX_NUMEL:
        raise CheckpointError(f"places a slice of tensor {name!r} too far out: refused", first.file.url)
    if len(parts) > 1:
        return TensorInfo(name, dtype, shape, tuple(piece for _, piece in parts))
    if any(first.corner):
        raise CheckpointError(f"holds one slice of tensor {name!r}, not its first: a file is missing", first.file.url)
    return TensorInfo(name, dtype, shape, (Piece(first.file, first.offset, first.nbytes),))
