"""What a weight file holds, told by its first bytes: the structure of its container, no meaning yet."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, Contents, FileRef, read_bytes
from wsanalyze.files.foreign import explain_file, explain_zip
from wsanalyze.files.legacy_torch import is_legacy_torch, read_legacy_torch
from wsanalyze.files.numpy_archive import is_numpy_archive, read_numpy_archive
from wsanalyze.files.onnx_model import looks_like_onnx, read_onnx_model
from wsanalyze.files.safetensors_header import read_header
from wsanalyze.files.stored_files import (
    is_stable_baselines,
    list_stored_weights,
    read_stable_baselines,
    read_stored_file,
)
from wsanalyze.files.torch_archive import TorchArchive, read_torch_archive
from wsanalyze.files.zip_records import ZipRecord, read_directory

__all__ = ["TorchArchive", "read_contents"]

_NUM_SNIFFED_BYTES: Final = 512

Reader = Callable[[ByteSource, FileRef], Contents]
Matches = Callable[[Mapping[str, ZipRecord]], bool]
ZipReader = Callable[[ByteSource, FileRef, Mapping[str, ZipRecord]], Contents]


def read_contents(source: ByteSource, file: FileRef) -> Contents:
    """Read the structure of a weight file.

    Raises:
        CheckpointError: If it is damaged, or no container that is known; the message says what to do.
    """
    if file.size == 0:
        raise CheckpointError("is empty", file.url)
    first = read_bytes(source, file, 0, min(_NUM_SNIFFED_BYTES, file.size))
    if first.startswith(b"PK\x03\x04"):
        return _read_zip(source, file, _ZIPS)
    return _read_flat(source, file, first)


def _read_stored(source: ByteSource, file: FileRef) -> Contents:
    """As `read_contents`, for a file in a zip archive, which may not hold files itself."""
    first = read_bytes(source, file, 0, min(_NUM_SNIFFED_BYTES, file.size))
    if first.startswith(b"PK\x03\x04"):
        return _read_zip(source, file, _ZIPS[:1])
    return _read_flat(source, file, first)


def _read_flat(source: ByteSource, file: FileRef, first: bytes) -> Contents:
    for matches, read in _CONTAINERS:
        if matches(file, first):
            return read(source, file)
    raise CheckpointError(explain_file(source, file, first), file.url)


def _read_zip(source: ByteSource, file: FileRef, kinds: Sequence[tuple[Matches, ZipReader]]) -> Contents:
    directory = read_directory(source, file)
    for matches, read in kinds:
        if matches(directory):
            return read(source, file, directory)
    raise CheckpointError(explain_zip(directory.keys()), file.url)


def _is_safetensors(_file: FileRef, first: bytes) -> bool:
    """A length of 8 bytes, then JSON. In a text those bytes would be characters, and the length beyond all reason."""
    is_text = first[:1] in (b"{", b"[", b"<") and first[7:8] >= b"\t"
    return first[8:9] == b"{" and not is_text


def _is_legacy_torch(_file: FileRef, first: bytes) -> bool:
    return is_legacy_torch(first)


def _is_torch_archive(directory: Mapping[str, ZipRecord]) -> bool:
    return any(name.rpartition("/")[2] == "data.pkl" for name in directory)


def _read_stable_baselines(source: ByteSource, file: FileRef, directory: Mapping[str, ZipRecord]) -> Contents:
    return read_stable_baselines(source, file, directory, _read_stored)


def _holds_one_file(directory: Mapping[str, ZipRecord]) -> bool:
    names = [name for name in directory if not name.endswith(("/", ".DS_Store")) and not name.startswith("__MACOSX/")]
    return len(names) == 1 and list_stored_weights(names) == names


def _read_one_file(source: ByteSource, file: FileRef, directory: Mapping[str, ZipRecord]) -> Contents:
    (name,) = list_stored_weights(directory)
    return read_stored_file(source, file, directory[name], _read_stored)


_CONTAINERS: Final[tuple[tuple[Callable[[FileRef, bytes], bool], Reader], ...]] = (
    (looks_like_onnx, read_onnx_model),
    (_is_safetensors, read_header),
    (_is_legacy_torch, read_legacy_torch),
)
"""Containers other than zip: whether a file with these first bytes is one, and what reads its structure."""

_ZIPS: Final[tuple[tuple[Matches, ZipReader], ...]] = (
    (_is_torch_archive, read_torch_archive),
    (is_stable_baselines, _read_stable_baselines),
    (is_numpy_archive, read_numpy_archive),
    (_holds_one_file, _read_one_file),
)
"""Zip archives: whether the records are those of one, and what reads its structure; the first holds no files."""
