"""Tensors of an ONNX model: the initialisers of its graph."""

from typing import Final

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, FileRef
from wsanalyze.files.onnx_model import Initializer, OnnxModel
from wsanalyze.series import Skip
from wsanalyze.tensors.base import Piece, TensorInfo, TensorSet
from wsanalyze.tensors.dtypes import DTYPES, ONNX_TYPES

_PLACES: Final = ("raw_data", "external_data")
# Lists of numbers of these types are packed, which makes them bytes in a row.
_LISTS: Final = {
    "float32": "float_data",
    "complex64": "float_data",
    "float64": "double_data",
    "complex128": "double_data",
}


def read_onnx(model: OnnxModel, _source: ByteSource, file: FileRef) -> TensorSet:
    """List the tensors of an ONNX model; see `TensorReader`.

    The order of the initialisers is that in which the graph was exported. What an exporter has folded or transposed
    goes by a name without meaning ("onnx::MatMul_123"): it is kept, since there is no other.
    """
    infos: dict[str, TensorInfo] = {}
    skips = [Skip(name, "a sparse tensor") for name in model.sparse]
    for name, tensor in model.initializers.items():
        dtype = ONNX_TYPES.get(tensor.data_type)
        reason = _refuse(tensor, dtype)
        if dtype is None or reason is not None:
            skips.append(Skip(name, reason or f"type {tensor.data_type} of ONNX is not known"))
            continue
        _check_size(tensor, dtype, file)
        infos[name] = TensorInfo(name, dtype, tensor.shape, (Piece(tensor.file, tensor.offset, tensor.nbytes),))
    return TensorSet({"model": infos}, ordered=True, skips=tuple(skips))


def _refuse(tensor: Initializer, dtype: str | None) -> str | None:
    """Why the elements of a tensor are no bytes in a row, or None."""
    if dtype is None:
        return None
    if tensor.storage in ("", *_PLACES) or tensor.storage == _LISTS.get(dtype):
        return None
    place = tensor.storage.removesuffix("*")
    return f"{dtype} whose elements stand one by one ({place}): save it anew with raw_data"


def _check_size(tensor: Initializer, dtype: str, file: FileRef) -> None:
    numel = 1
    for size in tensor.shape:
        numel *= size
    itemsize = DTYPES[dtype].itemsize
    if itemsize and numel * itemsize != tensor.nbytes:
        fault = "does not fill the bytes that it is given" if tensor.storage else "has no elements"
        raise CheckpointError(f"initialiser {tensor.name!r} {fault}", file.url)
