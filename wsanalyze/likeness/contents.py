"""Whether two checkpoints hold the same weights to the last byte: digests of everything that tensors are made of."""

import bisect
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from wsanalyze.files.base import ByteSource, FileRef
from wsanalyze.tensors.base import Piece, TensorInfo

_BUFFER_BYTES: Final = 2**20


def digest_structure(sets: Mapping[str, Mapping[str, TensorInfo]]) -> str:
    """Digest the names, dtypes and shapes of the tensors of a checkpoint; no weight is read.

    Args:
        sets: For each set of weights its tensors by name.
    """
    digest = hashlib.blake2b(digest_size=16)
    for line in sorted(
        _describe(weights, info, name) for weights, infos in sets.items() for name, info in infos.items()
    ):
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()


def digest_weights(source: ByteSource, sets: Mapping[str, Mapping[str, TensorInfo]]) -> str:
    """Digest every byte of every tensor of a checkpoint, and which tensor it belongs to.

    Every byte is read once, through a buffer of a megabyte, however many tensors share it. The files may hold the
    tensors at other places: the digest is the same where bytes and structure are.

    Args:
        source: Where the bytes come from.
        sets: For each set of weights its tensors by name.

    Returns:
        Equal for equal weights in equal structures, and for no others.

    Raises:
        CheckpointError: If they cannot be read, or the file was changed meanwhile.
    """
    digest = hashlib.blake2b(digest_size=16)
    tensors = [(weights, name, infos[name]) for weights, infos in sorted(sets.items()) for name in sorted(infos)]
    pieces = list(dict.fromkeys(piece for _, _, info in tensors for piece in info.pieces))
    by_file: dict[FileRef, list[Piece]] = {}
    for piece in pieces:
        by_file.setdefault(piece.file, []).append(piece)
    spans = {file: _merge(found) for file, found in by_file.items()}
    number = {file: index for index, file in enumerate(by_file)}
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    for file in by_file:
        for start, stop in spans[file]:
            digest.update(f"{stop - start}\n".encode())
            for offset in range(start, stop, _BUFFER_BYTES):
                part = buffer[: min(_BUFFER_BYTES, stop - offset)]
                source.read_into(file, offset, part)
                digest.update(part)
        source.verify(file)
    places = {piece: (number[piece.file], *_place(piece, spans[piece.file])) for piece in pieces}
    for weights, name, info in tensors:
        parts = [(*places[p], p.nbytes, p.strides, p.byteorder, p.corner, p.extent) for p in info.pieces]
        digest.update(f"{_describe(weights, info, name)}{parts}\n".encode())
    return digest.hexdigest()


def _describe(weights: str, info: TensorInfo, name: str) -> str:
    return f"{weights} {name!r} {info.dtype} {info.shape}"


def _merge(pieces: Iterable[Piece]) -> list[tuple[int, int]]:
    """Where the bytes of pieces of one file lie, without overlaps: (start, stop) each, in order."""
    merged: list[tuple[int, int]] = []
    for start, stop in sorted((piece.offset, piece.offset + piece.nbytes) for piece in pieces):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], stop)
        else:
            merged.append((start, stop))
    return merged


def _place(piece: Piece, spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The index of the span that a piece lies in, and where in it."""
    index = bisect.bisect_right(spans, (piece.offset, math.inf)) - 1
    return index, piece.offset - spans[index][0]
