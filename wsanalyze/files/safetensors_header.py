"""The header of a safetensors file, validated before anything is believed.

References:
    https://github.com/huggingface/safetensors#format; docs/formats.md, "Reading safely".
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, FileRef, read_bytes

MAX_HEADER_BYTES: Final = 100_000_000
MAX_TENSORS: Final = 250_000
MAX_NAME_CHARS: Final = 65_536
_SHOWN_CHARS: Final = 200
_MAX_NUMEL: Final = 2**50
_MAX_COUNT: Final = 2**63
_MAX_AXES: Final = 64
_MAX_DIGITS: Final = 40
_COUNTS: Final = (
    ("objects", b"{", MAX_TENSORS + 1000),
    ("lists", b"[", 2 * MAX_TENSORS + 1000),
    ("values", b",", 10 * MAX_TENSORS),
)
_LONG_NUMBER: Final = re.compile(rb"\d{%d}" % (_MAX_DIGITS + 1))

BITS: Final = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "U16": 16,
    "I16": 16,
    "U32": 32,
    "I32": 32,
    "U64": 64,
    "I64": 64,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F16": 16,
    "BF16": 16,
    "F32": 32,
    "C64": 64,
    "F64": 64,
}
"""Bits of one element, by the format's name of the dtype."""


@dataclass(frozen=True, slots=True)
class HeaderEntry:
    """One tensor of a header: the format's own name of its dtype, its shape, and its bytes in the file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True, eq=False)
class SafetensorsHeader:
    """All tensors of a file by name, its own metadata, and a digest-worthy copy of the raw header."""

    entries: dict[str, HeaderEntry]
    metadata: dict[str, str]
    raw: bytes
    data_offset: int

    def mappings(self) -> Iterable[Mapping[str, str]]:
        """See `Contents.mappings`."""
        return (self.metadata,)

    def tokens(self) -> Iterable[bytes]:
        """See `Contents.tokens`."""
        return (self.raw,)

    def unsummed(self, _source: ByteSource, _file: FileRef) -> Sequence[tuple[int, int]]:
        """See `Contents.unsummed`: the format has no checksums."""
        return [(entry.offset, entry.nbytes) for entry in self.entries.values()]


def read_header(source: ByteSource, file: FileRef) -> SafetensorsHeader:
    """Read and check the header of a safetensors file; no weight is read.

    Raises:
        CheckpointError: If the header is not well-formed, or does not fit the file to the byte.
    """
    length = int.from_bytes(read_bytes(source, file, 0, 8), "little")
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(f"has a header of {length} bytes, more than {MAX_HEADER_BYTES} are refused", file.url)
    raw = read_bytes(source, file, 8, length)
    _check_counts(raw, file)
    try:
        # The check of every number makes reading slow, and is needed only where there is a long one.
        parse_int = _parse_int if _LONG_NUMBER.search(raw) else None
        parsed = json.loads(raw.decode(), object_pairs_hook=_unique, parse_int=parse_int)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"has a damaged safetensors header ({error})", file.url) from error
    if not isinstance(parsed, dict):
        raise CheckpointError("has a safetensors header that is no object", file.url)
    metadata = parsed.pop("__metadata__", {})
    if len(parsed) > MAX_TENSORS:
        raise CheckpointError(f"lists {len(parsed)} tensors, more than {MAX_TENSORS} are refused", file.url)
    if max(map(len, parsed), default=0) > MAX_NAME_CHARS:
        raise CheckpointError(f"names a tensor by more than {MAX_NAME_CHARS} characters: refused", file.url)
    data_offset = 8 + length
    entries = {name: _entry(name, value, data_offset, file) for name, value in parsed.items()}
    _check_cover(entries, data_offset, file)
    facts = metadata.items() if isinstance(metadata, dict) else ()
    strings = {str(key): value for key, value in facts if isinstance(value, str)}
    return SafetensorsHeader(entries, strings, raw, data_offset)


def _check_counts(raw: bytes, file: FileRef) -> None:
    """Refuse what would take gigabytes once it is parsed: each object and list takes a hundred bytes."""
    for what, mark, most in _COUNTS:
        if raw.count(mark) > most:
            raise CheckpointError(f"has a header of more than {most} {what}: refused", file.url)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"{twice[:_SHOWN_CHARS]!r} stands twice in it")
    return found


def _parse_int(text: str) -> int:
    # Turning many digits into a number takes the square of their count.
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _entry(name: str, value: object, data_offset: int, file: FileRef) -> HeaderEntry:
    if not isinstance(value, dict):
        raise CheckpointError(f"tensor {name!r} has a damaged header entry", file.url)
    dtype, shape, span = value.get("dtype"), value.get("shape"), value.get("data_offsets")
    if not (isinstance(dtype, str) and _is_counts(shape) and _is_counts(span) and len(span) == 2):  # noqa: PLR2004 - a pair
        raise CheckpointError(f"tensor {name!r} has a damaged header entry", file.url)
    begin, end = span
    numel = math.prod(shape)
    if numel > _MAX_NUMEL or begin > end:
        raise CheckpointError(f"tensor {name!r} has a damaged header entry", file.url)
    if data_offset + end > file.size:
        raise CheckpointError(f"tensor {name!r} lies outside the file: truncated or still being written", file.url)
    bits = BITS.get(dtype)
    if bits is not None and (numel * bits + 7) // 8 != end - begin:
        raise CheckpointError(f"tensor {name!r} does not fill the bytes that its header gives it", file.url)
    return HeaderEntry(dtype, tuple(shape), data_offset + begin, end - begin)


def _is_counts(value: object) -> TypeGuard[list[int]]:
    # Bounded before anything is multiplied: the product of long lists of long numbers takes minutes.
    if not isinstance(value, list) or len(value) > _MAX_AXES:
        return False
    for item in value:  # noqa: SIM110 - half of the time of a header went into a generator here
        if type(item) is not int or not 0 <= item < _MAX_COUNT:
            return False
    return True


def _check_cover(entries: dict[str, HeaderEntry], data_offset: int, file: FileRef) -> None:
    """The data must be covered exactly: no overlap, no hole, nothing before or behind."""
    position = data_offset
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].offset, item[1].nbytes)):
        if entry.offset != position:
            fault = "overlaps another" if entry.offset < position else "leaves a hole before it"
            raise CheckpointError(f"tensor {name!r} {fault} in the file", file.url)
        position += entry.nbytes
    if position != file.size:
        raise CheckpointError(f"has {file.size - position} bytes that belong to no tensor", file.url)
