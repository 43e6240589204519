"""Whether two checkpoints hold the same weights to the last byte: digests of their tensors, wherever those lie."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsanalyze.files.base import ByteSource
from wsanalyze.tensors.base import TensorInfo
from wsanalyze.tensors.gather import ElementReader

_BUFFER_BYTES: Final = 2**20
_PROBE_BYTES: Final = 64
_RAW: Final = {1: "uint8", 2: "uint16", 4: "uint32", 8: "uint64", 16: "complex128"}


def probe_weights(source: ByteSource, tensors: Mapping[str, TensorInfo]) -> bytes:
    """Digest the structure of a checkpoint and a few bytes of every tensor: what differs here need not be read whole.

    Raises:
        CheckpointError: If they cannot be read, or a file was changed meanwhile.
    """
    return _digest(source, tensors, _PROBE_BYTES)


def digest_weights(source: ByteSource, tensors: Mapping[str, TensorInfo]) -> bytes:
    """Digest every byte of every tensor of a checkpoint, through a buffer of a megabyte.

    Names, dtypes, shapes and elements in C order are digested, so that files may hold them at other places, in other
    shards or in another format: the digest is the same where the tensors are.

    Args:
        source: Where the bytes come from.
        tensors: Its tensors by name, as they are stored.

    Returns:
        Equal for equal tensors, and for no others.

    Raises:
        CheckpointError: If they cannot be read, or a file was changed meanwhile.
    """
    return _digest(source, tensors, None)


def _digest(source: ByteSource, tensors: Mapping[str, TensorInfo], most_bytes: int | None) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    reader = ElementReader(source)
    room = np.empty(_BUFFER_BYTES, dtype=np.uint8)
    for name in sorted(tensors):
        info = tensors[name]
        digest.update(f"{name!r} {info.dtype} {info.shape} {info.pieces[0].byteorder}\n".encode())
        _add_elements(digest, info, reader, room, most_bytes)
    reader.verify()
    return digest.digest()


def _add_elements(
    digest: hashlib.blake2b, info: TensorInfo, reader: ElementReader, room: NDArray[np.uint8], most_bytes: int | None
) -> None:
    itemsize = info.type.itemsize
    if itemsize not in _RAW or not info.contiguous:
        _add_pieces(digest, info, reader, room, most_bytes)
        return
    raw = replace(info, dtype=_RAW[itemsize])  # no element is looked at: whatever it is, its bytes count
    size = info.numel if most_bytes is None else min(info.numel, most_bytes // itemsize)
    start, step = (info.numel - size) // 2, room.size // itemsize
    for first in range(start, start + size, step):
        elements = reader.read_into(raw, first, min(first + step, start + size), room)
        digest.update(elements.view(np.uint8).data)


def _add_pieces(
    digest: hashlib.blake2b, info: TensorInfo, reader: ElementReader, room: NDArray[np.uint8], most_bytes: int | None
) -> None:
    """As the bytes lie: their order is part of what a strided or packed tensor is."""
    for piece in info.pieces:
        digest.update(f"{piece.strides} {piece.corner} {piece.extent}\n".encode())
        size = piece.nbytes if most_bytes is None else min(most_bytes, piece.nbytes)
        start = (piece.nbytes - size) // 2
        for offset in range(start, start + size, room.size):
            part = room[: min(room.size, start + size - offset)]
            reader.read_bytes(piece, offset, part)
            digest.update(part.data)
