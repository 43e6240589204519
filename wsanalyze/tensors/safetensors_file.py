"""Tensors of a safetensors file."""

from wsanalyze.files.base import ByteSource, FileRef
from wsanalyze.files.safetensors_header import SafetensorsHeader
from wsanalyze.series import Skip
from wsanalyze.tensors.base import Piece, TensorInfo, TensorSet
from wsanalyze.tensors.dtypes import SAFETENSORS_NAMES, name_unknown


def read_safetensors(header: SafetensorsHeader, _source: ByteSource, file: FileRef) -> TensorSet:
    """List the tensors of a safetensors file; see `TensorReader`.

    The format sorts its tensors by size and name, so their order says nothing of the model.
    """
    infos: dict[str, TensorInfo] = {}
    skips = []
    for name, entry in header.entries.items():
        dtype = SAFETENSORS_NAMES.get(entry.dtype)
        if dtype is None:
            skips.append(Skip(name, f"{name_unknown('dtype', entry.dtype)} is not known"))
            continue
        infos[name] = TensorInfo(name, dtype, entry.shape, (Piece(file, entry.offset, entry.nbytes),))
    return TensorSet({"model": infos}, ordered=False, skips=tuple(skips))
