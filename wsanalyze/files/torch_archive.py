"""Zip archives that torch wrote: what torch.save leaves, and TorchScript modules."""

import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final, cast

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, FileRef, SourceFile, read_bytes
from wsanalyze.files.pickle_machine import MAX_PICKLE_BYTES, PickleError, parse_pickle
from wsanalyze.files.zip_records import ZipRecord, locate_record

MAX_CODE_BYTES: Final = 64_000_000
MAX_CODE_FILES: Final = 20_000
_MAX_READ_BYTES: Final = 64_000_000
_CLASS: Final = re.compile(
    r"^class (?P<name>\w+)\(Module\):\n"
    r"(?:  __parameters__ = \[(?P<parameters>[^\]\n]*)\]\n)?"
    r"(?:  __buffers__ = \[(?P<buffers>[^\]\n]*)\]\n)?",
    re.MULTILINE,
)
_QUOTED: Final = re.compile(r'"([^"]*)"')


@dataclass(frozen=True, slots=True, eq=False)
class TorchArchive:
    """A file that torch.save wrote (a zip archive).

    Attributes:
        tree: The pickled object as inert data, see `wsanalyze.files.pickle_machine`.
        records: Records of the archive by their name without the root folder ("data/0").
        byteorder: Byte order of the storages, "little" or "big".
    """

    tree: Any
    records: dict[str, ZipRecord]
    byteorder: str

    def mappings(self) -> Iterator[Mapping[Any, Any]]:
        """See `Contents.mappings`."""
        return step_mappings(self.tree)

    def tokens(self) -> Iterable[bytes]:
        """See `Contents.tokens`."""
        for name, record in self._storages():
            yield f"{name}:{record.nbytes}:{record.crc}\n".encode("utf-8", "backslashreplace")

    def unsummed(self, source: ByteSource, file: FileRef) -> Sequence[tuple[int, int]]:
        """See `Contents.unsummed`: torch.serialization.set_crc32_options(False) leaves zeros."""
        records = [record for _, record in self._storages() if not record.crc and record.nbytes and record.stored]
        return [(locate_record(source, file, record), record.nbytes) for record in records]

    def locate_storage(self, source: ByteSource, file: FileRef, key: str) -> tuple[int, int] | None:
        """Find a storage.

        Args:
            source: Where the bytes come from.
            file: This file.
            key: The storage's key in the pickle.

        Returns:
            Offset of its first byte and its size in bytes; None where the file does not hold it.

        Raises:
            CheckpointError: If its record is compressed, or not where the directory says.
        """
        record = self.records.get(f"data/{key}")
        return None if record is None else (locate_record(source, file, record), record.nbytes)

    def _storages(self) -> Sequence[tuple[str, ZipRecord]]:
        return sorted((name, record) for name, record in self.records.items() if name.startswith("data/"))


@dataclass(frozen=True, slots=True)
class ScriptClass:
    """What the code of a TorchScript module says of its attributes.

    Attributes:
        parameters: Names of those that are parameters.
        buffers: Names of those that are buffers; None where torch was too old to say: any other tensor is one.
    """

    parameters: frozenset[str]
    buffers: frozenset[str] | None


@dataclass(frozen=True, slots=True, eq=False)
class ScriptArchive:
    """A TorchScript module that torch.jit.save wrote.

    Attributes:
        archive: Its attributes as one pickled tree, and their storages.
        classes: The classes of its modules by dotted path. Their code is searched for names and nothing else.
    """

    archive: TorchArchive
    classes: Mapping[str, ScriptClass]

    def mappings(self) -> Iterable[Mapping[Any, Any]]:
        """See `Contents.mappings`: no trainer notes anything in a module."""
        return ()

    def tokens(self) -> Iterable[bytes]:
        """See `Contents.tokens`."""
        return self.archive.tokens()

    def unsummed(self, source: ByteSource, file: FileRef) -> Sequence[tuple[int, int]]:
        """See `Contents.unsummed`."""
        return self.archive.unsummed(source, file)


def step_mappings(tree: Any) -> Iterator[Mapping[Any, Any]]:  # noqa: ANN401 - a pickled tree
    """Mappings of a pickled tree in which trainers note the step."""
    if isinstance(tree, dict):
        yield tree
        meta = tree.get("meta")
        if isinstance(meta, dict):  # mmengine
            yield meta


def read_torch_archive(
    source: ByteSource, file: FileRef, directory: Mapping[str, ZipRecord]
) -> TorchArchive | ScriptArchive:
    """Read the structure of an archive that holds one record called data.pkl.

    Args:
        source: Where its bytes come from.
        file: The archive.
        directory: Its records by name.

    Raises:
        CheckpointError: If it is damaged, or not laid out as torch does it.
    """
    pickles = [name for name in directory if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise CheckpointError("is a zip archive, but not one that torch.save wrote", file.url)
    root = pickles[0][: -len("data.pkl")]
    records = {name[len(root) :]: record for name, record in directory.items() if name.startswith(root)}
    byteorder = "little"
    if "byteorder" in records:
        byteorder = read_record(source, file, records["byteorder"]).decode("ascii", "replace")
        if byteorder not in ("little", "big"):
            raise CheckpointError(f"has an unknown byte order {byteorder[:16]!r}", file.url)
    try:
        tree, _ = parse_pickle(read_record(source, file, records["data.pkl"]))
    except PickleError as error:
        raise CheckpointError(f"has a damaged pickle: {error}", file.url) from error
    archive = TorchArchive(tree, records, byteorder)
    if "constants.pkl" not in records:
        return archive
    return ScriptArchive(archive, _read_classes(source, file, root))


def read_record(source: ByteSource, file: FileRef, record: ZipRecord, max_bytes: int = MAX_PICKLE_BYTES) -> bytes:
    """Read a stored record whole.

    Raises:
        CheckpointError: If it is larger than `max_bytes`, compressed, or not where the directory says.
    """
    if record.nbytes > max_bytes:
        raise CheckpointError(
            f"zip record {record.name!r} has {record.nbytes} bytes, too large to be read safely", file.url
        )
    return read_bytes(source, file, locate_record(source, file, record), record.nbytes)


def _read_classes(source: ByteSource, file: FileRef, root: str) -> dict[str, ScriptClass]:
    """The classes of a TorchScript archive, from its code; torch compresses that, and nothing else."""
    classes: dict[str, ScriptClass] = {}
    rest, num_files = MAX_CODE_BYTES, 0
    try:
        with zipfile.ZipFile(cast("IO[bytes]", SourceFile(source, file, _MAX_READ_BYTES))) as archive:
            for info in archive.infolist():
                if not (info.filename.startswith(f"{root}code/") and info.filename.endswith(".py")):
                    continue
                num_files += 1
                if num_files > MAX_CODE_FILES:
                    raise CheckpointError(f"has more than {MAX_CODE_FILES} files of code: refused", file.url)
                if info.file_size > rest:
                    raise CheckpointError(f"has more than {MAX_CODE_BYTES} bytes of code: refused", file.url)
                with archive.open(info) as record:
                    text = record.read(info.file_size).decode("utf-8", "replace")
                rest -= info.file_size
                module = info.filename[len(root) + len("code/") : -len(".py")].replace("/", ".")
                classes |= {f"{module}.{found['name']}": _make_class(found) for found in _CLASS.finditer(text)}
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        raise CheckpointError(f"has damaged code ({error})", file.url) from error
    return classes


def _make_class(found: re.Match[str]) -> ScriptClass:
    buffers = found["buffers"]
    return ScriptClass(
        frozenset(_QUOTED.findall(found["parameters"] or "")),
        None if buffers is None else frozenset(_QUOTED.findall(buffers)),
    )
