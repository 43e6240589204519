"""Files that torch before 1.6 wrote: a row of pickles, then the storages one after another.

References:
    torch/serialization.py, `_legacy_save` and `_legacy_load`: the magic number, the version of the protocol, facts of
    the system, the object, the keys of its storages; then for each key its number of elements (int64) and its bytes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, FileRef, read_bytes
from wsanalyze.files.pickle_machine import MAX_PICKLE_BYTES, Call, Global, PersistentId, PickleError, parse_pickle
from wsanalyze.files.torch_archive import step_mappings

MAGIC_NUMBER: Final = 0x1950A86A20F9469CFC6C
FIRST_WINDOW_BYTES: Final = 1 << 18
_GROWTH: Final = 8
_PROTOCOL_VERSION: Final = 1001
_MAX_NUMEL: Final = 2**50
_NUM_PICKLES: Final = 5
_COUNT_BYTES: Final = 8

ITEMSIZES: Final = {
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
    "BoolStorage": 1,
    "ByteStorage": 1,
    "CharStorage": 1,
    "ShortStorage": 2,
    "IntStorage": 4,
    "LongStorage": 8,
    "QInt8Storage": 1,
    "QUInt8Storage": 1,
    "QInt32Storage": 4,
    "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1,
    "UntypedStorage": 1,
    "_UntypedStorage": 1,
}
"""Bytes of one element, by the class that the pickle names for a storage."""

_Types = dict[str, tuple[Global, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class LegacyTorch:
    """A file that torch.save of torch before 1.6 wrote.

    Attributes:
        tree: The pickled object as inert data, see `wsanalyze.files.pickle_machine`.
        storages: For each storage by its key the offset of its first byte and its size in bytes.
        byteorder: Byte order of the storages: "little" whatever the machine was, torch turned the bytes around.
    """

    tree: Any
    storages: Mapping[str, tuple[int, int]]
    byteorder: str = "little"

    def mappings(self) -> Iterator[Mapping[Any, Any]]:
        """See `Contents.mappings`."""
        return step_mappings(self.tree)

    def tokens(self) -> Iterable[bytes]:
        """See `Contents.tokens`: sizes. The keys are addresses in the memory of whoever saved."""
        return (f"{nbytes}\n".encode() for _, nbytes in self.storages.values())

    def unsummed(self, _source: ByteSource, _file: FileRef) -> Sequence[tuple[int, int]]:
        """See `Contents.unsummed`: the format has no checksums."""
        return [(offset, nbytes) for offset, nbytes in self.storages.values() if nbytes]

    def locate_storage(self, _source: ByteSource, _file: FileRef, key: str) -> tuple[int, int] | None:
        """See `TorchArchive.locate_storage`."""
        return self.storages.get(key)


def is_legacy_torch(first: bytes) -> bool:
    """Whether a file begins with the magic number of torch before 1.6, pickled."""
    try:
        return bool(parse_pickle(first)[0] == MAGIC_NUMBER)
    except PickleError:
        return False


def read_legacy_torch(source: ByteSource, file: FileRef) -> LegacyTorch:
    """Read the structure of a legacy torch file; no weight is read.

    Raises:
        CheckpointError: If it is damaged, or its storages do not cover it to the byte.
    """
    (magic, version, system, tree, keys), position = _read_pickles(source, file)
    if magic != MAGIC_NUMBER or version != _PROTOCOL_VERSION or not isinstance(system, dict):
        raise CheckpointError("is no torch file of a version that is known", file.url)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise CheckpointError("has a damaged list of storages", file.url)
    types = _find_types(tree)
    swapped = system.get("little_endian") is False
    if swapped and any(storage.name.startswith("Complex") for storage, _ in types.values()):
        # torch turned all 8 bytes of a complex number around at once, and so swapped its halves.
        raise CheckpointError(
            "holds complex numbers of a big-endian machine: load it there, save it as it is now", file.url
        )
    predicted = _predict_storages(file, keys, types, position) if file.remote else None
    return LegacyTorch(tree, predicted or _list_storages(source, file, keys, types, position))


def _read_pickles(source: ByteSource, file: FileRef) -> tuple[list[Any], int]:
    """The pickles at the start and where the last one ends, from no more of the file than it takes."""
    found: list[Any] = []
    position = 0
    window = FIRST_WINDOW_BYTES
    while True:
        length = min(window, file.size, MAX_PICKLE_BYTES)
        data = read_bytes(source, file, 0, length)
        try:
            while len(found) < _NUM_PICKLES:
                value, position = parse_pickle(data, position)
                found.append(value)
        except PickleError as error:
            # It may only be cut off by the window. All five together are held to what one is allowed elsewhere.
            if length == min(file.size, MAX_PICKLE_BYTES):
                raise CheckpointError(f"has a damaged pickle: {error}", file.url) from error
            window *= _GROWTH
        else:
            return found, position


def _find_types(tree: Any) -> _Types:  # noqa: ANN401 - a pickled tree
    """For each storage that a tree refers to, by key, its class and size; where several do, the first one counts.

    The tree is walked in the order of the pickle, each part of it once, without recursion.
    """
    types: _Types = {}
    seen: set[int] = set()
    stack: list[Any] = [tree]
    while stack:
        value = stack.pop()
        if isinstance(value, PersistentId):
            match value.value:
                case ("storage", Global() as storage, str() as key, _, numel, *_):
                    types.setdefault(key, (storage, numel))
                case ("storage", Global() as storage, str() as key, *_):
                    types.setdefault(key, (storage, None))
            continue
        if not isinstance(value, dict | list | tuple | Call) or id(value) in seen:
            continue
        seen.add(id(value))
        stack.extend(reversed(_parts(value)))
    return types


def _parts(value: dict[Any, Any] | list[Any] | tuple[Any, ...] | Call) -> Sequence[Any]:
    if isinstance(value, Call):
        return (value.function, value.args, value.state, value.items)
    return list(value.values()) if isinstance(value, dict) else value


def _predict_storages(
    file: FileRef, keys: Sequence[str], types: _Types, position: int
) -> dict[str, tuple[int, int]] | None:
    """Tell where the storages of a remote file lie by the sizes in its pickle: to read each takes a request.

    It is provisional: what is there is seen when the file itself is at hand and is opened once more.

    Returns:
        As `_list_storages`; None where such storages would not cover the file exactly.
    """
    storages: dict[str, tuple[int, int]] = {}
    for key in keys:
        storage, numel = types.get(key, (None, None))
        itemsize = ITEMSIZES.get(storage.name) if storage else None
        if key in storages or itemsize is None or type(numel) is not int or not 0 <= numel <= _MAX_NUMEL:
            return None
        storages[key] = position + _COUNT_BYTES, numel * itemsize
        position += _COUNT_BYTES + numel * itemsize
    return storages if position == file.size else None


def _list_storages(
    source: ByteSource, file: FileRef, keys: Sequence[str], types: _Types, position: int
) -> dict[str, tuple[int, int]]:
    """Go from one storage to the next: each says how many elements it has.

    Raises:
        CheckpointError: If they do not cover the file exactly.
    """
    storages: dict[str, tuple[int, int]] = {}
    for key in keys:
        if key in storages:
            raise CheckpointError(f"lists storage {key!r} twice", file.url)
        itemsize = ITEMSIZES.get(types[key][0].name) if key in types else None
        if itemsize is None:
            raise CheckpointError(f"holds storage {key!r} of a type that is not known", file.url)
        if position + _COUNT_BYTES > file.size:
            raise CheckpointError("ends too early: truncated or still being written", file.url)
        numel = int.from_bytes(read_bytes(source, file, position, _COUNT_BYTES), "little", signed=True)
        position += _COUNT_BYTES
        if not 0 <= numel <= _MAX_NUMEL:
            raise CheckpointError(f"storage {key!r} has {numel} elements: refused", file.url)
        nbytes = numel * itemsize
        if position + nbytes > file.size:
            raise CheckpointError(f"storage {key!r} lies outside the file: truncated or still being written", file.url)
        storages[key] = position, nbytes
        position += nbytes
    if position != file.size:
        raise CheckpointError(f"has {file.size - position} bytes that belong to no storage", file.url)
    return storages
