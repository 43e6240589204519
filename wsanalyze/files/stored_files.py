"""Weight files that lie whole inside a zip archive: those of stable-baselines3, and one that a person zipped."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, Contents, FileRef
from wsanalyze.files.torch_archive import read_record
from wsanalyze.files.zip_records import ZipRecord, check_overlaps, locate_record

_MAX_DATA_BYTES: Final = 64_000_000
_MAX_VALUES: Final = 5_000_000
_MAX_DIGITS: Final = 40
_POLICY: Final = "policy.pth"
_VARIABLES: Final = ("pytorch_variables.pth", "tensors.pth")
_STEPS: Final = "num_timesteps"
_SUFFIXES: Final = (".safetensors", ".ckpt", ".pth", ".bin", ".pt", ".th", ".jit", ".pth.tar", ".pt.tar")

ReadContents = Callable[[ByteSource, FileRef], Contents]


@dataclass(frozen=True, slots=True, eq=False)
class StoredFiles:
    """Weight files inside another file, uncompressed.

    Attributes:
        parts: Each of them, as a part of the outer file, and its structure.
        facts: What the archive says of itself beside them.
    """

    parts: tuple[tuple[FileRef, Contents], ...]
    facts: Mapping[str, Any]

    def mappings(self) -> Iterator[Mapping[Any, Any]]:
        """See `Contents.mappings`."""
        yield self.facts
        for _, contents in self.parts:
            yield from contents.mappings()

    def tokens(self) -> Iterable[bytes]:
        """See `Contents.tokens`."""
        return (token for _, contents in self.parts for token in contents.tokens())

    def unsummed(self, source: ByteSource, file: FileRef) -> Sequence[tuple[int, int]]:
        """See `Contents.unsummed`."""
        return [
            (part.start - file.start + offset, nbytes)
            for part, contents in self.parts
            for offset, nbytes in contents.unsummed(source, part)
        ]


def is_stable_baselines(directory: Mapping[str, ZipRecord]) -> bool:
    """Whether the records of a zip archive are those of a saved algorithm of stable-baselines3."""
    return "data" in directory and _POLICY in directory


def read_stable_baselines(
    source: ByteSource, file: FileRef, directory: Mapping[str, ZipRecord], read: ReadContents
) -> StoredFiles:
    """Read the structure of an archive of stable-baselines3: its policy and lone variables, never its optimizers.

    Args:
        source: Where its bytes come from.
        file: The archive.
        directory: Its records by name.
        read: What reads the structure of a file in it.

    Raises:
        CheckpointError: If it is damaged, or its files were compressed.
    """
    records = [directory[name] for name in (_POLICY, *_VARIABLES) if name in directory]
    parts = [_locate(source, file, record) for record in records]
    spans = [(part.start, part.size, record.name) for part, record in zip(parts, records, strict=True)]
    check_overlaps(spans, file)
    return StoredFiles(
        tuple((part, read(source, part)) for part in parts), _read_steps(source, file, directory["data"])
    )


def list_stored_weights(names: Iterable[str]) -> list[str]:
    """Those of the names of a zip archive's records that are names of weight files."""
    return [name for name in names if name.lower().endswith(_SUFFIXES) and not name.startswith("__MACOSX/")]


def read_stored_file(source: ByteSource, file: FileRef, record: ZipRecord, read: ReadContents) -> StoredFiles:
    """Read the structure of the only weight file in a zip archive.

    Args:
        source: Where its bytes come from.
        file: The archive.
        record: The record that is a weight file.
        read: What reads the structure of a file in it.

    Raises:
        CheckpointError: If it is compressed or damaged.
    """
    part = _locate(source, file, record)
    return StoredFiles(((part, read(source, part)),), {})


def _locate(source: ByteSource, file: FileRef, record: ZipRecord) -> FileRef:
    if not record.stored:
        raise CheckpointError(
            f"holds {record.name!r} compressed (was it zipped anew?): unpack it and give that file", file.url
        )
    return file.slice(locate_record(source, file, record), record.nbytes)


def _read_steps(source: ByteSource, file: FileRef, record: ZipRecord) -> dict[str, Any]:
    """The step in the archive's JSON; where that is large (it may hold the last observations) there is none."""
    if record.nbytes > _MAX_DATA_BYTES or not record.stored:
        return {}
    try:
        raw = read_record(source, file, record)
        if sum(map(raw.count, (b",", b"[", b"{"))) > _MAX_VALUES:  # gigabytes, once it is parsed
            return {}
        data = json.loads(raw, parse_int=_parse_int)
    except (ValueError, RecursionError) as error:
        raise CheckpointError("holds damaged JSON as 'data'", file.url) from error
    return {_STEPS: data.get(_STEPS)} if isinstance(data, dict) else {}


def _parse_int(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)
