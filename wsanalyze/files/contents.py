"""What a weight file holds, told by its first bytes: the structure of its container, no meaning yet."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

from wsanalyze.errors import CheckpointError
from wsanalyze.files.base import ByteSource, Contents, FileRef, read_bytes
from wsanalyze.files.pickle_machine import MAX_PICKLE_BYTES, PickleError, parse_pickle
from wsanalyze.files.safetensors_header import read_header
from wsanalyze.files.zip_records import ZipRecord, locate_record, read_directory

_NUM_SNIFFED_BYTES: Final = 64
_FOREIGN: Final = (
    (b"GGUF", "is a GGUF file, quantised for inference: give the checkpoints that it was made from"),
    (b"\x89HDF", "is an HDF5 file (Keras?): convert it to safetensors"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself: run `git lfs pull`"),
    (b"<!doctype", "is a web page saved under the name of a checkpoint: download it again"),
    (b"<html", "is a web page saved under the name of a checkpoint: download it again"),
    (b"\x1f\x8b", "is compressed with gzip: unpack it first"),
    (b"\x93NUMPY", "is a NumPy array without names: save a state dict as safetensors"),
    (
        b"\x80",
        "is a pickle, not a zip: if torch before 1.6 wrote it, load it and torch.save it anew",
    ),
)


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
        if isinstance(self.tree, dict):
            yield self.tree
            meta = self.tree.get("meta")
            if isinstance(meta, dict):  # mmengine
                yield meta

    def tokens(self) -> Iterable[bytes]:
        """See `Contents.tokens`."""
        for name, record in self._storages():
            yield f"{name}:{record.nbytes}:{record.crc}\n".encode("utf-8", "backslashreplace")

    def unsummed(self, source: ByteSource, file: FileRef) -> Sequence[tuple[int, int]]:
        """See `Contents.unsummed`: torch.serialization.set_crc32_options(False) leaves zeros."""
        records = [record for _, record in self._storages() if not record.crc and record.nbytes and record.stored]
        return [(locate_record(source, file, record), record.nbytes) for record in records]

    def _storages(self) -> Sequence[tuple[str, ZipRecord]]:
        return sorted((name, record) for name, record in self.records.items() if name.startswith("data/"))


def read_contents(source: ByteSource, file: FileRef) -> Contents:
    """Read the structure of a weight file.

    Raises:
        CheckpointError: If it is damaged, or no container that is known; the message says what to do.
    """
    if file.size == 0:
        raise CheckpointError("is empty", file.url)
    first = read_bytes(source, file, 0, min(_NUM_SNIFFED_BYTES, file.size))
    if first.startswith(b"PK\x03\x04"):
        return _read_torch_archive(source, file)
    if len(first) > 8 and first[8:9] == b"{":  # noqa: PLR2004 - a length of 8 bytes, then JSON
        return read_header(source, file)
    start = first.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, advice in _FOREIGN:
        if first.startswith(magic) or start.startswith(magic):
            raise CheckpointError(advice, file.url)
    raise CheckpointError("is neither a safetensors nor a torch file", file.url)


def _read_torch_archive(source: ByteSource, file: FileRef) -> TorchArchive:
    directory = read_directory(source, file)
    pickles = [name for name in directory if PurePath(name).name == "data.pkl"]
    if len(pickles) != 1:
        raise CheckpointError("is a zip archive, but not one that torch.save wrote", file.url)
    root = pickles[0][: -len("data.pkl")]
    records = {name[len(root) :]: record for name, record in directory.items() if name.startswith(root)}
    if "constants.pkl" in records:
        raise CheckpointError("is a TorchScript archive: save its state_dict() with torch.save", file.url)
    byteorder = "little"
    if "byteorder" in records:
        byteorder = _read_record(source, file, records["byteorder"]).decode("ascii", "replace")
        if byteorder not in ("little", "big"):
            raise CheckpointError(f"has an unknown byte order {byteorder[:16]!r}", file.url)
    try:
        tree, _ = parse_pickle(_read_record(source, file, records["data.pkl"]))
    except PickleError as error:
        raise CheckpointError(f"has a damaged pickle: {error}", file.url) from error
    return TorchArchive(tree, records, byteorder)


def _read_record(source: ByteSource, file: FileRef, record: ZipRecord) -> bytes:
    if record.nbytes > MAX_PICKLE_BYTES:
        raise CheckpointError(f"has a pickle of {record.nbytes} bytes, too large to be read safely", file.url)
    return read_bytes(source, file, locate_record(source, file, record), record.nbytes)
