"""The `.metadata` of a torch.distributed checkpoint: which tensors there are, in which chunks, and where each lies.

It is a pickle of torch's own classes; it is looked into as inert data, and any of its numbers may be a lie.

References:
    torch/distributed/checkpoint/metadata.py and filesystem.py; the fields differ between versions.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, FileRef, read_bytes
from wsanalyze.files.pickle_machine import MAX_PICKLE_BYTES, Call, Global, PickleError, parse_pickle

_MAX_NUMEL: Final = 2**50
_MAX_AXES: Final = 64
_MAX_FILE_BYTES: Final = 2**60
_MAX_KEYS: Final = 64  # that lead to an entry
MAX_CHUNKS: Final = 500_000


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A box of a tensor and where it is stored.

    Attributes:
        corner: Its first index along every axis.
        extent: Its size along every axis.
        file_name: The file that holds it.
        offset: Where in that file its container begins, in bytes.
        nbytes: Size of the container.
        transformed: Whether its bytes were compressed or otherwise transformed.
    """

    corner: tuple[int, ...]
    extent: tuple[int, ...]
    file_name: str
    offset: int
    nbytes: int
    transformed: bool


@dataclass(frozen=True, slots=True)
class ShardedTensor:
    """A tensor by its chunks.

    Attributes:
        dtype: Name of its dtype as torch writes it, or "" where it cannot be told.
        shape: Its shape.
        chunks: Its chunks, each corner once, none empty; together as large as the tensor.
    """

    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[StoredChunk, ...]


@dataclass(frozen=True, slots=True, eq=False)
class DistributedMetadata:
    """What a `.metadata` says.

    Attributes:
        paths: For each entry by its full name, the keys that lead to it in the state dict that was saved.
        tensors: What it says of those entries that are tensors, not checked yet.
        stored: What it says of where things lie, by name and corner, not checked yet.
        planned: Whether the paths are those that the planner noted, in the order of the state dict.
    """

    paths: Mapping[str, tuple[str, ...]]
    tensors: Mapping[str, Mapping[str, Any]]
    stored: Mapping[tuple[str, tuple[int, ...] | None], Mapping[str, Any]]
    planned: bool

    def mappings(self) -> Iterator[Mapping[Any, Any]]:
        """See `Contents.mappings`: numbers are entries of their own, which are not read."""
        return iter(())

    def tokens(self) -> Iterable[bytes]:
        """See `Contents.tokens`. Its bytes would not do: each save writes an identity of its own into them."""
        for path in self.paths.values():
            yield f"{path}\n".encode("utf-8", "backslashreplace")

    def unsummed(self, _source: ByteSource, _file: FileRef) -> Sequence[tuple[int, int]]:
        """See `Contents.unsummed`: it holds no weights."""
        return ()


def read_distributed_metadata(source: ByteSource, file: FileRef) -> DistributedMetadata:
    """Read a `.metadata` file.

    Raises:
        CheckpointError: If it is damaged or too large.
    """
    if file.size > MAX_PICKLE_BYTES:
        raise CheckpointError(f"has {file.size} bytes, too large to be read safely", file.url)
    try:
        tree, _ = parse_pickle(read_bytes(source, file, 0, file.size))
        return _read_tree(tree)
    except PickleError as error:
        raise CheckpointError(f"is a damaged pickle: {error}", file.url) from error
    except _Damage as error:
        raise CheckpointError(f"describes no torch.distributed checkpoint: {error}", file.url) from error


def read_sharded_tensor(metadata: DistributedMetadata, name: str, file: FileRef) -> ShardedTensor:
    """Tell the chunks of one tensor; the others need not be sound.

    Raises:
        CheckpointError: If the file says something impossible of it.
    """
    try:
        return _read_tensor(name, metadata.tensors[name], metadata.stored)
    except _Damage as error:
        raise CheckpointError(f"is damaged: {error}", file.url) from error


class _Damage(Exception):  # noqa: N818 - a signal within this module, not an error
    """Something is not what torch writes."""


def _read_tree(tree: Any) -> DistributedMetadata:  # noqa: ANN401 - anything that a pickle can hold
    top = _fields(tree)
    entries = top.get("state_dict_metadata")
    if not isinstance(entries, dict):
        raise _Damage("it lists no tensors")
    noted = top.get("planner_data")
    noted = noted if isinstance(noted, dict) else {}
    paths = {}
    for name in [*(name for name in noted if name in entries), *(name for name in entries if name not in noted)]:
        if not isinstance(name, str):
            raise _Damage("an entry is named by something else than text")
        paths[name] = _read_path(name, noted.get(name))
    tensors = {name: _fields(entry) for name, entry in entries.items() if _class(entry) == "TensorStorageMetadata"}
    # A list of chunks may be one and the same for many tensors.
    if sum(len(listed) for entry in tensors.values() if isinstance(listed := entry.get("chunks"), list)) > MAX_CHUNKS:
        raise _Damage(f"its tensors have more than {MAX_CHUNKS} chunks, which are refused")
    return DistributedMetadata(paths, tensors, _read_storage(top.get("storage_data")), planned=bool(noted))


def _read_storage(data: Any) -> dict[tuple[str, tuple[int, ...] | None], Mapping[str, Any]]:  # noqa: ANN401
    """Where things are stored, by name and corner."""
    if not isinstance(data, dict):
        raise _Damage("it does not say where the tensors are stored")
    stored = {}
    for key, info in data.items():
        index = _fields(key)
        name, corner = index.get("fqn"), index.get("offset")
        if isinstance(name, str):
            stored[name, None if corner is None else _counts(corner, name)] = _fields(info)
    return stored


def _read_tensor(
    name: str,
    entry: Mapping[str, Any],
    stored: Mapping[tuple[str, tuple[int, ...] | None], Mapping[str, Any]],
) -> ShardedTensor:
    shape = _counts(entry.get("size"), name)
    listed = entry.get("chunks")
    if math.prod(shape) > _MAX_NUMEL or not isinstance(listed, list):
        raise _Damage(f"tensor {name!r} has no size or no chunks that are possible")
    chunks: dict[tuple[int, ...], StoredChunk] = {}
    for item in listed:
        chunk = _fields(item)
        corner, extent = _counts(chunk.get("offsets"), name), _counts(chunk.get("sizes"), name)
        inside = len(corner) == len(extent) == len(shape) and all(map(_lies_in, corner, extent, shape))
        if not inside:
            raise _Damage(f"a chunk of tensor {name!r} lies outside it")
        if not math.prod(extent):
            continue
        # Ranks that hold the same part may each have listed it; it is stored once.
        if corner in chunks and chunks[corner].extent != extent:
            raise _Damage(f"two chunks of tensor {name!r} overlap")
        info = stored.get((name, corner)) or (stored.get((name, None)) if not any(corner) else None)
        if info is None:
            raise _Damage(f"it does not say where a chunk of tensor {name!r} is stored")
        chunks[corner] = _read_chunk(name, corner, extent, info)
    if sum(math.prod(chunk.extent) for chunk in chunks.values()) != math.prod(shape):
        raise _Damage(f"the chunks of tensor {name!r} do not cover it once")
    return ShardedTensor(_read_dtype(entry.get("properties")), shape, tuple(chunks.values()))


def _lies_in(first: int, size: int, whole: int) -> bool:
    return first + size <= whole


def _read_chunk(name: str, corner: tuple[int, ...], extent: tuple[int, ...], info: Mapping[str, Any]) -> StoredChunk:
    file_name, offset, nbytes = (info.get(key) for key in ("relative_path", "offset", "length"))
    if not isinstance(file_name, str) or not _is_count(offset) or not _is_count(nbytes):
        raise _Damage(f"it does not say where a chunk of tensor {name!r} is stored")
    return StoredChunk(corner, extent, file_name, offset, nbytes, bool(info.get("transform_descriptors")))


def _read_dtype(properties: Any) -> str:  # noqa: ANN401
    """The dtype among a tensor's properties: a tuple that begins with it, or fields by name."""
    state = properties.state if isinstance(properties, Call) else None
    found = (
        state.get("dtype") if isinstance(state, dict) else next(iter(state), None) if isinstance(state, tuple) else None
    )
    return found.name if isinstance(found, Global) else ""


def _read_path(name: str, path: Any) -> tuple[str, ...]:  # noqa: ANN401
    """The keys that lead to an entry, which the planner notes when it flattens a nested state dict."""
    if (
        isinstance(path, tuple | list)
        and 0 < len(path) <= _MAX_KEYS
        and all(isinstance(key, str | int) for key in path)
    ):
        return tuple(str(key) for key in path)
    return (name,)


def _class(value: Any) -> str:  # noqa: ANN401
    return value.function.name if isinstance(value, Call) and isinstance(value.function, Global) else ""


def _fields(value: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """Attributes of an object, those with slots among them."""
    state = value.state if isinstance(value, Call) else None
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):  # noqa: PLR2004 - dict and slots
        state = {**(state[0] if isinstance(state[0], dict) else {}), **state[1]}
    return state if isinstance(state, dict) else {}


def _counts(value: Any, name: str) -> tuple[int, ...]:  # noqa: ANN401
    """A torch.Size, or a sequence of numbers that stands for one."""
    if isinstance(value, Call) and _class(value) == "Size":
        value = value.args[0] if value.args else ()
    if not isinstance(value, tuple | list) or len(value) > _MAX_AXES or not all(map(_is_count, value)):
        raise _Damage(f"tensor {name!r} has a size or position that is none")
    return tuple(value)


def _is_count(value: Any) -> TypeGuard[int]:  # noqa: ANN401
    return type(value) is int and 0 <= value < _MAX_FILE_BYTES
