"""Tensors of a NumPy archive: those of JAX, of Flax, and of loops that were written by hand."""

import re
import sys
from typing import Final

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, FileRef
from wsanalyze.files.numpy_archive import NumpyArchive, NumpyArray
from wsanalyze.series import Skip
from wsanalyze.tensors.base import Piece, TensorInfo, TensorSet
from wsanalyze.tensors.dtypes import DTYPES

_IS_OPTIMIZER: Final = re.compile(r"^(opt|optim\w*|opt_state\w*|optimizer\w*)\.", re.IGNORECASE)
_IS_EMA: Final = re.compile(r"^([^.]*_)?ema(_[^.]*)?\.", re.IGNORECASE)


def read_numpy(archive: NumpyArchive, _source: ByteSource, file: FileRef) -> TensorSet:
    """List the tensors of a NumPy archive; see `TensorReader`.

    Its order is that in which the arrays were handed over: that of the model. The parts of a name are put apart by
    dots, whether it was made with dots or with slashes.
    """
    infos: dict[str, dict[str, TensorInfo]] = {"model": {}, "ema": {}}
    skips: list[Skip] = []
    seen: set[str] = set()
    for key, array in archive.arrays.items():
        name = key.replace("/", ".")
        if name in seen:
            raise CheckpointError(f"holds two arrays that are both called {name!r}", file.url)
        seen.add(name)
        reason = "state of the optimizer, not a weight" if _IS_OPTIMIZER.match(name) else _refuse(array)
        if reason is not None:
            skips.append(Skip(name, reason))
            continue
        infos["ema" if _IS_EMA.match(name) else "model"][name] = _place(name, array, file)
    return TensorSet({weights: found for weights, found in infos.items() if found}, ordered=True, skips=tuple(skips))


def _refuse(array: NumpyArray) -> str | None:
    """Why an array is no tensor, or None."""
    if array.dtype.hasobject:
        return "holds Python objects, which are not read"
    if array.dtype.names is not None:
        return "a structured array, not a tensor"
    if array.dtype.kind in "SU":
        return "holds text, not numbers"
    if array.dtype.kind == "V":
        return f"dtype {array.dtype.str} is not known; NumPy forgets bfloat16 and float8: save float32 or safetensors"
    return None if array.dtype.name in DTYPES else f"dtype {array.dtype.name} is not known"


def _place(name: str, array: NumpyArray, file: FileRef) -> TensorInfo:
    native_big = sys.byteorder == "big" and array.dtype.byteorder == "="
    byteorder = "big" if native_big or array.dtype.byteorder == ">" else "little"
    transposed = array.fortran and array.nbytes and sum(size > 1 for size in array.shape) > 1
    strides = _fortran_strides(array.shape) if transposed else None
    piece = Piece(file, array.offset, array.nbytes, strides, byteorder)
    return TensorInfo(name, array.dtype.name, array.shape, (piece,))


def _fortran_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in shape:
        strides.append(step)
        step *= size
    return tuple(strides)
