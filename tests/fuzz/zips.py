"""Zip archives of which every field can lie: what `zipfile` refuses to write, and attackers do not."""

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_END: Final = struct.Struct("<4s4H2IH")


@dataclass(frozen=True, slots=True)
class Record:
    """One record, and what its headers say of it where that is not the truth.

    Attributes:
        name: Its name.
        data: Its content, not compressed.
        method: 0 for stored, 8 for deflated.
        flags: General purpose flags, both in the directory and before the record.
        lies: Fields of the directory that are overridden: crc, compressed, size, offset, method, flags, name.
        local_lies: The same for the header before the record.
        extra: Extra field before the record; torch aligns its storages with one.
        absent: Whether the record is in the directory only.
    """

    name: bytes
    data: bytes
    method: int = zipfile.ZIP_STORED
    flags: int = 0x800
    lies: dict[str, Any] = field(default_factory=dict)
    local_lies: dict[str, Any] = field(default_factory=dict)
    extra: bytes = b""
    absent: bool = False


def read_zip(data: bytes) -> list[Record]:
    """The records of an honest archive.

    Raises:
        zipfile.BadZipFile: If it is none; or whatever else zipfile raises.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = []
        for info in archive.infolist():
            local = info.header_offset
            name_length, extra_length = struct.unpack_from("<2H", data, local + 26)
            start = local + _LOCAL.size + name_length
            found.append(Record(info.filename.encode(), archive.read(info), extra=data[start : start + extra_length]))
        return found


def write_zip(records: Sequence[Record], *, prefix: bytes = b"", comment: bytes = b"", **end_lies: int) -> bytes:
    """Write records as they are told to be.

    Args:
        records: In order.
        prefix: Bytes before the archive.
        comment: The archive's comment.
        end_lies: Fields of the end of the directory that are overridden: count, size, offset.
    """
    body, directory = bytearray(prefix), bytearray()
    for record in records:
        offset = len(body)
        stored = record.data if record.method == zipfile.ZIP_STORED else _deflate(record.data)
        truth: dict[str, Any] = {
            "crc": zlib.crc32(record.data),
            "compressed": len(stored),
            "size": len(record.data),
            "offset": offset,
            "method": record.method,
            "flags": record.flags,
            "name": record.name,
        }
        local, central = truth | record.local_lies, truth | record.lies
        if not record.absent:
            body += _LOCAL.pack(
                b"PK\3\4", 20, _u16(local["flags"]), _u16(local["method"]), 0, 33, *_sizes(local),
                len(local["name"]) & 0xFFFF, len(record.extra) & 0xFFFF,
            )  # fmt: skip
            body += local["name"] + record.extra + stored
        directory += _CENTRAL.pack(
            b"PK\1\2", 20, 20, _u16(central["flags"]), _u16(central["method"]), 0, 33, *_sizes(central),
            len(central["name"]) & 0xFFFF, 0, 0, 0, 0, 0, _u32(central["offset"]),
        )  # fmt: skip
        directory += central["name"]
    count, size, start = len(records), len(directory), len(body)
    count, size, start = end_lies.get("count", count), end_lies.get("size", size), end_lies.get("offset", start)
    end = _END.pack(b"PK\5\6", 0, 0, _u16(count), _u16(count), _u32(size), _u32(start), len(comment) & 0xFFFF)
    return bytes(body + directory + end + comment)


def change_record(records: Sequence[Record], suffix: bytes, **changes: Any) -> list[Record]:
    """The same records, those of a name that ends so with some attributes changed."""
    return [replace(record, **changes) if record.name.endswith(suffix) else record for record in records]


def _sizes(fields: dict[str, Any]) -> tuple[int, ...]:
    return tuple(_u32(fields[name]) for name in ("crc", "compressed", "size"))


def _u16(value: int) -> int:
    return value & 0xFFFF


def _u32(value: int) -> int:
    return value & 0xFFFFFFFF


def _deflate(data: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-15)
    return squeeze.compress(data) + squeeze.flush()
