"""Tensors of a torch.distributed checkpoint: boxes of each, as many small torch files inside a few large ones."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any, Final

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, Contents, FileRef
from wsanalyze.files.contents import TorchArchive, read_contents
from wsanalyze.files.distributed_metadata import (
    DistributedMetadata,
    ShardedTensor,
    StoredChunk,
    read_distributed_metadata,
    read_sharded_tensor,
)
from wsanalyze.files.pickle_machine import Call, Global
from wsanalyze.files.zip_records import check_overlaps
from wsanalyze.series import Skip
from wsanalyze.tensors.base import Piece, TensorInfo, TensorSet
from wsanalyze.tensors.dtypes import DTYPES, name_unknown
from wsanalyze.tensors.state_dicts import find_state_dicts
from wsanalyze.tensors.torch_file import read_calls

CHUNK_SUFFIX: Final = ".distcp"
_REBUILD: Final = Global("torch._utils", "_rebuild_tensor_v2")
_OPTIMIZER: Final = re.compile(r"optim(izer)?s?(_?\d+)?", re.IGNORECASE)


@dataclass(slots=True, eq=False)
class _ChunkFile:
    """What is known of the chunks of weights that one file holds; implements `Contents`.

    Their structures are not kept: there may be a hundred thousand.

    Attributes:
        texts: What tells each from another one.
        spans: Weights without a checksum, as (offset, nbytes).
    """

    texts: list[bytes] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)

    def mappings(self) -> Iterator[Mapping[Any, Any]]:
        """See `Contents.mappings`: a chunk is nothing but a tensor."""
        return iter(())

    def tokens(self) -> Iterable[bytes]:
        """See `Contents.tokens`."""
        return self.texts

    def unsummed(self, _source: ByteSource, _file: FileRef) -> Sequence[tuple[int, int]]:
        """See `Contents.unsummed`."""
        return self.spans

    def add(self, text: str, archive: TorchArchive, source: ByteSource, place: FileRef, offset: int) -> None:
        """Note a chunk that lies at some offset of the file."""
        self.texts += [f"{text}\n".encode("utf-8", "backslashreplace"), *archive.tokens()]
        self.spans += [(offset + first, nbytes) for first, nbytes in archive.unsummed(source, place)]


class _OtherLayoutError(Exception):
    """The elements of a tensor lie in a way that its chunks cannot be put together by."""


def read_distributed(source: ByteSource, files: Sequence[FileRef]) -> tuple[TensorSet, Sequence[Contents]]:
    """List the tensors of one torch.distributed checkpoint, model and moving average apart.

    Args:
        source: Where bytes come from; no weights are read.
        files: Its `.metadata`, then the files that hold its chunks, and others that hold notes of a trainer.

    Returns:
        Its tensors, and the structure of each file.

    Raises:
        CheckpointError: If a file is damaged, truncated or missing.
    """
    main, *others = files
    metadata = read_distributed_metadata(source, main)
    chunk_files = {PurePath(file.url).name: (file, _ChunkFile()) for file in others if file.url.endswith(CHUNK_SUFFIX)}
    try:
        found = find_state_dicts(_build_tree(metadata))
    except CheckpointError as error:
        raise CheckpointError(error.reason, main.url) from error
    tensors = {
        weights: {name: read_sharded_tensor(metadata, call.args[0], main) for name, call in calls.items()}
        for weights, calls in found.items()
    }
    _check_overlaps(tensors, chunk_files)
    infos: dict[str, dict[str, TensorInfo]] = {}
    skips = []
    for weights, named in tensors.items():
        infos[weights] = {}
        for name, tensor in named.items():
            try:
                infos[weights][name] = _read_tensor(name, tensor, chunk_files, source, main)
            except _OtherLayoutError as reason:
                skips.append(Skip(name, str(reason)))
    contents = [
        chunk_files[PurePath(file.url).name][1] if file.url.endswith(CHUNK_SUFFIX) else _read_notes(source, file)
        for file in others
    ]
    return TensorSet(infos, metadata.planned, tuple(skips)), [metadata, *contents]


def _check_overlaps(
    tensors: Mapping[str, Mapping[str, ShardedTensor]], chunk_files: Mapping[str, tuple[FileRef, _ChunkFile]]
) -> None:
    """Refuse chunks whose bytes overlap, before any is read: a hundred thousand could be the same few bytes.

    Raises:
        CheckpointError: If two of them do.
    """
    spans: dict[str, list[tuple[int, int, str]]] = {}
    for named in tensors.values():
        for name, tensor in named.items():
            for chunk in tensor.chunks:
                spans.setdefault(chunk.file_name, []).append((chunk.offset, chunk.nbytes, name))
    for file_name, (file, _) in chunk_files.items():
        check_overlaps(spans.get(file_name, ()), file, "chunks of tensors")


def _read_notes(source: ByteSource, file: FileRef) -> Contents:
    """What a trainer noted beside the weights; they do not depend on it."""
    try:
        return read_contents(source, file)
    except CheckpointError:
        return _ChunkFile()


def _build_tree(metadata: DistributedMetadata) -> dict[str, Any]:
    """The state dict that was saved, a call in the place of each tensor that would rebuild it from its full name.

    Raises:
        CheckpointError: If an entry stands where others are below.
    """
    tree: dict[str, Any] = {}
    for name, path in metadata.paths.items():
        *parents, last = _split_optimizer(path)
        node = tree
        for key in parents:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise CheckpointError(f"entry {name!r} lies below a tensor")
        if last in node:
            raise CheckpointError(f"entry {name!r} stands where another one does")
        node[last] = Call(_REBUILD, (name,)) if name in metadata.tensors else None
    return tree


def _split_optimizer(path: tuple[str, ...]) -> tuple[str, ...]:
    """Some trainers save flat names: the first word of one still tells the optimizer's state from the model's."""
    head, _, rest = path[0].partition(".")
    return (head, rest) if len(path) == 1 and rest and _OPTIMIZER.fullmatch(head) else path


def _read_tensor(
    name: str,
    tensor: ShardedTensor,
    chunk_files: Mapping[str, tuple[FileRef, _ChunkFile]],
    source: ByteSource,
    main: FileRef,
) -> TensorInfo:
    if tensor.dtype not in DTYPES:
        raise _OtherLayoutError(f"{name_unknown('dtype', tensor.dtype or 'of an unknown name')} is not known")
    whole = len(tensor.chunks) == 1
    pieces = []
    for chunk in tensor.chunks:
        if chunk.file_name not in chunk_files:
            raise CheckpointError(f"names a file of chunks that is missing beside it: {chunk.file_name!r}", main.url)
        file, structure = chunk_files[chunk.file_name]
        place = file.slice(chunk.offset, chunk.nbytes)
        piece = _read_chunk(name, tensor, chunk, place, structure, source)
        if not whole and piece.strides is not None:
            raise _OtherLayoutError("its chunks are stored with their axes in another order")
        corner, extent = ((), ()) if whole else (chunk.corner, chunk.extent)
        # Placed in the large file, so that neighbours can be seen to be neighbours.
        pieces.append(replace(piece, file=file, offset=chunk.offset + piece.offset, corner=corner, extent=extent))
    return TensorInfo(name, tensor.dtype, tensor.shape, tuple(pieces or [Piece(main, 0, 0)]))


def _read_chunk(
    name: str, tensor: ShardedTensor, chunk: StoredChunk, place: FileRef, structure: _ChunkFile, source: ByteSource
) -> Piece:
    """Where the elements of one chunk lie, found in the torch file that holds nothing but it.

    Raises:
        CheckpointError: If it is damaged, or not what the description says.
    """
    if chunk.transformed:
        raise CheckpointError(f"the chunks of tensor {name!r} are compressed: save them without extensions", place.url)
    try:
        archive = read_contents(source, place)
    except CheckpointError as error:
        raise CheckpointError(
            f"the chunk of tensor {name!r} at byte {chunk.offset} {error.reason}", place.url
        ) from error
    if not isinstance(archive, TorchArchive):
        raise CheckpointError(f"the chunk of tensor {name!r} at byte {chunk.offset} is no torch file", place.url)
    text = f"{name}:{tensor.dtype}:{tensor.shape}:{chunk.corner}:{chunk.extent}"
    structure.add(text, archive, source, place, chunk.offset)
    if not isinstance(archive.tree, Call):
        raise CheckpointError(f"the chunk of tensor {name!r} at byte {chunk.offset} holds no tensor", place.url)
    found = read_calls({"model": {name: archive.tree}}, archive, source, place)
    if found.skips:
        raise _OtherLayoutError(found.skips[0].reason)
    info = found.infos["model"][name]
    if info.dtype != tensor.dtype or _without_ones(info.shape) != _without_ones(chunk.extent):
        raise CheckpointError(
            f"the chunk of tensor {name!r} at byte {chunk.offset} is {info.dtype} {list(info.shape)}, "
            f"not {tensor.dtype} {list(chunk.extent)} as described",
            place.url,
        )
    (piece,) = info.pieces
    if piece.strides is not None and info.shape != chunk.extent:
        raise _OtherLayoutError("its chunks are stored with their axes in another order")
    return piece


def _without_ones(shape: Sequence[int]) -> list[int]:
    """Megatron saves a slice of stacked layers without the axis of layers."""
    return [size for size in shape if size != 1]
