"""Stored records of a zip archive by position, so that their bytes can be read without the zip library.

References:
    docs/formats.md, "Reading safely": records must be stored, not encrypted, not duplicated, not overlapping.
    caffe2/serialize/inline_container.cc of torch, `getPadding` and `writeRecord`, and its miniz, for what
    `_predict_offsets` knows of its writer.
"""

import struct
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Final, cast

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, FileRef, SourceFile, read_bytes

MAX_RECORDS: Final = 1_000_000
_MAX_DIRECTORY_BYTES: Final = 64_000_000
_LOCAL_HEADER: Final = struct.Struct("<4s5H3I2H")
_ENCRYPTED: Final = 0x1
_UTF8: Final = 0x800
_DESCRIBED: Final = 0x8  # a descriptor follows the data
_ALIGNMENT: Final = 64
_ZIP64: Final = 2**32 - 1
_NO_DATE: Final = (1980, 0, 0, 0, 0, 0)  # month 0, which no clock gives


@dataclass(frozen=True, slots=True)
class ZipRecord:
    """One record of the directory.

    Attributes:
        name: Its name.
        header_offset: Where its local header begins.
        nbytes: Its size, uncompressed.
        crc: CRC-32 of its bytes.
        stored: Whether its bytes lie in the file as they are.
        predicted: Where they must begin if torch wrote the archive, as the directory of a remote file makes believe;
            None where it was not asked or is none of torch's.
    """

    name: str
    header_offset: int
    nbytes: int
    crc: int
    stored: bool
    predicted: int | None = None


def read_directory(source: ByteSource, file: FileRef) -> dict[str, ZipRecord]:
    """List the records of a zip archive from its directory alone.

    Raises:
        CheckpointError: If there is no intact directory, or a name stands twice in it.
    """
    handle = SourceFile(source, file, _MAX_DIRECTORY_BYTES)
    try:
        with zipfile.ZipFile(cast("IO[bytes]", handle)) as archive:
            listed, end = archive.infolist(), archive.start_dir
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, EOFError, OverflowError) as error:
        raise CheckpointError(f"is a truncated or damaged zip archive ({error})", file.url) from error
    if len(listed) > MAX_RECORDS:
        raise CheckpointError(f"has {len(listed)} zip records, more than {MAX_RECORDS} are refused", file.url)
    records: dict[str, ZipRecord] = {}
    predicted = _predict_offsets(listed, end) if file.remote else {}
    for info in listed:
        if info.filename in records:
            raise CheckpointError(f"holds the zip record {info.filename!r} twice", file.url)
        stored = (
            info.compress_type == zipfile.ZIP_STORED
            and not info.flag_bits & _ENCRYPTED
            and info.compress_size == info.file_size
        )
        place = predicted.get(info.filename)
        records[info.filename] = ZipRecord(info.filename, info.header_offset, info.file_size, info.CRC, stored, place)
    return records


def _predict_offsets(listed: Sequence[zipfile.ZipInfo], end: int) -> dict[str, int]:
    """Tell where the bytes of records begin from the directory alone, by the rules of torch's writer.

    It dates nothing, and pads each local header until the data begins at a multiple of 64 bytes. Behind the data
    follows nothing but a descriptor, and then the next header. By the one rule the data is found from its header, by
    the other from the next: an archive in which the two differ for any record was written by something else.

    Args:
        listed: The records.
        end: Where the directory begins.

    Returns:
        Offsets by name; none of an archive that torch did not write.
    """
    found: dict[str, int] = {}
    ordered = sorted(listed, key=lambda info: info.header_offset)
    for info, following in zip(ordered, [*(info.header_offset for info in ordered[1:]), end], strict=True):
        large, far = info.file_size >= _ZIP64, info.header_offset >= _ZIP64
        name = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")
        extra = 4 + 4 * (large or far) + 16 * large + 8 * far
        start = info.header_offset + _LOCAL_HEADER.size + len(name) + extra
        start += -start % _ALIGNMENT
        descriptor = 0 if not info.flag_bits & _DESCRIBED else 24 if large or far else 16
        fits = info.date_time == _NO_DATE and start + info.compress_size + descriptor == following
        if not fits or info.header_offset < 0:
            return {}
        found[info.filename] = start
    return found


def locate_record(source: ByteSource, file: FileRef, record: ZipRecord) -> int:
    """Find where the bytes of a stored record begin.

    Of a remote file that torch wrote this is told by the directory alone, for to read every local header would take a
    request each. It is provisional: what is there is seen when the file itself is at hand and is opened once more.

    Returns:
        Offset in the file of the record's first byte.

    Raises:
        CheckpointError: If the record is compressed or encrypted, or its local header contradicts the directory.
    """
    if not record.stored:
        raise CheckpointError(f"zip record {record.name!r} is compressed or encrypted: use torch.save", file.url)
    if file.remote and record.predicted is not None:
        return record.predicted
    header = read_bytes(source, file, record.header_offset, _LOCAL_HEADER.size)
    magic, _, flags, method, _, _, _, _, _, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    name = read_bytes(source, file, record.header_offset + _LOCAL_HEADER.size, name_length)
    intact = magic == b"PK\x03\x04" and method == zipfile.ZIP_STORED and not flags & _ENCRYPTED
    if not intact or name != record.name.encode("utf-8" if flags & _UTF8 else "cp437", "replace"):
        raise CheckpointError(f"zip record {record.name!r} is not where the directory says", file.url)
    offset: int = record.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    if offset + record.nbytes > file.size:
        raise CheckpointError(f"zip record {record.name!r} lies outside the file", file.url)
    return offset


def check_overlaps(spans: Iterable[tuple[int, int, str]], file: FileRef, what: str = "zip records") -> None:
    """Refuse records, or what else lies in a file, whose bytes overlap: (offset, nbytes, name) each.

    Raises:
        CheckpointError: If two of them do.
    """
    end, last = 0, ""
    for offset, nbytes, name in sorted(spans):
        if offset < end and nbytes:
            raise CheckpointError(f"{what} {last!r} and {name!r} overlap", file.url)
        end, last = max(end, offset + nbytes), name
