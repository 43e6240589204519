"""The initialisers of an ONNX model: a walk over the protobuf fields that lead to them, past all the others.

A model may have gigabytes of weights in it. Only tags, lengths and names are read, through a small window.

References:
    https://protobuf.dev/programming-guides/encoding; onnx.proto; docs/formats.md, "Reading safely".
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, FileRef, read_bytes
from wsanalyze.files.local import stat_file

MAX_INITIALIZERS: Final = 200_000
_MAX_FIELDS: Final = 1_500_000
_MAX_TEXT_BYTES: Final = 65_536
_MAX_ENTRIES: Final = 256
_MAX_AXES: Final = 64
_MAX_NUMEL: Final = 2**50
_MAX_IR_VERSION: Final = 127  # one byte of a varint; the format is at 13 after nine years
_MAX_VARINT_BYTES: Final = 10
_WINDOW_BYTES: Final = 16_384
_MAX_SAMPLED: Final = 1024
_SAMPLE_BYTES: Final = 256
_PLAIN_NAME: Final = re.compile(r"[^/\\:\x00-\x1f\x7f]{1,200}")
_DECIMAL: Final = re.compile(r"[0-9]{1,18}")

# Wire types of protobuf.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# ModelProto, GraphProto, TensorProto, SparseTensorProto: numbers of the fields that matter.
_IR_VERSION, _GRAPH, _METADATA = 1, 7, 14
_INITIALIZER, _SPARSE_INITIALIZER = 5, 15
_DIMS, _DATA_TYPE, _SEGMENT, _NAME, _EXTERNAL_DATA, _DATA_LOCATION = 1, 2, 3, 8, 13, 14
_ELEMENTS: Final = {
    4: "float_data",
    5: "int32_data",
    6: "string_data",
    7: "int64_data",
    9: "raw_data",
    10: "double_data",
    11: "uint64_data",
}
_SPARSE_VALUES: Final = 1
_EXTERNAL: Final = "external_data"


@dataclass(frozen=True, slots=True)
class Initializer:
    """One tensor of the graph.

    Attributes:
        name: Its name.
        data_type: The format's own number of its dtype (TensorProto.DataType).
        shape: Its shape.
        storage: What holds its elements: "raw_data", "float_data", ..., "external_data"; "" for nothing. Of those
            that are no bytes in a row it ends in "*".
        file: In which file they lie.
        offset: Where in it, in bytes.
        nbytes: How many bytes.
    """

    name: str
    data_type: int
    shape: tuple[int, ...]
    storage: str
    file: FileRef
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True, eq=False)
class OnnxModel:
    """The initialisers of a model's graph in its order; those of graphs inside its nodes are not among them.

    Attributes:
        initializers: By name.
        sparse: Names of the sparse ones, which are not read.
        metadata: The model's own notes.
        sampled: Digest of samples of what lies in other files.
    """

    initializers: dict[str, Initializer]
    sparse: tuple[str, ...]
    metadata: dict[str, str]
    sampled: bytes

    def mappings(self) -> Iterable[Mapping[str, str]]:
        """See `Contents.mappings`."""
        return (self.metadata,)

    def tokens(self) -> Iterable[bytes]:
        """See `Contents.tokens`."""
        for tensor in self.initializers.values():
            text = f"{tensor.name}:{tensor.data_type}:{tensor.shape}:{tensor.storage}:{tensor.nbytes}\n"
            yield text.encode("utf-8", "backslashreplace")
        yield self.sampled

    def unsummed(self, _source: ByteSource, _file: FileRef) -> Sequence[tuple[int, int]]:
        """See `Contents.unsummed`: the format has no checksums."""
        return [(t.offset, t.nbytes) for t in self.initializers.values() if t.nbytes and t.storage != _EXTERNAL]


def looks_like_onnx(file: FileRef, first: bytes) -> bool:
    """Whether a file is an ONNX model by its name and its first bytes: a protobuf that begins with a small version."""
    begins = len(first) > 2 and first[0] == _IR_VERSION << 3 and 0 < first[1] <= _MAX_IR_VERSION  # noqa: PLR2004 - both and a tag
    return begins and file.url.lower().endswith(".onnx")


def read_onnx_model(source: ByteSource, file: FileRef) -> OnnxModel:
    """Find the initialisers of an ONNX model; no weights are read but samples of what lies in other files.

    Raises:
        CheckpointError: If it is truncated or damaged, or refers to a file that is missing or is not in its folder.
    """
    return _Parser(source, file).read_model()


@dataclass(slots=True)
class _Tensor:
    """What was found so far of one TensorProto."""

    name: str = ""
    data_type: int = 0
    dims: list[int] = field(default_factory=list)
    storage: str = ""
    offset: int = 0
    nbytes: int = 0
    external: bool = False
    entries: dict[str, str] = field(default_factory=dict)


class _Parser:
    """Walks one file; positions are bytes from its start, messages are ranges of positions."""

    def __init__(self, source: ByteSource, file: FileRef) -> None:
        self._source = source
        self._file = file
        self._window = b""
        self._window_start = 0
        self._num_fields = 0
        self._files: dict[str, FileRef] = {}

    def read_model(self) -> OnnxModel:
        graph = None
        metadata: dict[str, str] = {}
        for number, wire, start, stop in self._fields(0, self._file.size):
            if number == _GRAPH and wire == _BYTES:
                if graph is not None:
                    raise self._damaged("two graphs")
                graph = start, stop
            elif number == _METADATA and wire == _BYTES and len(metadata) < _MAX_ENTRIES:
                metadata |= self._read_entry(start, stop)
        if graph is None:
            raise self._damaged("no graph")
        tensors, sparse = self._read_graph(*graph)
        return OnnxModel(tensors, sparse, metadata, self._sample(tensors))

    def _read_graph(self, start: int, stop: int) -> tuple[dict[str, Initializer], tuple[str, ...]]:
        found: dict[str, Initializer] = {}
        sparse: list[str] = []
        for number, wire, inner_start, inner_stop in self._fields(start, stop):
            if number not in (_INITIALIZER, _SPARSE_INITIALIZER) or wire != _BYTES:
                continue
            if len(found) + len(sparse) == MAX_INITIALIZERS:
                raise CheckpointError(f"has more than {MAX_INITIALIZERS} initialisers: refused", self._file.url)
            if number == _SPARSE_INITIALIZER:
                sparse.append(self._read_sparse_name(inner_start, inner_stop))
                continue
            tensor = self._read_tensor(inner_start, inner_stop)
            if not tensor.name:
                raise self._damaged("an initialiser without a name")
            if tensor.name in found:
                raise CheckpointError(f"holds the initialiser {tensor.name!r} twice", self._file.url)
            found[tensor.name] = self._finish(tensor)
        return found, tuple(sparse)

    def _read_tensor(self, start: int, stop: int) -> _Tensor:
        tensor = _Tensor()
        for number, wire, first, last in self._fields(start, stop):
            if number == _DIMS:
                self._read_dims(tensor.dims, wire, first, last)
            elif number == _DATA_TYPE and wire == _VARINT:
                tensor.data_type = first
            elif number == _DATA_LOCATION and wire == _VARINT:
                tensor.external = first == 1
            elif number == _NAME and wire == _BYTES:
                tensor.name = self._read_text(first, last)
            elif number == _EXTERNAL_DATA and wire == _BYTES:
                if len(tensor.entries) == _MAX_ENTRIES:
                    raise self._damaged("too many entries of external data")
                tensor.entries |= self._read_entry(first, last)
            elif number == _SEGMENT:
                tensor.storage = "segment*"
            elif number in _ELEMENTS and (wire != _BYTES or last > first):
                scattered = wire != _BYTES or number not in (4, 9, 10) or tensor.storage
                tensor.storage = f"{_ELEMENTS[number]}*" if scattered else _ELEMENTS[number]
                tensor.offset, tensor.nbytes = (first, last - first) if wire == _BYTES else (0, 0)
        return tensor

    def _read_dims(self, dims: list[int], wire: int, first: int, last: int) -> None:
        if wire == _BYTES:  # packed
            while first < last:
                size, first = self._read_varint(first, last)
                self._add_dim(dims, size)
        elif wire == _VARINT:
            self._add_dim(dims, first)
        else:
            raise self._damaged("a shape")

    def _add_dim(self, dims: list[int], size: int) -> None:
        # A negative number is a varint of 2^63 or more.
        if len(dims) == _MAX_AXES or size > _MAX_NUMEL:
            raise self._damaged("a shape")
        dims.append(size)

    def _finish(self, tensor: _Tensor) -> Initializer:
        numel = 1
        for size in tensor.dims:
            numel *= size
            if numel > _MAX_NUMEL:
                raise CheckpointError(f"initialiser {tensor.name!r} has a damaged shape", self._file.url)
        place = (tensor.storage, self._file, tensor.offset, tensor.nbytes)
        if tensor.external:
            place = (_EXTERNAL, *self._locate_external(tensor))
        return Initializer(tensor.name, tensor.data_type, tuple(tensor.dims), *place)

    def _locate_external(self, tensor: _Tensor) -> tuple[FileRef, int, int]:
        location = tensor.entries.get("location", "")
        if location not in self._files:
            self._files[location] = _find_beside(self._file, location)
        file = self._files[location]
        offset = self._read_decimal(tensor, "offset", 0)
        nbytes = self._read_decimal(tensor, "length", file.size - offset)
        if nbytes < 0 or offset + nbytes > file.size:
            text = f"initialiser {tensor.name!r} lies outside {location!r}: truncated or still being written"
            raise CheckpointError(text, self._file.url)
        return file, offset, nbytes

    def _read_decimal(self, tensor: _Tensor, key: str, default: int) -> int:
        text = tensor.entries.get(key)
        if text is None:
            return default
        if not _DECIMAL.fullmatch(text):
            raise CheckpointError(f"initialiser {tensor.name!r} has a damaged {key}", self._file.url)
        return int(text)

    def _read_sparse_name(self, start: int, stop: int) -> str:
        """A sparse tensor goes by the name of its values."""
        for number, wire, first, last in self._fields(start, stop):
            if number == _SPARSE_VALUES and wire == _BYTES:
                return self._read_tensor(first, last).name
        return ""

    def _read_entry(self, start: int, stop: int) -> dict[str, str]:
        """One key and its value."""
        texts = {1: "", 2: ""}
        for number, wire, first, last in self._fields(start, stop):
            if number in texts and wire == _BYTES:
                texts[number] = self._read_text(first, last)
        return {texts[1]: texts[2]}

    def _read_text(self, start: int, stop: int) -> str:
        if stop - start > _MAX_TEXT_BYTES:
            raise self._damaged(f"a text of {stop - start} bytes")
        try:
            return read_bytes(self._source, self._file, start, stop - start).decode()
        except UnicodeDecodeError as error:
            raise self._damaged("a name that is no text") from error

    def _fields(self, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
        """The fields of one message: number, wire type, and the range of the content; for a varint its value, twice."""
        position = start
        while position < stop:
            self._num_fields += 1
            if self._num_fields > _MAX_FIELDS:
                raise CheckpointError(f"has more than {_MAX_FIELDS} protobuf fields: refused", self._file.url)
            tag, position = self._read_varint(position, stop)
            number, wire = tag >> 3, tag & 7
            if wire == _VARINT:
                value, position = self._read_varint(position, stop)
                yield number, wire, value, value
                continue
            if wire == _BYTES:
                length, position = self._read_varint(position, stop)
            elif wire in (_FIXED64, _FIXED32):
                length = 8 if wire == _FIXED64 else 4
            else:
                raise self._damaged("a field of a kind that is not known")
            if length > stop - position:
                raise self._damaged("a field that reaches beyond its message: truncated or still being written")
            yield number, wire, position, position + length
            position += length

    def _read_varint(self, position: int, stop: int) -> tuple[int, int]:
        value = 0
        for index in range(_MAX_VARINT_BYTES):
            if position + index >= stop:
                break
            byte = self._byte(position + index)
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:  # noqa: PLR2004 - the continuation bit
                return value, position + index + 1
        raise self._damaged("a number that does not end")

    def _byte(self, position: int) -> int:
        offset = position - self._window_start
        if not 0 <= offset < len(self._window):
            length = min(_WINDOW_BYTES, self._file.size - position)
            self._window = read_bytes(self._source, self._file, position, length)
            self._window_start, offset = position, 0
        return self._window[offset]

    def _sample(self, tensors: Mapping[str, Initializer]) -> bytes:
        """Digest what tells files of external data apart: no checksum does, and the model itself may be the same."""
        external = [t for t in tensors.values() if t.storage == _EXTERNAL and t.nbytes]
        step = max(1, len(external) / _MAX_SAMPLED)
        chosen = {int(index * step) for index in range(min(len(external), _MAX_SAMPLED))} | {len(external) - 1}
        digest = hashlib.blake2b(digest_size=16)
        for tensor in (external[index] for index in sorted(chosen) if external):
            length = min(_SAMPLE_BYTES, tensor.nbytes)
            middle = tensor.offset + (tensor.nbytes - length) // 2
            digest.update(read_bytes(self._source, tensor.file, middle, length))
        return digest.digest() if external else b""

    def _damaged(self, what: str) -> CheckpointError:
        return CheckpointError(f"is a truncated or damaged ONNX model ({what})", self._file.url)


def _find_beside(model: FileRef, location: str) -> FileRef:
    """List a file of external data: one of the model's own folder, or what the Hub's cache links there.

    Raises:
        CheckpointError: If it is none of those, or missing.
    """
    if not _PLAIN_NAME.fullmatch(location) or not location.strip(".") or model.start:
        raise CheckpointError(f"keeps weights in what is no file of its folder: {location[:200]!r}", model.url)
    folder = Path(model.url).parent
    path = folder / location
    try:
        target, place = path.resolve(), folder.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise CheckpointError(f"keeps weights in {location!r}, which cannot be read", model.url) from error
    blobs = [parent.parent / "blobs" for parent in place.parents if parent.name == "snapshots"]
    if not any(target.is_relative_to(allowed) for allowed in (place, *blobs)):
        raise CheckpointError(f"keeps weights in {location!r}, a link that leaves its folder", model.url)
    if not path.exists():
        raise CheckpointError(f"keeps weights in {location!r}, which is missing", model.url)
    return stat_file(path)
