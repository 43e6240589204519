"""Stored records of a zip archive by position, so that their bytes can be read without the zip library.

References:
    docs/formats.md, "Reading safely": records must be stored, not encrypted, not duplicated, not overlapping.
"""

import struct
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Final, cast

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, FileRef, SourceFile, read_bytes

MAX_RECORDS: Final = 1_000_000
_MAX_DIRECTORY_BYTES: Final = 64_000_000
_LOCAL_HEADER: Final = struct.Struct("<4s5H3I2H")
_ENCRYPTED: Final = 0x1
_UTF8: Final = 0x800


@dataclass(frozen=True, slots=True)
class ZipRecord:
    """One record of the directory. `header_offset` is where its local header begins."""

    name: str
    header_offset: int
    nbytes: int
    crc: int
    stored: bool


def read_directory(source: ByteSource, file: FileRef) -> dict[str, ZipRecord]:
    """List the records of a zip archive from its directory alone.

    Raises:
        CheckpointError: If there is no intact directory, or a name stands twice in it.
    """
    handle = SourceFile(source, file, _MAX_DIRECTORY_BYTES)
    try:
        with zipfile.ZipFile(cast("IO[bytes]", handle)) as archive:
            listed = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, EOFError, OverflowError) as error:
        raise CheckpointError(f"is a truncated or damaged zip archive ({error})", file.url) from error
    if len(listed) > MAX_RECORDS:
        raise CheckpointError(f"has {len(listed)} zip records, more than {MAX_RECORDS} are refused", file.url)
    records: dict[str, ZipRecord] = {}
    for info in listed:
        if info.filename in records:
            raise CheckpointError(f"holds the zip record {info.filename!r} twice", file.url)
        stored = (
            info.compress_type == zipfile.ZIP_STORED
            and not info.flag_bits & _ENCRYPTED
            and info.compress_size == info.file_size
        )
        records[info.filename] = ZipRecord(info.filename, info.header_offset, info.file_size, info.CRC, stored)
    return records


def locate_record(source: ByteSource, file: FileRef, record: ZipRecord) -> int:
    """Find where the bytes of a stored record begin.

    Returns:
        Offset in the file of the record's first byte.

    Raises:
        CheckpointError: If the record is compressed or encrypted, or its local header contradicts the directory.
    """
    if not record.stored:
        raise CheckpointError(f"zip record {record.name!r} is compressed or encrypted: use torch.save", file.url)
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
