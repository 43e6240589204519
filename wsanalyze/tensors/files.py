"""Tensors of a checkpoint: those of its files, whatever their format, under one roof."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from wsanalyze.errors import CheckpointError, NoWeightsError
from wsanalyze.files.base import ByteSource, Contents, FileRef
from wsanalyze.files.contents import TorchArchive, read_contents
from wsanalyze.files.safetensors_header import SafetensorsHeader
from wsanalyze.series import Skip
from wsanalyze.tensors.base import TensorInfo, TensorReader, TensorSet
from wsanalyze.tensors.safetensors_file import read_safetensors
from wsanalyze.tensors.torch_file import read_torch

READERS: Final[dict[type[Any], tuple[str, TensorReader]]] = {
    SafetensorsHeader: ("safetensors", read_safetensors),
    TorchArchive: ("torch", read_torch),
}
"""For each kind of contents, the name of the format and its reader."""

LayoutReader = Callable[[ByteSource, Sequence[FileRef], Sequence[str]], tuple[TensorSet, Sequence[Contents]]]


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
        CheckpointError: If a file is damaged.
        NoWeightsError: If there is no tensor at all.
    """
    return LAYOUTS[layout][1](source, files, prefixes)


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
    sets: dict[str, dict[str, TensorInfo]] = {}
    skips: list[Skip] = []
    ordered = True
    contents = contents or [read_contents(source, file) for file in files]
    for file, prefix, content in zip(files, prefixes, contents, strict=True):
        found = READERS[type(content)][1](content, source, file)
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
        raise NoWeightsError(f"holds no weights{unread}", files[0].url)
    return TensorSet(sets, ordered, tuple(skips))


def describe_format(layout: str, contents: Sequence[Contents]) -> str:
    """The layout of a checkpoint's files in a word or two."""
    names = {LAYOUTS[layout][0] or READERS[type(content)][0] for content in contents}
    return " and ".join(sorted(names)) + (f", {len(contents)} files" if len(contents) > 1 else "")


def _check_names(found: TensorSet, file: FileRef) -> None:
    """Both formats can hold half a surrogate pair in a name, which no report or run file can."""
    names = [name for infos in found.infos.values() for name in infos] + [skip.name for skip in found.skips]
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise CheckpointError(f"tensor {name!r} has a name that is no text", file.url) from error


def _read_separate(
    source: ByteSource, files: Sequence[FileRef], prefixes: Sequence[str]
) -> tuple[TensorSet, Sequence[Contents]]:
    contents = [read_contents(source, file) for file in files]
    return read_tensors(source, files, prefixes, contents), contents


LAYOUTS: Final[dict[str, tuple[str, LayoutReader]]] = {
    "files": ("", _read_separate),
}
"""How files can hold tensors together: its name ("" where the formats of the files say it) and its reader."""
