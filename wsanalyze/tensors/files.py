"""Tensors of a checkpoint: those of its files, whatever their format, under one roof."""

import itertools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from wsanalyze.errors import CheckpointError, NoWeightsError
from wsanalyze.files.base import ByteSource, Contents, FileRef
from wsanalyze.files.contents import read_contents
from wsanalyze.files.legacy_torch import LegacyTorch
from wsanalyze.files.numpy_archive import NumpyArchive
from wsanalyze.files.onnx_model import OnnxModel
from wsanalyze.files.safetensors_header import SafetensorsHeader
from wsanalyze.files.stored_files import StoredFiles
from wsanalyze.files.torch_archive import ScriptArchive, TorchArchive
from wsanalyze.series import Skip
from wsanalyze.tensors.base import TensorInfo, TensorReader, TensorSet
from wsanalyze.tensors.distributed import read_distributed
from wsanalyze.tensors.gather import check_cover
from wsanalyze.tensors.numpy_file import read_numpy
from wsanalyze.tensors.onnx_file import read_onnx
from wsanalyze.tensors.safetensors_file import read_safetensors
from wsanalyze.tensors.script_file import read_script
from wsanalyze.tensors.sliced_safetensors import read_slices
from wsanalyze.tensors.torch_file import read_torch
from wsanalyze.tensors.zero import read_zero3

MAX_NAME_CHARS: Final = 65_536
_SHOWN_CHARS: Final = 80

MAX_READINGS: Final = 8
_FREE_BYTES: Final = 64_000_000

READERS: Final[dict[type[Any], tuple[str, TensorReader]]] = {
    SafetensorsHeader: ("safetensors", read_safetensors),
    TorchArchive: ("torch", read_torch),
    LegacyTorch: ("torch before 1.6", read_torch),
    ScriptArchive: ("TorchScript", read_script),
    NumpyArchive: ("NumPy", read_numpy),
    OnnxModel: ("ONNX", read_onnx),
}
"""For each kind of contents, the name of the format and its reader."""


def _read_stored(contents: StoredFiles, source: ByteSource, file: FileRef) -> TensorSet:
    """The tensors of all files in an archive; see `TensorReader`."""
    found = [READERS[type(inner)][1](inner, source, part) for part, inner in contents.parts]
    sets: dict[str, dict[str, TensorInfo]] = {}
    for tensors in found:
        for weights, infos in tensors.infos.items():
            target = sets.setdefault(weights, {})
            if both := target.keys() & infos.keys():
                raise CheckpointError(f"tensor {min(both)!r} is in two of its files", file.url)
            target.update(infos)
    skips = tuple(skip for tensors in found for skip in tensors.skips)
    return TensorSet(sets, all(tensors.ordered for tensors in found), skips)


READERS[StoredFiles] = ("zip of checkpoints", _read_stored)

LayoutReader = Callable[[ByteSource, Sequence[FileRef], Sequence[str]], tuple[TensorSet, Sequence[Contents]]]
ModelReader = Callable[[ByteSource, Sequence[FileRef]], tuple[TensorSet, Sequence[Contents]]]


def read_checkpoint(
    source: ByteSource, layout: str, files: Sequence[FileRef], prefixes: Sequence[str]
) -> tuple[TensorSet, Sequence[Contents]]:
    """List the tensors of a checkpoint, and the structure of each of its files.

    Args:
        source: Where the bytes come from.
        layout: How the files hold the tensors together: a key of `LAYOUTS`.
        files: The weight files.
        prefixes: For each file, what to put before the names of its tensors.

    Raises:
        CheckpointError: If a file is damaged, or the pieces of a tensor do not cover it once.
        NoWeightsError: If there is no tensor at all.
    """
    try:
        tensors, contents = LAYOUTS[layout][1](source, files, prefixes)
        infos = [info for named in tensors.infos.values() for info in named.values()]
        for info in infos:
            if len(info.pieces) > 1:
                check_cover(info)
        check_reading(infos, files)
    except MemoryError as error:
        raise CheckpointError("needs more memory than there is to read its headers", files[0].url) from error
    return tensors, contents


def check_places(
    expected: Mapping[str, Mapping[str, TensorInfo]], found: Mapping[str, Mapping[str, TensorInfo]], where: str
) -> None:
    """Check that tensors whose places were told from afar lie there.

    Args:
        expected: What was told, by set of weights and by name.
        found: What those files say that are here now.
        where: The checkpoint.

    Raises:
        CheckpointError: If one does not.
    """

    def place(info: TensorInfo | None) -> object:
        return info and (info.dtype, info.shape, [(p.offset, p.nbytes, p.strides, p.byteorder) for p in info.pieces])

    names = [(weights, name) for weights, infos in found.items() for name in infos]
    if any(place(found[weights][name]) != place(expected.get(weights, {}).get(name)) for weights, name in names):
        raise CheckpointError("its tensors do not lie where its directory says: pull it and analyze the folder", where)


def check_reading(infos: Iterable[TensorInfo], files: Sequence[FileRef]) -> None:
    """Refuse tensors that overlap so much that reading them all reads the files again and again.

    Tensors of the very same bytes (tied ones) count once, as they are read.

    Raises:
        CheckpointError: If there are more bytes to read than a few times those that the files hold.
    """
    pieces = [piece for info in infos for piece in info.pieces]
    held = sum(file.size for file in files)
    most = MAX_READINGS * held + _FREE_BYTES
    if sum(piece.nbytes for piece in pieces) <= most:
        return
    if (nbytes := sum(piece.nbytes for piece in set(pieces))) > most:
        raise CheckpointError(
            f"holds tensors that overlap: {nbytes} bytes to read of {held}, more than {MAX_READINGS} times are refused",
            files[0].url,
        )


def read_tensors(
    source: ByteSource,
    files: Sequence[FileRef],
    prefixes: Sequence[str],
    contents: Sequence[Contents] | None = None,
) -> TensorSet:
    """List the tensors of all files of a checkpoint from their headers.

    Args:
        source: Where the bytes come from.
        files: The weight files.
        prefixes: For each file, what to put before the names of its tensors: "" for shards of one model.
        contents: The structure of each file, where it was read already.

    Raises:
        CheckpointError: If a file is damaged, two of them hold a tensor of the same name, or a name is no text.
        NoWeightsError: If there is no tensor at all.
    """
    contents = contents or [read_contents(source, file) for file in files]
    found = (READERS[type(content)][1](content, source, file) for file, content in zip(files, contents, strict=True))
    return merge_sets(zip(prefixes, found, files, strict=True))


def merge_sets(parts: Iterable[tuple[str, TensorSet, FileRef]]) -> TensorSet:
    """Put the tensors of several files, or of several models, under one roof.

    Args:
        parts: For each of them, what to put before the names of its tensors, its tensors, and the file to name.

    Raises:
        CheckpointError: If two of them hold a tensor of the same name, or a name is no text.
        NoWeightsError: If there is no tensor at all.
    """
    sets: dict[str, dict[str, TensorInfo]] = {}
    skips: list[Skip] = []
    ordered = True
    first = None
    for prefix, found, file in parts:
        first = first or file
        _check_names(found, file)
        ordered = ordered and found.ordered
        skips += [Skip(prefix + skip.name, skip.reason) for skip in found.skips]
        for weights, infos in found.infos.items():
            target = sets.setdefault(weights, {})
            for name, info in infos.items():
                if prefix + name in target:
                    raise CheckpointError(f"tensor {name!r} is in another file of the same checkpoint too", file.url)
                target[prefix + name] = info
    if not any(sets.values()):
        unread = f" that can be read ({skips[0].name!r}: {skips[0].reason})" if skips else ""
        raise NoWeightsError(f"holds no weights{unread}", first.url if first else None)
    return TensorSet(sets, ordered, tuple(skips))


def describe_format(layout: str, contents: Sequence[Contents]) -> str:
    """The layout of a checkpoint's files in a word or two."""
    names = {LAYOUTS[layout][0] or READERS[type(content)][0] for content in contents}
    return " and ".join(sorted(names)) + (f", {len(contents)} files" if len(contents) > 1 else "")


def _check_names(found: TensorSet, file: FileRef) -> None:
    """Formats can hold half a surrogate pair in a name, which no report or run file can, and names without an end."""
    names = [name for infos in found.infos.values() for name in infos] + [skip.name for skip in found.skips]
    for name in names:
        if len(name) > MAX_NAME_CHARS:
            text = f"tensor {name[:_SHOWN_CHARS]!r}... has a name of {len(name)} characters"
            raise CheckpointError(f"{text}, more than {MAX_NAME_CHARS} are refused", file.url)
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise CheckpointError(f"tensor {name!r} has a name that is no text", file.url) from error


def _read_separate(
    source: ByteSource, files: Sequence[FileRef], prefixes: Sequence[str]
) -> tuple[TensorSet, Sequence[Contents]]:
    contents = [read_contents(source, file) for file in files]
    return read_tensors(source, files, prefixes, contents), contents


def _read_models(read: ModelReader) -> LayoutReader:
    """A reader of checkpoints from one of the files of a single model: files of one model have one prefix."""

    def read_models(
        source: ByteSource, files: Sequence[FileRef], prefixes: Sequence[str]
    ) -> tuple[TensorSet, Sequence[Contents]]:
        parts: list[tuple[str, TensorSet, FileRef]] = []
        contents: list[Contents] = []
        for prefix, pairs in itertools.groupby(zip(prefixes, files, strict=True), key=operator.itemgetter(0)):
            group = [file for _, file in pairs]
            found, structures = read(source, group)
            parts.append((prefix, found, group[0]))
            contents += structures
        return merge_sets(parts), contents

    return read_models


LAYOUTS: Final[dict[str, tuple[str, LayoutReader]]] = {
    "files": ("", _read_separate),
    "distributed": ("torch.distributed", _read_models(read_distributed)),
    "slices": ("safetensors in slices", _read_models(read_slices)),
    "zero3": ("DeepSpeed ZeRO-3", _read_models(read_zero3)),
}
"""How files can hold tensors together: its name ("" where the formats of the files say it) and its reader."""
