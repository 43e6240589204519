"""Tensors of a file that torch.save wrote, found without torch and without running its pickle."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, FileRef
from wsanalyze.files.legacy_torch import ITEMSIZES, LegacyTorch
from wsanalyze.files.pickle_machine import Call, Global, PersistentId
from wsanalyze.files.torch_archive import TorchArchive
from wsanalyze.files.zip_records import check_overlaps
from wsanalyze.series import Skip
from wsanalyze.tensors.base import Piece, TensorInfo, TensorSet
from wsanalyze.tensors.dtypes import DTYPES, TORCH_STORAGES, name_unknown
from wsanalyze.tensors.state_dicts import Calls, find_state_dicts, is_old_tensor, is_old_variable

_MAX_NUMEL: Final = 2**50
_MAX_AXES: Final = 32
_MAX_WRAPPERS: Final = 8
_REBUILD: Final = "torch._utils._rebuild_"
_OLDEST: Final = f"{_REBUILD}tensor"
_REBUILD_FROM_TYPE: Final = ("torch._tensor._rebuild_from_type", "torch.tensor._rebuild_from_type")
# For each way to rebuild a plain tensor, where its dtype (None: the storage's) and its metadata stand.
_PLAIN: Final[dict[str, tuple[int | None, int | None]]] = {
    f"{_REBUILD}tensor": (None, None),
    f"{_REBUILD}tensor_v2": (None, 6),
    f"{_REBUILD}tensor_v3": (6, 7),
}


class _NotComparable(Exception):  # noqa: N818 - a signal between two functions, not an error
    """The tensor is of a kind that has no plain elements."""


@dataclass(frozen=True, slots=True)
class _StoredTensor:
    """The arguments of a rebuild call, checked: storage key, dtype, first element, shape and strides in elements.

    `window` is the part of the storage that it is a view of: its first byte, and how many; None for the whole.
    """

    key: str
    window: tuple[int, int] | None
    dtype: str
    first: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch(archive: TorchArchive | LegacyTorch, source: ByteSource, file: FileRef) -> TensorSet:
    """List the tensors of a torch file, model and moving average apart; see `TensorReader`.

    A state dict keeps the order in which the model defines its parameters.
    """
    try:
        found = find_state_dicts(archive.tree)
    except CheckpointError as error:
        raise CheckpointError(error.reason, file.url) from error
    return read_calls(found, archive, source, file)


def read_calls(
    found: Mapping[str, Calls], archive: TorchArchive | LegacyTorch, source: ByteSource, file: FileRef
) -> TensorSet:
    """Tell where the tensors lie that some calls of a torch file's pickle would rebuild.

    Args:
        found: For each set of weights the calls by the names that its tensors get.
        archive: The structure of the file.
        source: Where its bytes come from; no weights are read.
        file: The file.

    Raises:
        CheckpointError: If the file is damaged.
    """
    storages: dict[str, tuple[int, int]] = {}
    infos: dict[str, dict[str, TensorInfo]] = {}
    skips = []
    known: dict[int, TensorInfo | str] = {}  # tied tensors are one call under several names
    for weights, calls in found.items():
        infos[weights] = {}
        for name, call in calls.items():
            read = known.get(id(call))
            if read is None:
                read = known[id(call)] = _read_tensor(call, name, archive, storages, source, file)
            if isinstance(read, str):
                skips.append(Skip(name, read))
            else:
                infos[weights][name] = TensorInfo(name, read.dtype, read.shape, read.pieces)
    check_overlaps([(offset, nbytes, f"data/{key}") for key, (offset, nbytes) in storages.items()], file)
    return TensorSet(infos, ordered=True, skips=tuple(skips))


def _read_tensor(
    call: Call,
    name: str,
    archive: TorchArchive | LegacyTorch,
    storages: dict[str, tuple[int, int]],
    source: ByteSource,
    file: FileRef,
) -> TensorInfo | str:
    """One tensor, or why it is of no kind that can be compared."""
    try:
        stored = _read_call(call, name, file)
    except _NotComparable as reason:
        return str(reason)
    numel, span = math.prod(stored.shape), _span(stored)
    if numel > _MAX_NUMEL:
        raise _damaged(name, file)
    if numel > span:
        return "its elements share memory (an expanded view)"
    return _place(stored, span, name, archive, storages, source, file)


def _read_call(call: Call, name: str, file: FileRef) -> _StoredTensor:
    for _ in range(_MAX_WRAPPERS):
        path = call.function.path if isinstance(call.function, Global) else ""
        if path.startswith(_REBUILD_FROM_TYPE) and len(call.args) >= 3:  # noqa: PLR2004 - function, type, arguments
            function, args = call.args[0], call.args[2]
            if isinstance(function, Global) and isinstance(args, tuple):
                call = Call(function, args)
                continue
        if path.startswith(f"{_REBUILD}parameter") and call.args and isinstance(call.args[0], Call):
            call = call.args[0]
            continue
        if is_old_variable(call):
            call = call.args[0]
            continue
        break
    if is_old_tensor(call):
        args = call.args or call.state
        return _check_args(Call(call.function, args if isinstance(args, tuple) else ()), _OLDEST, name, file)
    if path in _PLAIN:
        return _check_args(call, path, name, file)
    raise _NotComparable(f"{name_unknown('rebuilt by', path or 'a call')}: not a plain tensor")


def _check_args(call: Call, path: str, name: str, file: FileRef) -> _StoredTensor:
    if len(call.args) < 4 or not isinstance(call.args[0], PersistentId):  # noqa: PLR2004 - storage, offset, size, stride
        raise _damaged(name, file)
    reference, first, shape, strides = call.args[0].value, *call.args[1:4]
    if isinstance(shape, Call) and isinstance(shape.args, tuple) and len(shape.args) == 1:  # torch.Size(...)
        shape = shape.args[0]
    if not (_is_counts(shape) and _is_counts(strides) and len(shape) == len(strides) and _is_counts((first,))):
        raise _damaged(name, file)
    # ('storage', storage type, key, location, number of elements), and before torch 1.6 a view's key, start and size
    if not (isinstance(reference, tuple) and len(reference) >= 3 and reference[0] == "storage"):  # noqa: PLR2004
        raise _damaged(name, file)
    storage, key = reference[1], reference[2]
    if not isinstance(storage, Global) or not isinstance(key, str):
        raise _damaged(name, file)
    window = _read_window(reference, storage)
    if window is None and len(reference) >= 6 and reference[5] is not None:  # noqa: PLR2004
        raise _damaged(name, file)
    dtype_index, metadata_index = _PLAIN[path]
    metadata = _argument(call, metadata_index)
    if isinstance(metadata, dict) and (metadata.get("conj") or metadata.get("neg")):
        raise _NotComparable("stored as a conjugate or negative view: save a copy made by resolve_conj()")
    dtype = _dtype(storage, _argument(call, dtype_index))
    return _StoredTensor(key, window, dtype, first, tuple(shape), tuple(strides))


def _damaged(name: str, file: FileRef) -> CheckpointError:
    return CheckpointError(f"tensor {name!r} has damaged arguments", file.url)


def _read_window(reference: tuple[Any, ...], storage: Global) -> tuple[int, int] | None:
    match reference:
        case (_, _, _, _, _, (str(), int(start), int(size))) if _is_counts((start, size)):
            itemsize = ITEMSIZES.get(storage.name, 1)
            return start * itemsize, size * itemsize
    return None


def _argument(call: Call, index: int | None) -> Any:  # noqa: ANN401 - anything that a pickle can hold
    return call.args[index] if index is not None and index < len(call.args) else None


def _dtype(storage: Global, dtype: object) -> str:
    name = dtype.name if isinstance(dtype, Global) else TORCH_STORAGES.get(storage.name, storage.name)
    if name not in DTYPES:
        raise _NotComparable(f"{name_unknown('dtype', name)} is not known")
    return name


def _is_counts(value: Any) -> bool:  # noqa: ANN401 - anything that a pickle can hold
    return (
        isinstance(value, tuple | list)
        and len(value) <= _MAX_AXES
        and all(type(item) is int and 0 <= item <= _MAX_NUMEL for item in value)
    )


def _place(
    stored: _StoredTensor,
    span: int,
    name: str,
    archive: TorchArchive | LegacyTorch,
    storages: dict[str, tuple[int, int]],
    source: ByteSource,
    file: FileRef,
) -> TensorInfo:
    if stored.key not in storages:
        found = archive.locate_storage(source, file, stored.key)
        if found is None:
            raise CheckpointError(f"tensor {name!r} refers to a storage that the file does not hold", file.url)
        storages[stored.key] = found
    offset, nbytes = storages[stored.key]
    start, size = stored.window or (0, nbytes)
    itemsize = DTYPES[stored.dtype].itemsize
    if start + size > nbytes or (stored.first + span) * itemsize > size:
        raise CheckpointError(f"tensor {name!r} is larger than the storage that the file holds for it", file.url)
    contiguous = span == 0 or _is_contiguous(stored.shape, stored.strides)
    piece = Piece(
        file,
        offset + start + stored.first * itemsize,
        span * itemsize,
        None if contiguous else stored.strides,
        archive.byteorder,
    )
    return TensorInfo(name, stored.dtype, stored.shape, (piece,))


def _span(stored: _StoredTensor) -> int:
    """Elements of the storage from the first to the last of the tensor."""
    if 0 in stored.shape:
        return 0
    return 1 + sum((n - 1) * s for n, s in zip(stored.shape, stored.strides, strict=True))


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True
