"""A NumPy archive (numpy.savez): where the elements of its arrays lie. No array is loaded, and no pickle is opened.

References:
    numpy.lib.format, "Format Version 1.0" to "3.0"; docs/formats.md, "Reading safely".
"""

import io
import math
import tokenize
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy_format

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, FileRef, read_bytes
from wsanalyze.files.zip_records import ZipRecord, check_overlaps, locate_record

_SUFFIX: Final = ".npy"
_MAX_HEADER_BYTES: Final = 10_000  # NumPy's own bound: what ast.literal_eval can take without harm
_LONG_HEADER_BYTES: Final = 1024  # those of plain arrays have 128
_MAX_LONG_HEADERS_BYTES: Final = 1_000_000  # NumPy takes its time for them, and makes a large object of each
_MAX_PREFIX_BYTES: Final = 12  # magic, version, and the length of the header in two or four bytes
_MAX_NUMEL: Final = 2**50
_MAX_AXES: Final = 64
_MAX_NOTES: Final = 64
_NOTE_KINDS: Final = "iu"
# What NumPy's parser and the constructor of a dtype can be made to raise by a header that somebody made up.
_HEADER_ERRORS: Final = (
    ValueError,
    TypeError,
    SyntaxError,
    LookupError,
    AttributeError,
    OverflowError,
    MemoryError,
    RecursionError,
    tokenize.TokenError,
)


@dataclass(frozen=True, slots=True)
class NumpyArray:
    """One array of an archive, as its header describes it.

    Attributes:
        dtype: NumPy's dtype; it may hold objects, which are pickles that nobody opens.
        shape: Its shape.
        fortran: Whether the first axis runs fastest.
        offset: Where its elements begin in the file.
        nbytes: How many bytes they take.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True, eq=False)
class NumpyArchive:
    """The arrays of an archive by name, in its order.

    Attributes:
        arrays: By name without ".npy".
        records: The zip record of each.
        notes: Whole numbers that stand alone at the top: a step, an epoch.
    """

    arrays: dict[str, NumpyArray]
    records: dict[str, ZipRecord]
    notes: dict[str, int]

    def mappings(self) -> Iterable[Mapping[str, int]]:
        """See `Contents.mappings`."""
        return (self.notes,)

    def tokens(self) -> Iterable[bytes]:
        """See `Contents.tokens`."""
        for name, record in sorted(self.records.items()):
            yield f"{name}:{record.nbytes}:{record.crc}\n".encode("utf-8", "backslashreplace")

    def unsummed(self, _source: ByteSource, _file: FileRef) -> Sequence[tuple[int, int]]:
        """See `Contents.unsummed`: where a writer has left a checksum out."""
        return [
            (array.offset, array.nbytes)
            for name, array in self.arrays.items()
            if array.nbytes and not self.records[name].crc
        ]


def is_numpy_archive(directory: Mapping[str, ZipRecord]) -> bool:
    """Whether a zip archive holds arrays of NumPy and nothing else."""
    return bool(directory) and all(name.endswith(_SUFFIX) for name in directory)


def read_numpy_archive(source: ByteSource, file: FileRef, directory: Mapping[str, ZipRecord]) -> NumpyArchive:
    """Read the headers of all arrays.

    Args:
        source: Where the bytes come from.
        file: The archive.
        directory: Its records, see `wsanalyze.files.zip_records.read_directory`.

    Raises:
        CheckpointError: If it is compressed, or a header is damaged or does not fit its record to the byte.
    """
    spans = []
    for member, record in directory.items():
        if not record.stored:
            raise CheckpointError("is compressed: save it with numpy.savez, not numpy.savez_compressed", file.url)
        spans.append((locate_record(source, file, record), record.nbytes, member))
    check_overlaps(spans, file)  # before any is read: a thousand records could be the same bytes
    arrays: dict[str, NumpyArray] = {}
    rest = _MAX_LONG_HEADERS_BYTES
    for start, nbytes, member in spans:
        name = member.removesuffix(_SUFFIX)
        array = arrays[name] = _read_array(source, file, name, start, nbytes)
        length = array.offset - start
        rest -= length if length > _LONG_HEADER_BYTES else 0
        if rest < 0:
            raise CheckpointError(f"has more than {_MAX_LONG_HEADERS_BYTES} bytes of long headers: refused", file.url)
    records = {member.removesuffix(_SUFFIX): record for member, record in directory.items()}
    return NumpyArchive(arrays, records, _read_notes(source, file, arrays))


def _read_array(source: ByteSource, file: FileRef, name: str, start: int, nbytes: int) -> NumpyArray:
    head = read_bytes(source, file, start, min(nbytes, _MAX_HEADER_BYTES + _MAX_PREFIX_BYTES))
    try:
        dtype, shape, fortran, length = _parse_header(head)
    except _HEADER_ERRORS as error:
        raise CheckpointError(f"array {name!r} has a damaged header ({_first_line(error)})", file.url) from error
    if len(shape) > _MAX_AXES or any(not 0 <= size <= _MAX_NUMEL for size in shape) or math.prod(shape) > _MAX_NUMEL:
        raise CheckpointError(f"array {name!r} has a damaged header (its shape)", file.url)
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize != nbytes - length:
        raise CheckpointError(f"array {name!r} does not fill the bytes that the archive gives it", file.url)
    return NumpyArray(dtype, shape, fortran, start + length, nbytes - length)


def _parse_header(head: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Dtype, shape, whether in Fortran order, and the length of all that comes before the elements."""
    stream = io.BytesIO(head)
    version = npy_format.read_magic(stream)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"version {version[0]}.{version[1]} is not known")
    # The third version is the second one with names of fields in UTF-8, and an array with fields is no weight.
    parse = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # files of Python 2, and escapes in strings that somebody made up
        shape, fortran, dtype = parse(stream, max_header_size=_MAX_HEADER_BYTES)
    return dtype, shape, fortran, stream.tell()


def _read_notes(source: ByteSource, file: FileRef, arrays: Mapping[str, NumpyArray]) -> dict[str, int]:
    """Whole numbers among the arrays at the top; a model keeps counters too, but inside its modules."""
    notes: dict[str, int] = {}
    for name, array in arrays.items():
        if array.dtype.kind not in _NOTE_KINDS or math.prod(array.shape) != 1 or "/" in name or "." in name:
            continue
        if len(notes) == _MAX_NOTES:
            break
        notes[name] = int(np.frombuffer(read_bytes(source, file, array.offset, array.nbytes), array.dtype)[0])
    return notes


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
